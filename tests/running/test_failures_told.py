"""Requests that fail, or deliver nothing: how many, in which ways, and what the server said, where people look."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest
from msgspec.structs import replace
from phase_results import phase_result

from pytest_bench.bounds import Bound
from pytest_bench.cli import main
from pytest_bench.load.log import PhaseLog
from pytest_bench.perf.point import assess
from pytest_bench.records import RequestRecord
from pytest_bench.running.counting import Counted
from pytest_bench.running.labels import labels_of
from pytest_bench.running.measuring import unwarmed, with_failures
from pytest_bench.suite.plan import DeploymentPlan, Point
from pytest_bench.verdict.outcome import JudgedBound, Judgement, Outcome, Reason
from pytest_bench.workload import HealthBudget, Load

BOUND = Reason("bound-not-met", "failed_requests is 3 requests, required == 0")


@pytest.fixture
def phase(tmp_path):
    """A phase whose log holds these failures, (type, detail) each, after one success where there is any."""

    def make(*failures, succeeded=1, label="measured", **fields):
        folder = tmp_path / label
        folder.mkdir()
        log = PhaseLog(folder, 0, {})
        outcomes = [(None, None)] * succeeded + list(failures)
        for seq, (error, detail) in enumerate(outcomes):
            record = RequestRecord(
                seq=seq,
                request_id=str(seq),
                index=seq,
                sample_index=seq,
                send_start_ns=0,
                end_ns=1,
                outcome="failed" if error else "succeeded",
                error=error,
                error_detail=detail,
            )
            log.append(record, None)
        log.close(None)
        kinds = [error for error, _ in failures]
        result = phase_result(
            label=label,
            issued=len(outcomes),
            succeeded=succeeded,
            failed=len(failures),
            failures={kind: kinds.count(kind) for kind in kinds},
            folder=str(folder),
        )
        return replace(result, **fields)

    return make


def judgement(state="not-met", outcome=Outcome.FAIL):
    limit = JudgedBound(
        bound=Bound(metric="error_rate", comparison="<=", limit=0.5, text="<= 50%"),
        measured=0.1,
        state=state,
        sentence="",
    )
    return Judgement(outcome=outcome, reasons=(BOUND,), bounds=(limit,))


@pytest.mark.parametrize(
    ("budget", "user_stamped_reads", "labels"),
    [
        (HealthBudget(), 0, []),
        (HealthBudget(vacancy=0.01), 0, []),
        (HealthBudget(vacancy=0.03), 0, ["budget-relaxed"]),
        (HealthBudget(achieved_share=0.9), 0, ["budget-relaxed"]),
        (HealthBudget(), 1, ["user-stamped"]),
    ],
)
def test_a_relaxed_budget_and_user_space_time_stamps_are_labelled(phase, budget, user_stamped_reads, labels):
    result = phase()
    health = replace(result.health, user_stamped_reads=user_stamped_reads)
    point = SimpleNamespace(budget=budget, labels=(), unofficial=False)
    facts = {"simulated": False, "simulator_bound": False, "cache_shared": False, "too_short": False}
    assert list(labels_of(point, [replace(result, health=health)], **facts)) == labels


def told(phase):
    first, second = with_failures(judgement(), phase).reasons
    assert (first.code, second) == ("failed-requests", BOUND)
    return first.sentence


def test_failures_are_reported_by_type_most_frequent_first_with_the_first_message_of_each(phase):
    failed = phase(
        ("reset", "gone"),
        ("server_error", "500: overloaded"),
        ("server_error", "500: still"),
        ("connect", None),
    )
    assert told(failed) == (
        '4 of 5 requests failed: 2 x server_error ("500: overloaded"), 1 x connect, 1 x reset ("gone")'
    )


def test_the_three_most_frequent_types_of_failure_are_explained(phase):
    kinds = ["connect", "malformed", "protocol", "timeout"]
    assert told(phase(*((kind, "why") for kind in kinds))).endswith(
        '1 x connect ("why"), 1 x malformed ("why"), 1 x protocol ("why"), 1 x timeout'
    )


def test_a_failed_warm_up_is_reported_with_counts_types_and_remedy(phase):
    failed = phase(*[("server_error", "429: too many")] * 3, succeeded=0, label="warmup")
    (reason,) = unwarmed([failed])
    assert reason == Reason(
        "unwarmed",
        "phase 'warmup' had no success, so that what follows was measured cold: 3 of 3 requests failed: "
        '3 x server_error ("429: too many"). Next: look into the failures in phases/warmup, or leave the warm-up out',
    )
    (nothing,) = unwarmed([phase(succeeded=0, label="idle")])
    assert "was measured cold: it sent no request" in nothing.sentence


def test_a_warm_up_with_a_success_counts_unless_it_was_cut_off(phase):
    failing = phase(("reset", None), succeeded=1, label="failing")
    assert list(unwarmed([failing])) == []
    cut = phase(succeeded=2, label="cut", issued=5, interrupted=3)
    (reason,) = unwarmed([cut])
    assert (reason.code, "3 of 5 requests were still in flight" in reason.sentence) == ("interrupted", True)
    (reason,) = unwarmed([phase(succeeded=2, label="lost", complete=False)])
    assert reason.code == "incomplete"


def test_a_point_without_a_warm_up_is_an_error_even_if_its_bounds_are_met(phase):
    point = Point(
        id="s/perf/p",
        suite="s",
        kind="perf",
        name="p",
        origin="s.yaml:7:3",
        dataset="prompts",
        load=Load(pattern="concurrency", concurrency=1, requests=4),
        bounds=(Bound(metric="failed_requests", comparison="<=", limit=0.0, text="<= 0"),),
    )
    deployment = DeploymentPlan(suite="s", api="a", api_reference="a:A", model="m", endpoints=())
    counted = Counted()
    measured = phase(succeeded=4)

    def judged(*warmups):
        return assess(deployment, point, [*warmups, measured], counted, ())[1]

    assert judged().outcome is Outcome.PASS
    found = judged(phase(("reset", None), succeeded=0, label="warmup"))
    assert (found.outcome, found.reasons[0].code) == (Outcome.ERROR, "unwarmed")


def test_the_message_of_a_server_is_shown_as_one_short_line_without_control_characters(phase):
    sentence = told(phase(("server_error", "500:\n\x1b[31mred\x07\t" + "x" * 500)))
    (said,) = re.findall(r'\("(.*)"\)', sentence)
    assert said.startswith("500: \N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER} xxx")
    assert (len(said), said[-1]) == (120, "…")


def test_failures_that_the_bounds_tolerate_are_reported_last(phase):
    reasons = with_failures(judgement("met"), phase(("reset", "gone"))).reasons
    assert [reason.code for reason in reasons] == ["bound-not-met", "failed-requests"]


def test_if_no_request_succeeded_the_failures_are_reported_first(phase):
    reasons = with_failures(judgement("met", Outcome.ERROR), phase(("reset", "gone"), succeeded=0)).reasons
    assert [reason.code for reason in reasons] == ["failed-requests", "bound-not-met"]


def test_failures_never_change_the_outcome_and_a_pass_has_no_reasons(phase):
    failed = phase(("reset", "gone"))
    for outcome in (Outcome.FAIL, Outcome.ERROR, Outcome.INCONCLUSIVE):
        assert with_failures(judgement(outcome=outcome), failed).outcome is outcome
    passed = Judgement(outcome=Outcome.PASS)
    assert with_failures(passed, failed) is passed


SUITE = """
suite: {name}
deployment:
  api: openai-chat
  model: simulated
  simulator: {{ttft_ms: 1, itl_ms: 0.1, output_tokens: 3, fault: {{{fault}}}, seed: 1}}
  metrics_path: null
