"""Results of a session in the layout that MLPerf's submission checker reads.

For each benchmark and scenario (mlcommons/inference, `tools/submission/submission_structure.md`, "Endpoints submission
structure"):

    <benchmark>/<Scenario>/config.yaml
    <benchmark>/<Scenario>/performance/result_summary.json
    <benchmark>/<Scenario>/accuracy/accuracy_results.json
    <benchmark>/<Scenario>/audit/audit_<name>.json, verify_<NAME>.txt

Names inside the files are those of mlcommons/endpoints. The rest of a submission (the system's description,
measurements.json, the videos for the human audit) is not measured and must be added by hand.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pytest_bench import __version__
from pytest_bench.errors import EvidenceError, UsageError, makes_sense
from pytest_bench.files import read_json, write_atomic, write_json
from pytest_bench.labels import ORDER_LABELS, Label
from pytest_bench.load.log import read_records
from pytest_bench.metrics.columns import read_columns
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.metrics.token_source import choose
from pytest_bench.reports.mlperf_rules import run_type, shortcomings
from pytest_bench.reports.result_summary import result_summary
from pytest_bench.results.claim import read_verdict
from pytest_bench.results.evidence import check_evidence
from pytest_bench.results.layout import point_path
from pytest_bench.results.plan_file import PlanFile, read_plan
from pytest_bench.results.summary import Summary, read_summary
from pytest_bench.running.counting import read_counted
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.verdict.outcome import Outcome
from pytest_bench.verdict.points import contradictions
from pytest_bench.verdict.verdict import Verdict
from pytest_bench.workload import Load

VERDICT = "verdict.json"

_ACCURACY = "audit_vbench_accuracy.json"


class _Session(NamedTuple):
    """The plan and the verdict of a session."""

    results: Path
    planned: PlanFile
    verdict: Verdict


class _Passed(NamedTuple):
    """A performance point that passed, with its audits."""

    point: Point
    load: Load
    summary: Summary
    measurement: Measurement
    audits: dict[str, Summary]
    """By id."""


class _Submission(NamedTuple):
    """The content of one exported folder."""

    folder: Path
    benchmark: str
    scenario: str
    found: _Passed
    config: dict[str, Any]
    summary: dict[str, Any]
    audits: dict[str, dict[str, Any]]
    """Records of audits, by the name of their file."""
    texts: list[Path]
    """Files for MLPerf's checker that are copied as they are."""
    accuracy: dict[str, Any] | None

    def notes(self) -> Iterator[str]:
        """What a submitter must know about this result."""
        labels = {self.found.point.id: self.summary["labels"]}
        labels |= {name: _restricting(summary) for name, summary in self.found.audits.items()}
        for point, names in labels.items():
            if names:
                yield f"{point} is labelled {', '.join(names)}"
        for sentence in shortcomings(
            self.benchmark,
            self.scenario,
            config=self.config,
            summary=self.summary,
            audits={record["test"] for record in self.audits.values()},
            scored=self.accuracy is not None,
        ):
            yield f"MLPerf: {sentence}"


def export(
    results: Path,
    out: Path,
    *,
    benchmarks: Mapping[str, str] | None = None,
    without_audits: bool = False,
    note: Callable[[str], object] = print,
) -> list[Path]:
    """Write one folder below `out` for each suite and scenario that `results` measured. Returns the folders.

    `benchmarks` gives MLPerf's name of the benchmark by suite, if it is not the name of the model. Before anything
    is written, `note` is called with each label and each rule of MLPerf that a result does not meet.

    Raises `UsageError` for results that cannot be submitted (a session with a fault, a point that did not pass by the
    verdict, an audit of an exported scenario that was left out unless `without_audits`, the simulator, two points of
    one scenario, nothing at all) and for a folder that exists; `EvidenceError` for damaged results.
    """
    session = _read_session(results)
    plan = session.planned.plan
    scenarios = list(_scenarios(session))
    if not scenarios:
        raise UsageError(
            f"{results}: has no performance point of an MLPerf scenario (burst: Offline, one request in "
            "flight: SingleStream, poisson: Server)"
        )
    folders: dict[Path, tuple[Point, str, str]] = {}
    for point, scenario in scenarios:
        benchmark = (benchmarks or {}).get(point.suite, plan.deployment_of(point).model)
        if benchmark in {"", ".", ".."} or "\0" in benchmark:
            raise UsageError(
                f"{benchmark!r} is not a name of a benchmark: give one with --benchmark {point.suite}=NAME"
            )
        folder = out / benchmark.replace("/", "_") / scenario
        if folder in folders:
            raise UsageError(
                f"{folders[folder][0].id} and {point.id} are both {scenario} of {benchmark}: run only one of them, "
                "or give their suites different benchmarks"
            )
        if folder.exists():
            raise UsageError(f"{folder}: exists; expected a new folder for each export")
        folders[folder] = (point, benchmark, scenario)
    submissions = []
    for folder, (point, benchmark, scenario) in folders.items():
        with makes_sense(_folder(results, point)):
            found = _passed(session, point, without_audits=without_audits)
            submissions.append(_submission(session, found, folder, benchmark, scenario))
    for submission in submissions:
        for sentence in submission.notes():
            note(f"{submission.folder}: {sentence}")
    for submission in submissions:
        _write(submission)
    return list(folders)


