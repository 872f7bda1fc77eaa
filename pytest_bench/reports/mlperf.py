"""The layout that MLPerf's submission checker reads, made from a session's results.

For each benchmark and scenario (mlcommons/inference, `tools/submission/submission_checker`):

    <benchmark>/<Scenario>/config.yaml
    <benchmark>/<Scenario>/performance/result_summary.json
    <benchmark>/<Scenario>/accuracy/accuracy_results.json
    <benchmark>/<Scenario>/audit/audit_<name>.json, verify_<NAME>.txt

Names inside the files are those of mlcommons/endpoints. What a submission needs besides (the system's
description, measurements.json, the videos for human audit) nobody measures: it is added by hand.
"""

from __future__ import annotations

import shutil
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from pytest_bench import __version__
from pytest_bench.bounds import SCHEDULED
from pytest_bench.errors import EvidenceError, UsageError, makes_sense
from pytest_bench.files import read_json, write_atomic, write_json
from pytest_bench.load.log import read_records
from pytest_bench.metrics.definitions import PERCENTILES
from pytest_bench.metrics.measurement import Measurement, Metric
from pytest_bench.metrics.statistics import loadgen_percentile
from pytest_bench.metrics.token_counts import ABSENT, Lengths, TokenCounts, request_key
from pytest_bench.records import RequestRecord
from pytest_bench.results.claim import read_verdict
from pytest_bench.results.evidence import check_evidence
from pytest_bench.results.layout import VERDICT, point_path
from pytest_bench.results.plan_file import PlanFile, read_plan
from pytest_bench.results.summary import Summary, read_summary
from pytest_bench.running.counting import read_counted
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.verdict.outcome import Outcome
from pytest_bench.verdict.points import contradictions
from pytest_bench.verdict.verdict import Verdict
from pytest_bench.workload import OPEN_LOOP, Load

_ACCURACY = "audit_vbench_accuracy.json"


class _Session(NamedTuple):
    """What a session planned, and what it says came of that."""

    results: Path
    planned: PlanFile
    verdict: Verdict


class _Good(NamedTuple):
    """A performance point that can be submitted, with its audits."""

    point: Point
    load: Load
    summary: Summary
    measurement: Measurement
    audits: list[Point]


def export(
    results: Path,
    out: Path,
    *,
    benchmarks: Mapping[str, str] | None = None,
    without_audits: bool = False,
) -> list[Path]:
    """Write one folder below `out` for each suite and scenario that `results` measured; returns them.

    `benchmarks` is MLPerf's name of the benchmark by suite, where it is not the name of the model. Raises
    `UsageError` for results that cannot be submitted (a session with a fault, a point that did not pass by its
    verdict, an audit of an exported scenario that was left out unless `without_audits`, the simulator, two
    points of one scenario, nothing at all) and for a folder that exists; `EvidenceError` for damaged results.
    """
    session = _read_session(results)
    plan = session.planned.plan
    scenarios = list(_scenarios(session))
    if not scenarios:
        raise UsageError(
            f"{results}: holds no performance point of an MLPerf scenario (burst: Offline, one request in "
            "flight: SingleStream, poisson: Server)"
        )
    folders: dict[Path, Point] = {}
    for point, scenario in scenarios:
        benchmark = (benchmarks or {}).get(point.suite, plan.deployments[point.suite].model)
        if benchmark in {"", ".", ".."} or "\0" in benchmark:
            raise UsageError(f"{benchmark!r} is no name of a benchmark: say --benchmark {point.suite}=NAME")
        folder = out / benchmark.replace("/", "_") / scenario
        if folder in folders:
            raise UsageError(
                f"{folders[folder].id} and {point.id} are both {scenario} of {benchmark}: run one of them alone, "
                "or give their suites benchmarks of their own"
            )
        if folder.exists():
            raise UsageError(f"{folder}: exists; expected a folder of its own for each export")
        folders[folder] = point
    good = {}
    for folder, point in folders.items():
        with makes_sense(_folder(results, point)):
            good[folder] = _good(session, point, without_audits=without_audits)
    for folder, found in good.items():
        with makes_sense(_folder(results, found.point)):
            _write(session, found, folder)
    return list(folders)


