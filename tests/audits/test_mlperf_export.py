"""The export of real results: what is written, what is refused, and what the user is told."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers

from pytest_bench import simulator
from pytest_bench.audits.vbench import DIMENSIONS
from pytest_bench.cli import main
from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.files import write_json
from pytest_bench.load.log import read_records
from pytest_bench.reports.mlperf import export, scenario_of
from pytest_bench.results.claim import read_verdict
from pytest_bench.results.evidence import check_evidence, write_evidence
from pytest_bench.results.plan_file import write_plan
from pytest_bench.tokens.counts import read_outputs
from pytest_bench.verdict.outcome import Outcome, Reason
from pytest_bench.verdict.verdict import Coverage, PointVerdict, Verdict
from pytest_bench.workload import Load


@pytest.fixture(scope="module")
def served():
    """Stands in for a system to submit."""
    with simulator.start(simulator.Behaviour(model="wan2.2-t2v-a14b", video_ms=60)) as running:
        yield running.url


@pytest.fixture
def session(auditor, caching_suite, served):
    """Runs points by their ids, and returns the results folder that a session would have left."""

    def run(*points, of="single-stream", endpoint=served):
        (auditor.folder / "vbench.json").write_text(
            json.dumps({"dimensions": dict.fromkeys(DIMENSIONS, 71.0), "videos": 40})
        )
        vbench = f"of: {of}, threshold: 0.9}}\n  v: {{test: vbench, of: {of}, result: vbench.json, videos: 40"
        text = caching_suite(vbench).replace("model: m", "model: wan2.2-t2v-a14b")
        text = text.replace("endpoint: simulator", f"endpoint: {endpoint}")
        if endpoint != "simulator":
            text = text.replace("  simulator: {video_ms: 12, seed: 0}\n", "")
        with auditor.session(text) as audit:
            for point in points:
                audit(point) if len(point) == 1 else auditor.perf(point)
        results = auditor.folder / "results"
        (nonce, *_) = {json.loads(path.read_text())["nonce"] for path in results.rglob("evidence.json")}
        write_plan(results, auditor.planned, nonce)
        if endpoint == served:
            as_if_of_a_model(results)
        conclude(results, auditor.planned, nonce)
        return results

    return run


def as_if_of_a_model(results):
    """Take away what says that the simulator was measured: it always says so of itself."""
    for path in results.rglob("summary.json"):
        judge_anew(path.parent, lambda judgement: judgement["labels"].remove("simulator"))


def judge_anew(folder, change):
    """Let a point's summary judge otherwise, and its evidence with it."""
    summary, evidence = (
        json.loads((folder / name).read_text()) for name in ("summary.json", "evidence.json")
    )
    change(summary["judgement"])
    (folder / "summary.json").write_text(json.dumps(summary))
    known = {name: evidence[name] for name in ("point", "point_digest", "nonce")}
    write_evidence(folder, **known, outcome=summary["judgement"]["outcome"])


def conclude(results, plan, nonce, **changes):
    """Leave the verdict of a session whose points came to what their summaries say."""
    points, left_out = [], []
    for point in plan.points:
        path = f"points/{point.id}"
        if not (results / path).exists():
            left_out.append(point.id)
            continue
        check = check_evidence(results / path, path=path, point=point.id)
        told = PointVerdict(
            id=point.id,
            outcome=check.outcome,
            digest=check.point_digest,
            evidence=path,
            evidence_digest=check.digest,
        )
        points.append(told)
    coverage = Coverage(complete=not left_out, left_out=tuple(left_out))
    verdict = Verdict(
        status="pass", coverage=coverage, nonce=nonce, points=tuple(points), plan_digest=plan_digest(results)
    )
    write_json(results / "verdict.json", msgspec.structs.replace(verdict, **changes))


def plan_digest(results):
    return json.loads((results / "plan.json").read_text())["digest"]


def told_otherwise(results, **changes):
    """Let the session's verdict say something else."""
    path = results / "verdict.json"
    write_json(path, msgspec.structs.replace(read_verdict(path), **changes))