def _read_session(results: Path) -> _Session:
    planned, verdict = read_plan(results), read_verdict(results / VERDICT)
    if verdict.nonce != planned.nonce or verdict.plan_digest != planned.digest:
        raise EvidenceError(f"{results / VERDICT}: belongs to another session than the plan beside it")
    for fault in verdict.faults:
        raise UsageError(f"{results}: the session had a fault and cannot be submitted: {fault.sentence}")
    return _Session(results, planned, verdict)


def scenario_of(load: Load) -> str | None:
    """MLPerf's scenario of a load. None if MLPerf has no such scenario."""
    match load.pattern:
        case "burst":
            return "Offline"
        case "concurrency" if load.concurrency == 1:
            return "SingleStream"
        case "poisson" if load.max_concurrency is None:
            return "Server"
    return None


def _scenarios(session: _Session) -> Iterator[tuple[Point, str]]:
    for point in session.planned.plan.points:
        scenario = _scenario(point)
        if point.kind == "perf" and scenario is not None and not _left_out(session, point):
            yield point, scenario


def _left_out(session: _Session, point: Point) -> bool:
    return point.id in session.verdict.coverage.left_out


def _scenario(point: Point) -> str | None:
    return None if point.load is None else scenario_of(point.load)


def _folder(results: Path, point: Point) -> Path:
    return results / point_path(point.id)


def _submittable(session: _Session, point: Point) -> Summary:
    planned = session.planned
    judged = {item.id: item for item in session.verdict.points}.get(point.id)
    if judged is None or judged.outcome is not Outcome.PASS:
        outcome = "missing" if judged is None else judged.outcome
        raise UsageError(f"{point.id} is {outcome} by the verdict: only points that passed can be submitted")
    folder = _folder(session.results, point)
    check = check_evidence(folder, path=point_path(point.id), point=point.id)
    if check.errors:
        raise EvidenceError("\n".join(check.errors))
    summary = read_summary(folder)
    judgement = summary.judgement
    digest = planned.plan.point_digest(point)
    for sentence in contradictions(
        check, point=point.id, point_digest=digest, nonce=planned.nonce, outcome=judgement.outcome
    ):
        raise EvidenceError(sentence)
    if check.digest != judged.evidence_digest or judgement.outcome is not judged.outcome:
        raise EvidenceError(f"{folder}: the evidence is not that of the verdict")
    if Label.SIMULATOR in judgement.labels:
        raise UsageError(f"{point.id} was measured on the simulator, which cannot be submitted")
    return summary


def _passed(session: _Session, point: Point, *, without_audits: bool) -> _Passed:
    summary = _submittable(session, point)
    if summary.measurement is None or point.load is None:
        raise EvidenceError(f"{_folder(session.results, point)}: passed without a measurement")
    audits = list(_audits_of(session.planned.plan, point))
    missing = [audit.id for audit in audits if _left_out(session, audit)]
    if missing and not without_audits:
        raise UsageError(
            f"{point.id}: its audits {', '.join(missing)} were left out: run them in the session too, or give "
            "--without-audits"
        )
    summaries = {audit.id: _submittable(session, audit) for audit in audits if audit.id not in missing}
    return _Passed(point, point.load, summary, summary.measurement, summaries)


def _restricting(summary: Summary) -> list[str]:
    return [label for label in summary.judgement.labels if label not in ORDER_LABELS]