def _read_session(results: Path) -> _Session:
    planned, verdict = read_plan(results), read_verdict(results / VERDICT)
    if verdict.nonce != planned.nonce or verdict.plan_digest != planned.digest:
        raise EvidenceError(f"{results / VERDICT}: is of another session than the plan beside it")
    for fault in verdict.faults:
        raise UsageError(f"{results}: its session had a fault, and cannot be submitted: {fault.sentence}")
    return _Session(results, planned, verdict)


def scenario_of(load: Load) -> str | None:
    """MLPerf's scenario for a way to issue requests; None where it has none."""
    match load.pattern:
        case "burst":
            return "Offline"
        case "concurrency" if load.concurrency == 1:
            return "SingleStream"
        case "poisson":
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
    said = {item.id: item for item in session.verdict.points}.get(point.id)
    if said is None or said.outcome is not Outcome.PASS:
        outcome = "missing" if said is None else said.outcome
        raise UsageError(f"{point.id} is {outcome} by the verdict: only what passed can be submitted")
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
    if check.digest != said.evidence_digest or judgement.outcome is not said.outcome:
        raise EvidenceError(f"{folder}: holds other evidence than the verdict was given of")
    if "simulator" in judgement.labels:
        raise UsageError(f"{point.id} was measured on the simulator, which is no system to submit")
    return summary


def _good(session: _Session, point: Point, *, without_audits: bool) -> _Good:
    summary = _submittable(session, point)
    if summary.measurement is None or point.load is None:
        raise EvidenceError(f"{_folder(session.results, point)}: passed without a measurement")
    audits = list(_audits_of(session.planned.plan, point))
    missing = [audit.id for audit in audits if _left_out(session, audit)]
    if missing and not without_audits:
        raise UsageError(
            f"{point.id}: its audits {', '.join(missing)} were left out: run them in the session too, or say "
            "--without-audits"
        )
    audits = [audit for audit in audits if audit.id not in missing]
    for audit in audits:
        _submittable(session, audit)
    return _Good(point, point.load, summary, summary.measurement, audits)


def _write(session: _Session, good: _Good, folder: Path) -> None:
    for name in ("performance", "accuracy", "audit"):
        (folder / name).mkdir(parents=True)
    write_atomic(
        folder / "config.yaml", yaml.safe_dump(_config(session.planned.plan, good.point, good.load)).encode()
    )
    measured = _folder(session.results, good.point) / good.summary.phases[-1].folder
    write_json(
        folder / "performance" / "result_summary.json",
        result_summary(good.measurement, good.load, read_records(measured), read_counted(measured).tokens),
    )
    for audit in good.audits:
        _copy_audit(_folder(session.results, audit), folder)


def _audits_of(plan: Plan, point: Point) -> Iterator[Point]:
    """The audits of a performance point: those that name it, and those of its scenario that name none."""
    for audit in plan.points:
        if audit.kind == "audit" and audit.suite == point.suite:
            of = audit.options.get("of")
            if of == point.name or (of is None and _scenario(audit) == _scenario(point)):
                yield audit


def _copy_audit(source: Path, folder: Path) -> None:
    for path in sorted((*source.glob("audit_*.json"), *source.glob("verify_*.txt"))):
        shutil.copyfile(path, folder / "audit" / path.name)
    if (source / _ACCURACY).exists():
        found = read_json(source / _ACCURACY)
        scores = {
            "dataset_name": "vbench",
            "dataset_type": "accuracy",
            "score": found["score"],
            "total_samples": found["videos"],
            "unit_samples": found["videos"],
            "breakdown": {
                "subset_scores": found["dimensions"],
                "total_samples": found["videos"],
                "complete": True,
            },
        }
        write_json(folder / "accuracy" / "accuracy_results.json", {"accuracy_scores": [scores]})