datasets:
  made: {{synthetic: {{rows: 40, input_tokens: 5}}}}
perf:
  point:
    dataset: made
    load: {{pattern: constant, rate: 100, requests: 20}}
    budget: {{achieved_share: 0.01, vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1.0}}
    bounds: {{{bounds}}}
"""

TEST = """
import pytest

@pytest.mark.points("perf")
def test_perf(run_load):
    run_load().require()
"""

WHY = r'(\d+) of 20 requests failed: \1 x truncated_stream \("ended after \d+ events without'


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """What one session said of a server that cuts some of its streams, and of one that answers with nothing."""
    home = tmp_path_factory.mktemp("session")
    for name, fault, bounds in (
        ("cut", "truncated: 0.3", 'request_latency.p99: ">= 1h"'),
        ("hollow", "empty: 1.0", 'request_throughput: ">= 0.01"'),
    ):
        (home / f"{name}.yaml").write_text(SUITE.format(name=name, fault=fault, bounds=bounds))
    (home / "test_perf.py").write_text(TEST)
    command = [
        sys.executable,
        "-m",
        "pytest",
        ".",
        "-p",
        "no:cacheprovider",
        "--endpoint=simulator",
        "--results=r",
    ]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    return home / "r", done.stdout


def test_the_first_reason_of_a_point_states_how_its_requests_failed(session):
    results, said = session
    assert re.search(rf"cut/perf/point: fail: {WHY}", said)
    case = ET.parse(results / "junit.xml").find(".//testcase[@name='cut/perf/point']/failure")
    assert re.match(WHY, case.get("message"))
    summary = json.loads((results / "points/cut/perf/point/summary.json").read_text())
    assert [reason["code"] for reason in summary["judgement"]["reasons"]] == [
        "failed-requests",
        "bound-not-met",
        "bound-not-met",
    ]


def test_empty_answers_fail_a_point_and_are_counted_in_the_table_and_in_junit(session):
    results, said = session
    assert "hollow/perf/point: fail: empty_outputs is 20 requests, required == 0" in said
    (heading,) = [line for line in said.splitlines() if re.search(r"requests +failed +empty", line)]
    (row,) = [line for line in said.splitlines() if re.match(r"hollow/perf/point +\d", line)]
    assert row.split()[1:4] == ["20", "0", "20"], heading
    shown = ET.parse(results / "junit.xml").find(
        ".//testcase[@name='hollow/perf/point']/properties/property[@name='empty_outputs']"
    )
    assert shown.get("value") == "20 requests"


def test_the_reason_of_an_open_loop_bound_mentions_the_scheduled_time(session):
    results, said = session
    assert re.search(
        r"request_latency\.p99, from the scheduled time \(open loop\), is [\d.]+ [mu]?s( ± \S+ \w+)?, "
        r"required >= 1h",
        ET.parse(results / "junit.xml").find(".//testcase[@name='cut/perf/point']/failure").text,
    )
    assert "scheduled latency" in said


def test_the_reported_failures_are_verified_from_the_logs(session, capsys):
    assert main(["verify", str(session[0])]) == 1  # as red as it was, and nothing contradicts it
    assert "judgement" not in capsys.readouterr().out
