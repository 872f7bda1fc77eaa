"""What this machine can carry: found once, kept for this machine alone, said before a point that asks for more."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phase_results import HEALTH, phase_result

from pytest_bench import simulator
from pytest_bench.cli.main import main
from pytest_bench.errors import EvidenceError
from pytest_bench.running import phases
from pytest_bench.running.calibrate import Delivery, _Steps, calibrate, highest, judge_step
from pytest_bench.running.capacity import (
    Capacity,
    excess,
    known_capacity,
    read_capacity,
    store_path,
    this_machine,
    write_capacity,
)
from pytest_bench.running.phases import DeclaredPhase
from pytest_bench.running.session import Reporter
from pytest_bench.workload import HealthBudget, Load, SampleOrder

CAPACITY = Capacity(
    machine=this_machine(),
    streams=100,
    streams_limit="client",
    streams_error=0.0125,
    turnaround_ms=7.5,
    rate=1000,
    rate_limit="simulator",
    lateness_ms=2.25,
    measured_at="2031-05-06T07:08:09Z",
)


ANY_HEALTH = HealthBudget(vacancy=1.0, schedule_lateness_ms=1e9, cpu_share=1e9, achieved_share=0.0)
"""A busy machine stutters; these steps are about the simulator."""


def test_a_calibration_finds_the_capacity_and_reports_every_step():
    told = []
    capacity = calibrate(told.append, seconds=0.3, streams=(2, 4), rates=(20, 40))
    assert capacity.machine == this_machine()
    assert capacity.streams in {0, 2, 3, 4}
    assert capacity.rate in {0, 20, 25, 30, 35, 40}
    assert "2 streams: " in told[0]
    assert any("40 requests a second: " in sentence or "20 requests" in sentence for sentence in told)
    if capacity.streams == 4:
        assert capacity.streams_limit == "search"


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({"max_concurrency": 4}, r"\(\d+ of 753 events/s, first tokens after [\d,]+ ms instead of 50 ms"),
        (
            {"coalesce": 64},
            r"first tokens after \d+ ms instead of 50 ms, events 0\.0 ms apart instead of 10 ms",
        ),
        ({"itl_ms": 13.0}, r"events 1[2-9]\.\d ms apart instead of 10 ms"),
        ({"fault": {"http_500": 1.0}}, r"\(0 of [\d,]+ requests succeeded\)"),
    ],
    ids=["queueing", "bunching", "slow", "failing"],
)
def test_a_step_that_the_simulator_did_not_deliver_fails(tmp_path, broken, told):
    said = []
    behaviour = simulator.Behaviour(**{"ttft_ms": 50.0, "itl_ms": 10.0, **broken})
    with simulator.start(behaviour) as server:
        limit = _Steps(tmp_path, 0.2, said.append, budget=ANY_HEALTH).streams([server.url])(8)
    assert limit == "simulator"
    [sentence] = said
    assert sentence.startswith("8 streams: not carried: the simulator was the bottleneck (")
    assert re.search(told, sentence), sentence


def test_a_client_past_its_budget_is_the_bottleneck(tmp_path):
    said = []
    strict = HealthBudget(cpu_share=0.0)
    with simulator.start(simulator.Behaviour(ttft_ms=50.0, itl_ms=10.0)) as server:
        limit = _Steps(tmp_path, 0.2, said.append, budget=strict).streams([server.url])(8)
    assert limit == "client"
    [sentence] = said
    assert sentence.startswith("8 streams: not carried: the client was the bottleneck (")


DELIVERED = Delivery(
    unit="events/s", asked=819_200.0, delivered=812_000.0, ttft_ms=51.0, asked_ttft_ms=50.0, pace=1.0
)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"delivered": 190_000.0}, ["190k of 819k events/s"]),
        ({"ttft_ms": 75.0}, []),
        ({"ttft_ms": 1850.0}, ["first tokens after 1,850 ms instead of 50 ms"]),
        ({"asked_ttft_ms": 0.0, "ttft_ms": 20.0}, []),
        ({"asked_ttft_ms": 0.0, "ttft_ms": 21.0}, ["first tokens after 21 ms instead of 0 ms"]),
        ({"pace": 1.2}, ["events 12.0 ms apart instead of 10 ms"]),
        ({"pace": 0.0}, ["events 0.0 ms apart instead of 10 ms"]),
        ({"pace": None}, []),
    ],
)
def test_too_few_too_late_too_slow_and_too_fast_are_shortfalls(change, told):
    assert list(replace(DELIVERED, **change).shortfalls()) == told


def test_a_step_that_exceeded_a_budget_is_described_with_the_violation():
    health = msgspec.structs.replace(
        HEALTH,
        asked=8.0,
        achieved=7.0,
        violations=("7.0 of the 8 requests in flight asked for were achieved: set `workers:` above 1",),
    )
    assert judge_step(phase_result(health=health), DELIVERED) == (
        "client",
        "not carried: the client was the bottleneck (7.0 of the 8 requests in flight asked for were achieved)",
    )


@given(st.sets(st.integers(1, 400)), st.integers(1, 50), st.integers(50, 400))
def test_the_level_found_was_passed_for_any_behaviour_of_the_levels(carried, first, most):
    found, _ = highest(lambda level: None if level in carried else "simulator", first, most)
    assert found == 0 or found in carried


@given(st.integers(1, 5000), st.integers(1, 50), st.integers(50, 5000))
def test_the_search_comes_close_to_the_limit_and_never_past_it(limit, first, most):
    tried = []

    def attempt(level):
        tried.append(level)
        return None if level <= limit else "client"

    found, why = highest(attempt, first, most)
    assert found <= min(limit, most)
    assert all(first <= level <= most for level in tried)
    if found == most:
        assert why == "search"
    elif limit < first:
        assert (found, why) == (0, "client")
    else:
        assert why == "client"
        assert limit < 1.25 * found + 2
    assert len(tried) < 30


def test_a_step_that_fails_once_is_repeated():
    failures = {8}

    def attempt(level):
        if level in failures:
            failures.discard(level)
            return "client"
        return None

    assert highest(attempt, 4, 16) == (16, "search")


def test_a_calibration_is_kept_below_the_cache_folder_and_read_back(tmp_path):
    path = store_path({"XDG_CACHE_HOME": str(tmp_path)})
    assert path.is_relative_to(tmp_path)
    assert known_capacity({"XDG_CACHE_HOME": str(tmp_path)}) is None
    write_capacity(path, CAPACITY)
    assert known_capacity({"XDG_CACHE_HOME": str(tmp_path)}) == CAPACITY
    assert store_path({}) == store_path({"XDG_CACHE_HOME": "not/absolute"})


@pytest.mark.parametrize("change", [{"cpu": "another"}, {"cpus": 999}, {"quota": 0.5}, {"version": "0"}])
def test_a_calibration_of_another_machine_or_version_is_ignored(tmp_path, change):
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    other = msgspec.structs.replace(this_machine(), **change)
    write_capacity(store_path(environ), msgspec.structs.replace(CAPACITY, machine=other))
    assert known_capacity(environ) is None


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"streams": 5}'])
def test_a_damaged_calibration_is_named_with_its_remedy(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(
        EvidenceError, match=r"c\.json: is not a calibration .*run `pytest-bench calibrate` again"
    ):
        read_capacity(tmp_path / "c.json")


def closed(concurrency, **fields):
    return Load(pattern="concurrency", concurrency=concurrency, duration_s=1.0, **fields)


@pytest.mark.parametrize(
    ("load", "told"),
    [
        (closed(100), None),
        (closed(101), "asks for 101 requests in flight, but this machine carries 100 streams"),
        (Load(pattern="burst", concurrency=1024, requests=90), None),
        (Load(pattern="burst", concurrency=1024, requests=900), "asks for 900 requests in flight"),
        (Load(pattern="concurrency", concurrency=1000, requests=90), None),
        (
            Load(pattern="concurrency", concurrency=1000, requests=90, duration_s=60, stop="and"),
            "asks for 1,000 requests in flight",
        ),
        (Load(pattern="poisson", rate=1000.0, requests=5), None),
        (Load(pattern="poisson", rate=1500.0, requests=5), "asks for 1,500 requests a second"),
        (Load(pattern="trace", trace_ns=tuple(range(0, 10**9, 500_000))), "asks for 2,001 requests a second"),
        (Load(pattern="stages", stages=(closed(10), closed(400))), "asks for 400 requests in flight"),
    ],
)
def test_a_load_beyond_the_capacity_of_the_machine_is_reported(load, told):
    sentences = list(excess(load, CAPACITY))
    assert len(sentences) == (told is not None)
    for sentence in sentences:
        assert told in sentence
        assert "client-bound" in sentence
        assert "calibration of 2031-05-06" in sentence


def test_a_capacity_that_the_simulator_limited_is_reported_as_unknown():
    [sentence] = excess(Load(pattern="poisson", rate=1500.0, requests=5), CAPACITY)
    assert "is known to carry (and could not be tested with more than) 1,000" in sentence


def test_a_point_beyond_the_capacity_is_noted_once_before_it_starts(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write_capacity(store_path({"XDG_CACHE_HOME": str(tmp_path)}), CAPACITY)
    said = []
    reporter, point = Reporter(note=said.append), SimpleNamespace(id="s/perf/p", workers=None)
    modest, large, again = (
        DeclaredPhase(label=label, load=closed(streams), samples=SampleOrder(count=1))
        for label, streams in (("settle", 5), ("warmup", 500), ("measured", 500))
    )
    phases._warn(reporter, point, [modest, large])
    assert said.pop().startswith("s/perf/p, phase 'warmup': asks for 500 requests in flight")
    assert not said
    phases._warn(reporter, point, [modest, large, again])
    [sentence] = said
    assert sentence.startswith("s/perf/p, phase 'warmup' and 'measured': asks for 500 requests in flight")


def test_the_command_refuses_an_invalid_duration(capsys):
    assert main(["calibrate", "--seconds", "0"]) == 2
    assert "--seconds is 0" in capsys.readouterr().err


@pytest.mark.parametrize("port", [-1, 65_536, 99_999])
def test_a_port_that_does_not_exist_is_refused(port, capsys):
    assert main(["serve", f"--port={port}"]) == 2
    assert f"--port is {port}: expected 0 to 65535" in capsys.readouterr().err


def test_the_command_stores_its_result(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(
        "pytest_bench.cli.calibrate.calibrate", lambda say, seconds: (say(f"{seconds}"), CAPACITY)[1]
    )
    assert main(["calibrate", "--seconds", "0.5"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[:3] == [
        "0.5",
        "this machine keeps 100 streams of 100 events/s with an error of less than 1.3% (turnaround 7.5 ms at p99)",
        "this machine issues at least 1,000 requests/s, each less than 2.25 ms late at p99",
    ]
    [kept] = Path(tmp_path).rglob("*.json")
    assert json.loads(kept.read_text())["streams"] == 100