def test_a_passed_session_is_written_in_the_layout_of_the_checker(session, tmp_path):
    results = session("a", "v", "single-stream")

    (folder,) = export(results, tmp_path / "out")

    assert folder == tmp_path / "out" / "wan2.2-t2v-a14b" / "SingleStream"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "accuracy/accuracy_results.json",
        "audit/audit_output_caching_test.json",
        "audit/audit_vbench_accuracy.json",
        "audit/verify_OUTPUT_CACHING_TEST.txt",
        "audit/verify_VBENCH_ACCURACY.txt",
        "config.yaml",
        "performance/result_summary.json",
    ]
    audit = json.loads((folder / "audit" / "audit_output_caching_test.json").read_text())
    assert (audit["test"], audit["passed"]) == ("output_caching_test", True)
    (score,) = json.loads((folder / "accuracy" / "accuracy_results.json").read_text())["accuracy_scores"]
    assert (score["score"], score["total_samples"]) == (71.0, 40)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["settings"]["load_pattern"] == {
        "type": "concurrency",
        "target_qps": None,
        "target_concurrency": 1,
    }


def test_the_performance_summary_says_what_was_measured(session, tmp_path):
    (folder,) = export(
        session("single-stream"),
        tmp_path / "out",
        benchmarks={"s": "wan-2.2-t2v-a14b"},
        without_audits=True,
    )

    summary = json.loads((folder / "performance" / "result_summary.json").read_text())
    assert folder.parent.name == "wan-2.2-t2v-a14b"
    assert (summary["n_samples_issued"], summary["n_samples_completed"], summary["n_samples_failed"]) == (
        12,
        12,
        0,
    )
    assert summary["qps"] == pytest.approx(12 / (summary["duration_ns"] / 1e9))
    latency = summary["latency"]
    assert latency["early_stopping_percentiles"]["90.0"] is None
    assert latency["percentiles"]["90.0"] <= latency["loadgen_percentiles"]["90.0"] <= latency["max"]
    assert summary["ttft"] == {}


STREAMS = """
suite: s
deployment:
  api: openai-completions
  model: m
  endpoint: {endpoint}
  generation: {{max_tokens: 12}}
  tokens: {{tokenizer: tokenizer.json}}
datasets: {{prompts: {{path: prompts.jsonl}}}}
perf:
  single-stream:
    dataset: prompts
    load: {{pattern: concurrency, concurrency: 1, requests: 15}}
    budget: {{vacancy: 1, cpu_share: 1, achieved_share: 0.1}}
"""