def _submission(
    session: _Session, found: _Passed, folder: Path, benchmark: str, scenario: str
) -> _Submission:
    measured = _folder(session.results, found.point) / found.summary.phases[-1].folder
    columns = read_columns(read_records(measured))
    deployment = session.planned.plan.deployment_of(found.point)
    lengths = choose(
        columns,
        read_counted(measured).tokens,
        rule=deployment.tokens.count,
        ignore_eos=deployment.parameters.get("ignore_eos") is True,
    ).lengths
    records: dict[str, dict[str, Any]] = {}
    texts: list[Path] = []
    accuracy = None
    for name, summary in found.audits.items():
        source = session.results / point_path(name)
        for path in sorted(source.glob("audit_*.json")):
            records[path.name] = {**read_json(path), "labels": list(summary.judgement.labels)}
        texts += sorted(source.glob("verify_*.txt"))
        if _ACCURACY in records:
            accuracy = accuracy_results(records[_ACCURACY])
    return _Submission(
        folder=folder,
        benchmark=benchmark,
        scenario=scenario,
        found=found,
        config=_config(session.planned.plan, found, scenario),
        summary=result_summary(
            found.measurement,
            found.load,
            columns,
            lengths,
            labels=_restricting(found.summary),
        ),
        audits=records,
        texts=texts,
        accuracy=accuracy,
    )


def _write(submission: _Submission) -> None:
    folder = submission.folder
    for name in ("performance", "accuracy", "audit"):
        (folder / name).mkdir(parents=True)
    write_atomic(folder / "config.yaml", yaml.safe_dump(submission.config).encode())
    write_json(folder / "performance" / "result_summary.json", submission.summary)
    for name, record in submission.audits.items():
        write_json(folder / "audit" / name, record)
    for path in submission.texts:
        shutil.copyfile(path, folder / "audit" / path.name)
    if submission.accuracy is not None:
        write_json(folder / "accuracy" / "accuracy_results.json", submission.accuracy)


def accuracy_results(found: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a VBench audit in the form of mlcommons/endpoints' `accuracy_results.json`, in percent."""
    scores: dict[str, Any] = {
        "dataset_name": "vbench",
        "dataset_type": "accuracy",
        "score": found["score"],
        "total_samples": found["videos"],
        "unit_samples": found["videos"],
        "num_repeats": 1,
    }
    if found["dimensions"] is not None:
        scores["breakdown"] = {
            "subset_scores": found["dimensions"],
            "total_samples": found["videos"],
            "complete": True,
        }
    return {"accuracy_scores": [scores]}


def _audits_of(plan: Plan, point: Point) -> Iterator[Point]:
    """The audits of a performance point: those that name it, and those of its scenario that name no point."""
    for audit in plan.points:
        if audit.kind == "audit" and audit.suite == point.suite:
            of = audit.options.get("of")
            if of == point.name or (of is None and _scenario(audit) == _scenario(point)):
                yield audit


def _config(plan: Plan, found: _Passed, scenario: str) -> dict[str, Any]:
    """The settings of the run, under the names of mlcommons/endpoints."""
    point, load = found.point, found.load
    deployment = plan.deployment_of(point)
    kind = run_type(scenario)
    return {
        "name": point.id,
        "version": __version__,
        "type": kind,
        "benchmark_mode": kind,
        "model_params": {
            "name": deployment.model,
            "streaming": "on" if deployment.stream else "off",
            **deployment.parameters,
        },
        "datasets": [{"name": point.dataset, "type": "performance"}],
        "settings": {
            "runtime": {
                "min_duration_ms": _minimum_duration_ms(found),
                "n_samples_to_issue": load.requests,
                "scheduler_random_seed": point.arrival_seed,
                "dataloader_random_seed": 0 if point.samples is None else point.samples.seed,
            },
            "load_pattern": {
                "type": "max_throughput" if load.pattern == "burst" else load.pattern,
                "target_qps": load.rate,
                "target_concurrency": load.concurrency,
            },
        },
        "endpoint_config": {"endpoints": list(deployment.endpoints), "api_type": deployment.api},
    }


def _minimum_duration_ms(found: _Passed) -> int:
    """The longest minimum duration that the run met: the declared one, or the duration of the run if none is declared
    or the run was shorter."""
    window = found.measurement.phase
    lasted_ms = 0 if window is None else int(window.seconds * 1000)
    declared_s = found.point.minimum_duration_s
    return lasted_ms if declared_s is None else min(lasted_ms, round(declared_s * 1000))