def _config(plan: Plan, point: Point, load: Load) -> dict[str, Any]:
    """The settings of the run, under the names that mlcommons/endpoints gives them."""
    deployment = plan.deployments[point.suite]
    return {
        "name": point.id,
        "version": __version__,
        "type": "submission",
        "benchmark_mode": "offline" if load.pattern == "burst" else "online",
        "model_params": {
            "name": deployment.model,
            "streaming": "on" if deployment.stream else "off",
            **deployment.parameters,
        },
        "datasets": [{"name": point.dataset, "type": "performance"}],
        "settings": {
            "runtime": {
                "min_duration_ms": round((point.minimum_duration_s or 0) * 1000),
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


def result_summary(
    measurement: Measurement, load: Load, records: Iterable[RequestRecord], tokens: TokenCounts | None
) -> dict[str, Any]:
    """A measurement as mlcommons/endpoints writes its own (`metrics/report.py`); times in nanoseconds.

    `loadgen_percentiles` stand beside ours: LoadGen takes `sorted[int(n * p)]`, we take the lower neighbour.
    `tokens` are those of the records, where any were counted.
    """
    server = load.pattern in OPEN_LOOP
    window = measurement.phase
    latencies, firsts, keys, rests = (array("q") for _ in range(4))
    for record in records:
        if record.outcome == "succeeded":
            start_ns = _start_ns(record, server=server)
            last_ns = record.last_content_ns or record.end_ns
            latencies.append(last_ns - start_ns)
            if record.first_content_ns is not None:
                firsts.append(record.first_content_ns - start_ns)
                keys.append(request_key(record.request_id))
                rests.append(last_ns - record.first_content_ns)
    return {
        "version": __version__,
        "n_samples_issued": measurement.issued,
        "n_samples_completed": measurement.succeeded,
        "n_samples_failed": measurement.failed,
        "duration_ns": None if window is None else window.end_ns - window.start_ns,
        "state": "complete",
        "complete": True,
        "qps": measurement.value("server_scenario_throughput" if server else "request_throughput"),
        "tps": measurement.value("output_token_throughput"),
        "latency": _series(_metric(measurement, "request_latency", server=server), _floats(latencies)),
        "ttft": _series(_metric(measurement, "time_to_first_token", server=server), _floats(firsts)),
        "tpot": _series(
            measurement.metrics["time_per_output_token"],
            None if tokens is None else _per_token(_floats(rests), tokens.of(np.asarray(keys))),
        ),
        "output_sequence_lengths": _series(measurement.metrics["output_tokens"], None),
    }


def _floats(values: array[int]) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


def _per_token(rests: NDArray[np.float64], lengths: Lengths) -> NDArray[np.float64]:
    """Time per output token (`metrics.formulas`) of streams that went on for `rests` after their first content."""
    counted = (lengths.output != ABSENT) & (lengths.first_event != ABSENT)
    later = np.where(counted, lengths.output - lengths.first_event, 0)
    return rests[later > 0] / later[later > 0]


def _start_ns(record: RequestRecord, *, server: bool) -> int:
    scheduled = record.scheduled_ns if server else None
    return record.send_start_ns if scheduled is None else scheduled


def _metric(measurement: Measurement, name: str, *, server: bool) -> Metric:
    return measurement.metrics[SCHEDULED[name] if server else name]


def _series(metric: Metric, values: NDArray[np.float64] | None) -> dict[str, Any]:
    """A distribution as mlcommons/endpoints writes one; empty where there is none. `values` are those that it is
    of, where LoadGen's percentiles are to stand beside ours."""
    found = metric.statistics
    if metric.reason is not None or not found:
        return {}
    keys = {name: str(float(name[1:])) for name in PERCENTILES}  # p99 is written 99.0
    series: dict[str, Any] = {
        "min": found["min"],
        "max": found["max"],
        "avg": found["mean"],
        "median": found["p50"],
        "std_dev": found["stddev"],
        "percentiles": {key: found[name] for name, key in keys.items()},
    }
    early = {name: key for name, key in keys.items() if f"early_stopping_{name}" in found}
    if early:
        series["early_stopping_percentiles"] = {
            key: found[f"early_stopping_{name}"] for name, key in early.items()
        }
    if values is not None:
        ascending = np.sort(values)
        series["loadgen_percentiles"] = {
            key: loadgen_percentile(ascending, PERCENTILES[name]) for name, key in keys.items()
        }
    return series