def test_every_series_has_our_percentiles_and_loadgens(auditor, tmp_path):
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(byte_level.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: place for place, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = byte_level
    tokenizer.save(str(auditor.folder / "tokenizer.json"))
    behaviour = simulator.Behaviour(model="m", ttft_ms=2, itl_ms=1, itl_distribution="uniform")
    with (
        simulator.start(behaviour) as running,
        auditor.session(STREAMS.format(endpoint=running.url)),
    ):
        point = auditor.perf("single-stream")
    results = auditor.folder / "results"
    write_plan(results, auditor.planned, point.summary.nonce)
    as_if_of_a_model(results)
    conclude(results, auditor.planned, point.summary.nonce)
    (folder,) = export(results, tmp_path / "out")

    summary = json.loads((folder / "performance" / "result_summary.json").read_text())
    phase = point.folder / "phases" / "measured"
    counts = {line.request_id: line for line in read_outputs(phase / "tokens.jsonl")}
    records = list(read_records(phase))
    totals = [counts[record.request_id].total for record in records]
    firsts = [counts[record.request_id].first_event for record in records]
    rests = [record.last_content_ns - record.first_content_ns for record in records]
    for name, divisors in (
        ("tpot", [total - first for total, first in zip(totals, firsts, strict=True)]),
        ("tpot_loadgen", [total - 1 for total in totals]),
    ):
        times = sorted(rest / divisor for rest, divisor in zip(rests, divisors, strict=True))
        written = summary[name]["loadgen_percentiles"]
        assert {key: written[key] for key in ("50.0", "90.0", "99.9")} == {
            "50.0": times[7],
            "90.0": times[13],
            "99.9": times[14],
        }
        assert summary[name]["percentiles"]["90.0"] == times[12]
    assert all(len(summary[name]["loadgen_percentiles"]) == 12 for name in ("latency", "ttft", "tpot"))
    assert summary["output_sequence_lengths"]["total"] == sum(totals)
    for name, metric in (
        ("latency", "request_latency"),
        ("ttft", "time_to_first_token"),
        ("tpot", "time_per_output_token"),
        ("output_sequence_lengths", "output_tokens"),
    ):
        measured = point.measurement.metrics[metric].statistics
        assert summary[name]["percentiles"]["99.0"] == measured["p99"]
        assert (summary[name]["avg"], summary[name]["std_dev"]) == (measured["mean"], measured["stddev"])


def label(results, point, name):
    """Add a label to a point, and let evidence and verdict agree with it."""
    folder = results / "points" / "s" / point
    judge_anew(folder, lambda judgement: judgement["labels"].append(name))
    return json.loads((folder / "evidence.json").read_text())["nonce"]


def test_labels_are_exported_and_named_before_anything_is_written(session, auditor, tmp_path):
    results = session("a", "v", "single-stream")
    label(results, "perf/single-stream", "unofficial")
    nonce = label(results, "audit/a", "failures-tolerated")
    conclude(results, auditor.planned, nonce)
    out = tmp_path / "out"
    notes = []

    def note(sentence):
        assert not out.exists()
        notes.append(sentence)

    (folder,) = export(results, out, note=note)

    text = "\n".join(notes)
    assert re.search(r"s/perf/single-stream is labelled .*\bunofficial", text)
    assert re.search(r"s/audit/a is labelled .*\bfailures-tolerated", text)
    summary = json.loads((folder / "performance" / "result_summary.json").read_text())
    record = json.loads((folder / "audit" / "audit_output_caching_test.json").read_text())
    assert "unofficial" in summary["labels"]
    assert "failures-tolerated" in record["labels"]


def test_rules_of_mlperf_that_a_result_does_not_meet_are_named(session, tmp_path):
    notes = []
    export(
        session("v", "single-stream"),
        tmp_path / "out",
        benchmarks={"s": "wan-2.2-t2v-a14b"},
        without_audits=True,
        note=notes.append,
    )

    for sentence in (
        "dataloader_random_seed is 0; MLPerf's is 2747215439041700203",
        "scheduler_random_seed is 0; MLPerf's is 16159082839903944936",
        "at least 600 s is required",
        "12 requests completed; at least 50 are required",
        "the audit output_caching_test is required and was not exported",
    ):
        assert any(sentence in note for note in notes), sentence
    assert not any("accuracy" in note for note in notes)


def test_the_command_prints_them_to_standard_error_and_the_folders_to_standard_output(
    session, tmp_path, capsys
):
    out = tmp_path / "out"

    status = main(["export", str(session("single-stream")), str(out), "--without-audits"])

    printed = capsys.readouterr()
    assert status == 0
    assert printed.out.splitlines() == [str(out / "wan2.2-t2v-a14b" / "SingleStream")]
    assert "MLPerf: benchmark 'wan2.2-t2v-a14b' is not one of wan-2.2-t2v-a14b, " in printed.err


def test_the_minimum_duration_is_the_duration_of_a_run_that_declares_none(session, tmp_path):
    (folder,) = export(session("single-stream"), tmp_path / "out", without_audits=True)

    lasted_ns = json.loads((folder / "performance" / "result_summary.json").read_text())["duration_ns"]
    runtime = yaml.safe_load((folder / "config.yaml").read_text())["settings"]["runtime"]
    assert runtime["min_duration_ms"] == lasted_ns // 1_000_000 > 0


def test_only_what_passed_can_be_submitted(session, auditor, tmp_path):
    results = session("single-stream")
    (point,) = read_verdict(results / "verdict.json").points
    told_otherwise(results, points=(msgspec.structs.replace(point, outcome=Outcome.FAIL),))

    with pytest.raises(UsageError, match="is fail by the verdict: only points that passed"):
        export(results, tmp_path / "out", without_audits=True)
    told_otherwise(results, points=())
    with pytest.raises(UsageError, match="is missing by the verdict: only points that passed"):
        export(results, tmp_path / "out", without_audits=True)


def test_a_point_whose_audit_did_not_pass_is_refused(session, tmp_path):
    results = session("a", "v", "single-stream")
    points = read_verdict(results / "verdict.json").points
    red = (
        msgspec.structs.replace(point, outcome=Outcome.ERROR) if point.id == "s/audit/a" else point
        for point in points
    )
    told_otherwise(results, points=tuple(red))

    with pytest.raises(UsageError, match="s/audit/a is error by the verdict"):
        export(results, tmp_path / "out", without_audits=True)
    assert not (tmp_path / "out").exists()


def test_an_audit_that_did_not_run_is_refused_unless_it_is_waived(session, tmp_path):
    results = session("v", "single-stream")

    with pytest.raises(UsageError, match=r"s/audit/a were left out.*--without-audits"):
        export(results, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (folder,) = export(results, tmp_path / "out", without_audits=True)
    assert [path.name for path in (folder / "audit").glob("*.json")] == ["audit_vbench_accuracy.json"]


def test_evidence_that_is_not_that_of_the_verdict_is_refused(session, tmp_path):
    results = session("single-stream")
    folder = results / "points" / "s" / "perf" / "single-stream"
    judge_anew(folder, lambda judgement: judgement["labels"].append("unbounded"))

    with pytest.raises(EvidenceError, match="the evidence is not that of the verdict"):
        export(results, tmp_path / "out", without_audits=True)


def test_a_session_with_a_fault_or_without_a_verdict_of_its_own_cannot_be_submitted(session, tmp_path):
    results = session("single-stream")
    told_otherwise(results, faults=(Reason("host", "two sessions measured at once"),))
    with pytest.raises(UsageError, match=r"had a fault.*two sessions measured at once"):
        export(results, tmp_path / "out", without_audits=True)
    told_otherwise(results, nonce="0")
    with pytest.raises(EvidenceError, match="belongs to another session than the plan beside it"):
        export(results, tmp_path / "out", without_audits=True)
    (results / "verdict.json").unlink()
    with pytest.raises(EvidenceError, match=r"verdict\.json"):
        export(results, tmp_path / "out", without_audits=True)


def test_results_of_the_simulator_are_refused(session, tmp_path):
    results = session("single-stream", endpoint="simulator")

    with pytest.raises(UsageError, match="simulator"):
        export(results, tmp_path / "out", without_audits=True)


def test_an_existing_folder_is_refused(session, tmp_path):
    results = session("single-stream")
    export(results, tmp_path / "out", without_audits=True)

    with pytest.raises(UsageError, match="exists"):
        export(results, tmp_path / "out", without_audits=True)


def test_evidence_that_was_altered_or_is_of_another_session_is_refused(session, tmp_path):
    results = session("a", "single-stream")
    record = results / "points/s/audit/a/audit_output_caching_test.json"
    before = record.read_bytes()
    record.write_bytes(before.replace(b"true", b"TRUE"))
    with pytest.raises(EvidenceError, match=r"audit_output_caching_test\.json: was altered"):
        export(results, tmp_path / "out", without_audits=True)
    record.write_bytes(before)
    plan = results / "plan.json"
    plan.write_text(plan.read_text().replace('"nonce": "', '"nonce": "0'))
    told_otherwise(results, nonce=json.loads(plan.read_text())["nonce"])
    with pytest.raises(EvidenceError, match="its nonce is"):
        export(results, tmp_path / "out", without_audits=True)
    assert not (tmp_path / "out").exists()


def test_results_without_a_plan_or_a_scenario_are_refused(session, tmp_path):
    with pytest.raises(EvidenceError, match=r"plan\.json"):
        export(tmp_path, tmp_path / "out")
    with pytest.raises(UsageError, match="no performance point"):
        export(session("a"), tmp_path / "out")


@pytest.mark.parametrize(
    ("load", "scenario"),
    [
        (Load(pattern="burst", requests=1), "Offline"),
        (Load(pattern="concurrency", concurrency=1, requests=1), "SingleStream"),
        (Load(pattern="concurrency", concurrency=2, requests=2), None),
        (Load(pattern="poisson", rate=1, requests=1), "Server"),
        (Load(pattern="constant", rate=1, requests=1), None),
    ],
)
def test_the_load_determines_the_scenario(load, scenario):
    assert scenario_of(load) == scenario
