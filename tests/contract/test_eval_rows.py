"""Evals end to end: from the suite to the verdict, on the simulator that answers from a file."""

from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import pytest
from eval_folder import FLEXIBLE, ITEMS, POINTS, STRICT, make_eval, metrics, summary

from pytest_bench.checkpoints import read_checkpoint
from pytest_bench.checkpoints.contents import read_lines
from pytest_bench.evals.answers import ResultPayload
from pytest_bench.evals.sample_sources import read_samples_of
from pytest_bench.lmeval import Request, Thresholds, verify_folder
from pytest_bench.verify import verify_session


def require(ran, status, outcome):
    assert ran.status == status, ran.output
    assert set(ran.outcomes.values()) == {outcome}, ran.output


def verify(folder, ran, *args):
    command = [sys.executable, "-c", "from pytest_bench.cli import main; raise SystemExit(main())", "verify"]
    return subprocess.run(
        [*command, str(ran.results), *args],
        cwd=folder.root,
        env=folder.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_eval_makes_one_scored_point_for_each_concurrency(folder, workers):
    make_eval(folder, answers={0: "Twice that.\n#### 99", 1: "I do not know."})
    ran = folder.run("--endpoint=simulator", workers)
    require(ran, 0, "pass")
    assert list(ran.outcomes) == list(POINTS)
    for point in POINTS:
        found = metrics(ran, point)
        assert found[STRICT] == found[FLEXIBLE] == 6 / 8
        assert (found["eval_requests"], found["completed_requests"]) == (ITEMS, ITEMS)
        assert found["extraction_failed_rate"] == 1 / 8
        contents = read_checkpoint(ran.results / "points" / point / "checkpoint.jsonl")
        assert (len(contents.results), contents.ended) == (ITEMS, True)
        assert 0 <= found["tail_share"] <= 1
    assert "75.0% (40.9% to 92.9%)" in ran.output
    assert " tail " in ran.output
    checked = verify(folder, ran)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_its_result_files_are_admitted_as_a_folder_of_lm_eval(folder):
    make_eval(folder)
    ran = folder.run("--endpoint=simulator")
    results = ran.results / "evals/tiny/sums"
    request = Request(concurrencies=(1, 2, 4), thresholds=Thresholds(default={"gsm8k": 0.9}))
    assert verify_folder(results, request).findings == ()
    meta = json.loads((results / "meta_env.json").read_text())
    assert (meta["completed_eval_concs"], meta["failed_eval_concs"], meta["eval_exit_code"]) == (
        [1, 2, 4],
        [],
        0,
    )


def test_a_selected_concurrency_leaves_the_others_failed_in_the_metadata(folder):
    make_eval(folder)
    ran = folder.run("--endpoint=simulator", "-k", "c0002")
    assert ran.status == 0, ran.output
    meta = json.loads((ran.results / "evals/tiny/sums/meta_env.json").read_text())
    assert (meta["completed_eval_concs"], meta["failed_eval_concs"], meta["eval_exit_code"]) == (
        [2],
        [1, 4],
        1,
    )


def test_never_more_requests_are_in_flight_than_the_concurrency(folder):
    make_eval(folder)
    ran = folder.run("--endpoint=simulator", "-k", "c0004")
    assert summary(ran, POINTS[2])["detail"]["concurrency"]["peak"] == 4
    log = (ran.results / "deployments/tiny/simulator.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in log]
    requests = [record for record in records if record.get("kind") == "request" and record.get("request_id")]
    assert len(requests) == ITEMS
    assert max(record["in_flight"] for record in requests) == 4


def in_flight(found, places):
    """Mean of places taken from full load to the last issue, as the records of requests that succeeded say."""
    starts = sorted(record.send_start_ns for record in found)
    from_ns, until_ns = starts[places - 1], starts[-1]
    spans = (min(record.end_ns, until_ns) - max(record.send_start_ns, from_ns) for record in found)
    return sum(max(0, span) for span in spans) / (until_ns - from_ns)


def test_the_concurrency_is_that_of_the_requests_and_not_of_places_that_wait_for_their_line(folder):
    make_eval(folder, items=40)
    folder.edit("bench/tiny.yaml", "    budget: {vacancy: 1}\n", "")
    folder.edit("bench/tiny.yaml", "ttft_ms: 5, itl_ms: 0.1", "ttft_ms: 0, itl_ms: 0")
    ran = folder.run("--endpoint=simulator", "-k", "c0004")
    require(ran, 1, "error")
    assert "the concurrency is not proven" in ran.output
    proof = summary(ran, POINTS[2])["detail"]["concurrency"]
    assert proof["achieved"] < proof["least"] == 0.98 * 4
    if proof["peak"] == 4:
        assert proof["achieved"] == pytest.approx(in_flight(records(ran, POINTS[2]), 4), abs=0.1)
    folder.edit("bench/tiny.yaml", "    sweep:", "    budget: {vacancy: 1}\n    sweep:")
    relaxed = folder.run("--endpoint=simulator", "-k", "c0001")
    require(relaxed, 0, "pass")
    assert "budget-relaxed" in relaxed.verdict["points"][0]["labels"]


@pytest.mark.parametrize(
    ("gate", "outcome"),
    [
        ("{metric: 'exact_match,strict-match', threshold: 0.75}", "pass"),
        ("{metric: 'exact_match,strict-match', threshold: 0.76}", "fail"),
        ("{metric: 'exact_match,strict-match', lower_bound: 0.3}", "pass"),
        ("{metric: 'exact_match,strict-match', lower_bound: 0.7}", "inconclusive"),
        ("{metric: 'exact_match,strict-match', lower_bound: 0.99}", "fail"),
    ],
)
def test_a_gate_decides_the_point(folder, gate, outcome):
    make_eval(folder, answers={0: "#### 99", 1: "#### 99"}, fields=f"gates: [{gate}]\n")
    ran = folder.run("--endpoint=simulator", "-k", "c0001")
    require(ran, 0 if outcome == "pass" else 1, outcome)
    (row,) = [line for line in ran.output.splitlines() if line.startswith(f"{POINTS[0]} ")]
    assert f" >= {gate.split()[-1].rstrip('}')} " in row
    assert "unbounded" not in ran.verdict["points"][0]["labels"]
    assert verify_session(ran.results).problems == ()


def test_a_failed_request_is_unscored_and_makes_the_point_an_error(folder):
    make_eval(folder, items=8)
    folder.edit("bench/tiny.yaml", "itl_ms: 0.1}", "itl_ms: 0.1, fault: {http_500: 0.5}}")
    ran = folder.run("--endpoint=simulator", "-k", "c0002")
    require(ran, 1, "error")
    assert "unscored" in ran.reasons(POINTS[1])
    assert summary(ran, POINTS[1])["measurement"]["metrics"][STRICT].get("value") is None
    assert verify_session(ran.results).problems == ()


def test_a_limit_from_the_command_line_is_labelled_and_never_passes_under_complete(folder):
    make_eval(folder)
    limited = ("--endpoint=simulator", "--eval-limit=4")
    ran = folder.run(*limited)
    require(ran, 0, "pass")
    assert "limited" in ran.verdict["points"][0]["labels"]
    assert ran.verdict["coverage"] == {"complete": False, "left_out": [], "limited": list(POINTS)}
    assert "coverage PARTIAL: 3 evals asked a part of their items" in ran.output
    assert (verify(folder, ran).returncode, verify(folder, ran, "--allow-partial").returncode) == (1, 0)
    assert metrics(ran)["eval_requests"] == 4
    assert verify_session(ran.results).problems == ()
    results = ran.results / "evals/tiny/sums"
    expected = {"concurrencies": (1, 2, 4), "thresholds": Thresholds(default={"gsm8k": 0.9})}
    assert verify_folder(results, Request(**expected, limit=4)).findings == ()
    assert verify_folder(results, Request(**expected)).findings != ()
    require(folder.run(*limited, "--complete"), 1, "error")


def test_failures_are_sent_again_and_every_attempt_is_kept(folder):
    make_eval(
        folder,
        answers={2: {"content": "#### 10", "fault": "http_503", "fault_requests": 2}},
        fields="retry: {attempts: 3, on: [5xx], backoff_s: 0.01, max_wait_s: 0.02}\n",
    )
    folder.edit("bench/tiny.yaml", "itl_ms: 0.1}", "itl_ms: 0.1, retry_after_s: 3600}")
    ran = folder.run("--endpoint=simulator", "-k", "c0004")
    require(ran, 0, "pass")
    found = metrics(ran, POINTS[2])
    assert (found["retried_requests"], found["failed_requests"]) == (1, 0)
    detail = summary(ran, POINTS[2])["detail"]
    assert detail["account"]["attempts"] == ITEMS + 2
    assert detail["metrics"]["scorings"][STRICT]["without_retried"]["n"] == ITEMS - 1
    contents = read_checkpoint(ran.results / "points" / POINTS[2] / "checkpoint.jsonl")
    assert max(contents.attempts.values()) == 3
    assert "without retried" in ran.output
    asked = [record.retry_after_s for record in records(ran, POINTS[2]) if record.outcome == "failed"]
    assert asked == [3600, 3600]
    assert verify_session(ran.results).problems == ()


def test_a_server_that_asks_to_wait_is_obeyed(folder):
    make_eval(
        folder,
        answers={2: {"content": "#### 10", "fault": "http_429", "fault_requests": 1}},
        fields="retry: {attempts: 2, on: ['429'], backoff_s: 0.01}\n",
    )
    ran = folder.run("--endpoint=simulator", "-k", "c0001")
    require(ran, 0, "pass")
    first, second = [record for record in records(ran, POINTS[0]) if record.sample_index == 2]
    assert (first.status, first.retry_after_s) == (429, 1)
    assert second.send_start_ns - first.end_ns >= 1e9


def test_an_answer_that_reaches_the_time_limit_is_cut_off_and_scored(folder):
    late = {"content": "So it is #### 10 " + "and so on " * 40, "fault": "stall"}
    vague = {"content": "so let us think about that once more " * 4, "fault": "stall"}
    make_eval(
        folder,
        answers={2: late, 3: vague},
        fields="item_time_limit_s: 1.5\nretry: {attempts: 2, on: [timeout]}\n",
    )
    folder.edit("bench/tiny.yaml", "max_tokens: 64, stream: false", "max_tokens: 512, stream: true")
    folder.edit("bench/tiny.yaml", "itl_ms: 0.1}", "itl_ms: 0.1, fault_after: 12}")
    ran = folder.run("--endpoint=simulator", "-k", "c0002")
    require(ran, 0, "pass")
    found = metrics(ran, POINTS[1])
    assert (found["completed_requests"], found["failed_requests"]) == (ITEMS, 0)
    assert (found["time_limited_rate"], found["truncated_rate"]) == (2 / ITEMS, 0)
    assert found[STRICT] == 7 / ITEMS
    assert "time limited" in ran.output
    limited = [record for record in records(ran, POINTS[1]) if record.limit == "time"]
    assert sorted(record.sample_index for record in limited) == [2, 3]
    assert all(record.outcome == "succeeded" and record.finish_reason is None for record in limited)
    cut = [sample for sample in read_samples_of(ran.results) if sample.limit == "time"]
    assert [(sample.item, sample.is_truncated) for sample in cut] == [("sum-2", True), ("sum-3", True)]
    assert cut[0].outputs[0].startswith("So it is #### 10 and so on")
    assert verify_session(ran.results).problems == ()
    again = folder.run("--endpoint=simulator", "-k", "c0002", "--resume", str(ran.results), results=None)
    assert "item_time_limit_s" not in again.output
    folder.edit("bench/tiny.yaml", "item_time_limit_s: 1.5", "item_time_limit_s: 9")
    other = folder.run("--endpoint=simulator", "-k", "c0002", "--resume", str(ran.results), results=None)
    assert "item_time_limit_s was 1.5, is 9" in other.output


def records(ran, point):
    """The record of every attempt, in order."""
    decode = msgspec.json.Decoder(ResultPayload).decode
    lines = read_lines(ran.results / "points" / point / "checkpoint.jsonl")
    return [decode(line.payload).request for line in lines if line.kind in {"result", "error"}]


def test_the_point_stops_once_too_many_requests_have_failed(folder):
    make_eval(
        folder,
        items=30,
        answers={number: {"fault": "http_500"} for number in range(30)},
        fields="fail_on_error: {count: 2}\n",
    )
    ran = folder.run("--endpoint=simulator", "-k", "c0002")
    require(ran, 1, "error")
    found = metrics(ran, POINTS[1])
    assert 3 <= found["failed_requests"] <= 4
    assert found["missing_requests"] == 30 - found["failed_requests"]
    assert "missing-answers" in ran.reasons(POINTS[1])
    assert verify_session(ran.results).problems == ()


def test_raw_bytes_of_the_first_calls_and_of_every_failure_are_kept(folder):
    make_eval(folder, answers={5: {"fault": "http_500"}}, fields="unscored: {count: 1}\n")
    ran = folder.run("--endpoint=simulator", "-k", "c0001")
    require(ran, 0, "pass")
    lines = (ran.results / "points" / POINTS[0] / "phases/session-1/raw.0.jsonl").read_text().splitlines()
    calls = [json.loads(line) for line in lines[1:-1]]
    assert [call["status"] for call in calls] == [200, 200, 200, 500]
    assert all(call["request"].startswith("POST /v1/completions HTTP/1.1\r\n") for call in calls)
    assert "injected fault" in calls[-1]["response"]


def test_labels_of_the_deployment_are_in_the_result_files(folder):
    make_eval(folder)
    folder.edit(
        "bench/tiny.yaml",
        "  ready_timeout_s: 10",
        "  ready_timeout_s: 10\n  labels: {hw: b200, tp: 8, team: x}",
    )
    ran = folder.run("--endpoint=simulator")
    require(ran, 0, "pass")
    results = ran.results / "evals/tiny/sums"
    meta = json.loads((results / "meta_env.json").read_text())
    assert (meta["hw"], meta["tp"]) == ("b200", 8)
    for path in results.glob("results_*.json"):
        assert json.loads(path.read_text())["labels"] == {"hw": "b200", "tp": 8, "team": "x"}
    assert verify_session(ran.results).problems == ()


def gate_against(baseline, margin, more=""):
    metric = f"metric: '{STRICT}'"
    return f"gates: [{{{metric}, non_inferior: {margin}, baseline: ../{baseline}{more}}}]\n"


def test_a_change_is_judged_against_the_verified_scores_of_the_same_items(folder):
    items = 120
    make_eval(folder, items=items)
    assert folder.run("--endpoint=simulator", "-k", "c0004", results="before").status == 0
    make_eval(
        folder,
        items=items,
        answers=dict.fromkeys(range(30), "#### 1"),
        fields=gate_against("before", 0.02),
    )
    worse = folder.run("--endpoint=simulator", "-k", "c0004")
    require(worse, 1, "fail")
    (pair,) = summary(worse, POINTS[2])["detail"]["pairs"].values()
    assert (pair["lost"], pair["won"], len(pair["flips"])) == (30, 0, 30)
    assert pair["mcnemar_p"] < 1e-6
    assert verify_session(worse.results).problems == ()
    make_eval(folder, items=items, fields=gate_against("before", 0.2))
    assert folder.run("--endpoint=simulator", "-k", "c0004").status == 0
    make_eval(folder, items=items, answers={0: "#### 1"}, fields=gate_against("before", 0.001))
    undecided = folder.run("--endpoint=simulator", "-k", "c0004")
    require(undecided, 1, "inconclusive")
    assert "about" in undecided.output


def test_a_baseline_of_other_items_or_that_does_not_verify_is_refused(folder):
    make_eval(folder)
    folder.run("--endpoint=simulator", "-k", "c0004", results="before")
    make_eval(folder, items=9, fields=gate_against("before", 0.5))
    other = folder.run("--endpoint=simulator", "-k", "c0004")
    require(other, 1, "error")
    assert "the baseline has other items (1 not in the baseline" in other.output
    checkpoint = folder.root / "before/points" / POINTS[2] / "checkpoint.jsonl"
    checkpoint.write_bytes(checkpoint.read_bytes() + b" ")
    make_eval(folder, fields=gate_against("before", 0.5))
    altered = folder.run("--endpoint=simulator", "-k", "c0004")
    require(altered, 1, "error")
    assert "does not verify" in altered.output or "its outcome is error" in altered.output


def test_the_concurrencies_of_a_sweep_share_the_risk_of_an_error(folder):
    """31 of 40 is more than 0.63 with confidence 0.95, and not with Holm's correction for three points."""
    wrong = dict.fromkeys(range(9), "#### 1")
    gate = f"gates: [{{metric: '{STRICT}', lower_bound: 0.63}}]\n"
    make_eval(folder, items=40, answers=wrong, fields=gate)
    ran = folder.run("--endpoint=simulator")
    first = ran.verdict["points"][0]
    assert first["outcome"] == "inconclusive", ran.output
    assert "not decided after Holm's correction over 3 concurrencies" in first["reasons"][0]["sentence"]
    require(ran, 1, "inconclusive")
    assert verify_session(ran.results).problems == ()
    folder.edit("bench/tiny.yaml", "sweep: {concurrency: [1, 2, 4]}", "concurrency: 1")
    require(folder.run("--endpoint=simulator"), 0, "pass")


ODD_API = """
from pytest_bench.api.openai_completions import OpenAICompletions as Real


class Odd:
    name, path, streaming, columns, required = "odd", Real.path, Real.streaming, Real.columns, Real.required
    delta_key, polls, video_seconds = Real.delta_key, Real.polls, Real.video_seconds
    encode, prompt = staticmethod(Real.encode), staticmethod(Real.prompt)
    decode_stream, pending = staticmethod(Real.decode_stream), staticmethod(Real.pending)

    @staticmethod
    def decode_body(body, content_type):
        decoded = Real.decode_body(body, content_type)
        if decoded.content == "the odd one":
            decoded.content = "\\ud800"
        return decoded


def pytest_bench_apis():
    return {"odd": "odd_api:Odd"}
"""


def test_an_answer_that_cannot_be_written_disturbs_no_other_and_makes_the_point_an_error(folder):
    make_eval(folder, answers={4: "the odd one"}, fields="unscored: {count: 1}\n")
    folder.write("odd_api.py", ODD_API)
    folder.edit("bench/tiny.yaml", "api: openai-completions", "api: odd")
    folder.environ["PYTHONPATH"] = str(folder.root)
    ran = folder.run("--endpoint=simulator", "-p", "odd_api", "-k", "c0002")
    require(ran, 1, "error")
    assert ran.reasons(POINTS[1]) == ["unserialisable"]
    assert "'sum-4'" in ran.output
    assert metrics(ran, POINTS[1])["completed_requests"] == ITEMS - 1
    assert len(list((ran.results / "evals/tiny/sums").glob("results_*_conc2.json"))) == 1


def test_an_item_that_hangs_holds_up_no_other_record(folder):
    make_eval(
        folder,
        answers={0: {"fault": "stall"}},
        fields="timeouts: {request_s: 1}\nunscored: {count: 1}\n",
    )
    ran = folder.run("--endpoint=simulator", "-k", "c0002")
    require(ran, 0, "pass")
    assert metrics(ran, POINTS[1])["failed_requests"] == 1
    lines = (ran.results / "points" / POINTS[1] / "checkpoint.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds.index("error") > kinds.index("result")
    assert kinds.count("result") == ITEMS - 1
