"""`pytest-bench repeat` on real simulators."""

import contextlib
import json
import os
import shutil
import signal
import time

import pytest
from comparison_bench import POINT, Bench, served

from pytest_bench.cli import main

SESSIONS = 6


@pytest.fixture
def bench(tmp_path):
    tmp_path.chmod(0o700)
    made = Bench(tmp_path)
    made.write(concurrency=4, requests=8, rows=20)
    return made


def repeat(bench, *words):
    process = bench.call("repeat", *words)
    output, _ = process.communicate(timeout=600)
    return process.returncode, output


def verdict(output):
    """The last verdict: that of all sessions."""
    return [line for line in output.splitlines() if line.startswith("verdict: ")][-1]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Six pairs of sessions of two simulators, of which the second is three times as slow; and what was printed.

    One of their points has no time to first token, which is the metric of the precision.
    """
    root = tmp_path_factory.mktemp("pairs")
    root.chmod(0o700)
    made = Bench(root)
    made.write(concurrency=4, requests=8, rows=20, whole=True)
    with contextlib.ExitStack() as stack:
        urls = served(stack, 100), served(stack, 300)
        status, output = repeat(
            made,
            SESSIONS,
            "--endpoints",
            *urls,
            "-o",
            "out",
            "--precision",
            "time_to_first_token.p50 60%",
            "--",
            "bench",
        )
    assert status == 0, output
    return root / "out", output


def test_two_endpoints_run_in_turn_and_their_spread_and_difference_are_shown(pairs):
    folder, output = pairs
    ran = [one["folder"] for one in json.loads((folder / "repeats.json").read_text())["sessions"]]
    assert ran[:4] == ["baseline/01", "candidate/01", "candidate/02", "baseline/02"]
    assert len(ran) == 2 * SESSIONS
    assert verdict(output) == (
        "verdict: pass - all 12 sessions are green; the precision time_to_first_token.p50 60% was reached"
    )
    assert "intervals from 6 pairs of sessions" in output
    rows = [line for line in output.splitlines() if line.startswith("request_latency.p50")]
    assert any("worse" in row for row in rows)


@pytest.mark.parametrize(
    ("sides", "status", "answer"),
    [(("baseline", "candidate"), 3, "worse"), (("candidate", "baseline"), 0, "not worse")],
)
def test_a_real_comparison_of_two_simulators_in_pairs(pairs, capsys, sides, status, answer):
    folder, _ = pairs
    condition = "time_to_first_token.p50 > +25%"
    words = [str(folder / side) for side in sides]
    assert main(["compare", *words, "--fail-on", condition, "--json"]) == status
    found = json.loads(capsys.readouterr().out)["comparison"]
    (judged,) = found["judged"]
    assert (found["sessions"], judged["answer"], judged["point"]) == ([6, 6], answer, POINT)
    assert {one["method"] for one in found["differences"]} == {"pairs"}


def test_a_single_session_is_not_compared_with_several(pairs, capsys):
    folder, _ = pairs
    assert main(["compare", str(folder / "baseline/01"), str(folder / "candidate")]) == 2
    assert "the spread of a single session is not known" in capsys.readouterr().err


def test_a_session_that_is_not_green_is_named(bench):
    bench.write(concurrency=4, requests=8, rows=20, bound="1ns")
    with contextlib.ExitStack() as stack:
        status, output = repeat(bench, 2, "-o", "out", "--", "bench", f"--endpoint={served(stack, 20)}")
    assert status == 1
    assert verdict(output) == (
        "verdict: not good - 2 of 2 sessions are not green: 01 (not green), 02 (not green)"
    )
    assert "request_latency.p50" in output


def test_more_sessions_are_added_up_to_n_by_the_same_call_only(bench):
    with contextlib.ExitStack() as stack:
        words = "bench", f"--endpoint={served(stack, 20)}"
        assert repeat(bench, 1, "-o", "out", "--", *words)[0] == 0
        status, output = repeat(bench, 2, "-o", "out", "--", *words)
        assert (status, verdict(output)) == (0, "verdict: pass - all 2 sessions are green")
        assert sorted(path.name for path in (bench.root / "out").iterdir() if path.is_dir()) == ["01", "02"]
        status, output = repeat(bench, 3, "-o", "out", "--", *words, "-k", "steady")
        assert (status, "holds repeats of another call" in output) == (2, True)
        shutil.rmtree(bench.root / "out/01")
        status, output = repeat(bench, 3, "-o", "out", "--", *words)
    assert status == 2
    assert "out/01: was removed" in output


def test_a_session_that_ran_when_the_command_was_killed_counts(bench):
    with contextlib.ExitStack() as stack:
        words = "bench", f"--endpoint={served(stack, 20)}"
        assert repeat(bench, 1, "-o", "out", "--", *words)[0] == 0
        record = bench.root / "out/repeats.json"
        record.write_text(json.dumps({**json.loads(record.read_text()), "sessions": []}))
        (bench.root / "out/02").mkdir()  # of a session that was killed before it had planned
        status, output = repeat(bench, 2, "-o", "out", "--", *words)
    assert status == 1
    assert "1 of 2 sessions are not green: 02 (not green)" in verdict(output)


def test_a_refused_session_ends_the_repeats(bench):
    status, output = repeat(bench, 3, "-o", "out", "--", "bench", "--no-such-option")
    assert status != 0
    assert "01 (" in verdict(output)
    assert not (bench.root / "out/02").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["2"], "expected the arguments of pytest after `--`"),
        (["0", "--", "bench"], "expected 1 or more sessions"),
        (["5", "--precision", "request_latency.p50 2%", "--", "bench"], "an interval needs 6 sessions"),
        (["6", "--precision", "request_latency.p50", "--", "bench"], "expected a metric"),
        (["6", "--precision", "error_rate 2%", "--", "bench"], "may be 0"),
        (["2", "--", "bench", "--results=r"], "sets --results for each session"),
        (["2", "--endpoints", "http://a", "http://b", "--", "bench", "--endpoint=c"], "sets --endpoint"),
    ],
)
def test_a_call_that_cannot_be_meant_is_refused(words, sentence, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["repeat", *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_ends_the_repeats_and_what_is_there_is_reported(bench, number):
    with contextlib.ExitStack() as stack:
        words = "bench", f"--endpoint={served(stack, 20)}"
        assert repeat(bench, 1, "-o", "out", "--", *words)[0] == 0
        suite = bench.root / "bench/load.yaml"
        suite.write_text(suite.read_text().replace("requests: 8", "duration_s: 300"))
        process = bench.call("repeat", 3, "-o", "out", "--", *words, process_group=0)
        running = bench.root / f"out/02/points/{POINT}/phases/measured/requests.0.jsonl"
        until = time.monotonic() + 120
        while not (running.exists() and running.stat().st_size):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < until
            time.sleep(0.02)
        os.killpg(process.pid, number)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "interrupted; 1 of 2 sessions are not green: 02 (interrupted)" in verdict(output)
    assert "request_latency.p50" in output
    ran = json.loads((bench.root / "out/repeats.json").read_text())["sessions"]
    assert [one["status"] for one in ran] == [0, 130]
    assert json.loads((bench.root / "out/02/verdict.json").read_text())["interrupted"]
    assert not (bench.root / "out/03").exists()
