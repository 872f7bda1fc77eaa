"""Runs an eval point whose requests another tool sends, and judges the files that it wrote."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from pytest_bench.bounds import Bound
from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.evals.command_concurrency import CommandConcurrency, prove_command_concurrency
from pytest_bench.evals.harness import STDERR, STDOUT, HarnessEnd, inherited, run_harness
from pytest_bench.evals.results import METADATA, metadata, write_metadata
from pytest_bench.evals.server_concurrency import INTERVAL_S, server_peak
from pytest_bench.evals.sweeps import concurrency_of, eval_labels
from pytest_bench.files import write_atomic
from pytest_bench.labels import Label
from pytest_bench.lmeval import Checked, Request, Thresholds, Verification
from pytest_bench.lmeval.folder import read_folder
from pytest_bench.lmeval.verification import judge
from pytest_bench.metrics.measurement import Measurement, Metric
from pytest_bench.redaction import hide, redact_bytes
from pytest_bench.results.details import CommandDetail, Detail
from pytest_bench.results.layout import HARNESS
from pytest_bench.results.summary import Summary
from pytest_bench.running.deployment import Deployment, is_simulated
from pytest_bench.running.measured import MeasuredPoint
from pytest_bench.running.measuring import with_errors, write_point
from pytest_bench.running.server_log import with_log_budget
from pytest_bench.running.server_metrics import ServerMetrics
from pytest_bench.running.server_side import ServerSide
from pytest_bench.running.session import SILENT, Reporter, SessionFacts
from pytest_bench.suite.command_evals import filled_in
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.verdict.outcome import JudgedBound, Judgement, Outcome, Reason

_ERRORS = frozenset({"harness-status", "overdue", "evidence-error", "concurrency"})
"""Reasons for which the files cannot be trusted."""


def run_command_eval(
    session: SessionFacts, point: Point, deployment: Deployment, reporter: Reporter = SILENT
) -> MeasuredPoint:
    """Run the point's command once, judge what it wrote, and write the evidence.

    The tool's files are kept, however it ended. Raises `UsageError` if it cannot be started, and `EvidenceError` if
    the point's folder holds files of an earlier run, which are not continued.
    """
    folder = session.folder(point)
    output = folder / HARNESS
    if output.exists():
        raise EvidenceError(
            f"{output}: holds files of an earlier run; an eval with a command is never resumed: run it in a new session"
        )
    output.mkdir(parents=True)
    command, environment = _filled(point, deployment, output)
    reporter.note(f"{point.id}: its command writes to {folder / STDERR} and {folder / STDOUT}")
    server_side = ServerSide(session, point, deployment, reporter)
    try:
        with ServerMetrics(_read_often(deployment), [folder], nonce=session.nonce):
            end = run_harness(
                command,
                {**inherited(os.environ), **environment},
                working_folder=Path(session.plan.folder(point.suite)),
                logs=folder,
                time_limit_s=point.options["time_limit_s"],
            )
    finally:
        for name in (STDOUT, STDERR):
            redact(folder / name)
    deployment.require_running()
    server_side.finish(0)
    own_metadata = os.path.lexists(output / METADATA)
    if not own_metadata:
        about = metadata(
            deployment.plan.model,
            deployment.plan.labels,
            [concurrency_of(point)],
            [],
            end.status,
            nonce=session.nonce,
            batched=False,
        )
        write_metadata(output, about)
    found = _verify(session.plan, point, folder, end, own_metadata=own_metadata)
    for note in found.notes:
        reporter.note(f"{point.id}: {note}")
    labels = [*eval_labels(point, simulated=deployment.simulated), *found.labels]
    return write_point(
        session,
        point,
        deployment,
        None,
        judgement=with_errors(_judgement(point, folder, end, found), (), labels),
        measurement=_measurement(found.verification),
        phases=(),
        tokenizer=None,
        detail=CommandDetail(
            command=tuple(command),
            environment=tuple(sorted({*inherited(os.environ), *environment})),
            own_metadata=own_metadata,
            **msgspec.structs.asdict(end),
            **_found_detail(found),
        ),
    )


D = TypeVar("D", bound=Detail)


class Rejudged(msgspec.Struct, Generic[D], frozen=True, kw_only=True):
    """The judgement of the files of a command."""

    measurement: Measurement
    judgement: Judgement
    detail: D


def rejudge(plan: Plan, point: Point, folder: Path, summary: Summary) -> Rejudged[CommandDetail]:
    """Judge the files that a command wrote again. `folder` holds the evidence. Raises `EvidenceError`."""
    detail = summary.detail_as(CommandDetail)
    end = HarnessEnd(**{name: getattr(detail, name) for name in HarnessEnd.__struct_fields__})
    found = _verify(plan, point, folder, end, own_metadata=detail.own_metadata)
    servers = (identity.get("server") for identity in summary.identities)
    simulated = is_simulated(plan.deployment_of(point), servers)
    labels = [*eval_labels(point, simulated=simulated), *found.labels]
    return Rejudged(
        measurement=_measurement(found.verification),
        judgement=with_log_budget(
            with_errors(_judgement(point, folder, end, found), (), labels),
            plan.deployment_of(point),
            folder,
        ),
        detail=msgspec.structs.replace(detail, note="", **_found_detail(found)),
    )


def _filled(point: Point, deployment: Deployment, output: Path) -> tuple[list[str], dict[str, str]]:
    """The command and the declared environment with their placeholders replaced, and secrets read."""
    if len(deployment.urls) != 1:
        raise UsageError(
            f"{point.origin}: {point.id} runs a command, which takes one endpoint; the deployment has "
            f"{len(deployment.urls)}"
        )
    values = {
        "endpoint": deployment.urls[0],
        "model": deployment.plan.model,
        "concurrency": str(concurrency_of(point)),
        "output": str(output.absolute()),
    }
    environment = declared_environment(point, values)
    return [filled_in(word, values) for word in point.options["command"]], environment


def declared_environment(point: Point, values: Mapping[str, str]) -> dict[str, str]:
    """The declared variables of a command with placeholders replaced, and secrets read and hidden from now on.

    Raises `UsageError` for a secret that is not set.
    """
    environment = {}
    for name, declared in point.options["environment"].items():
        if isinstance(declared, str):
            environment[name] = filled_in(declared, values)
            continue
        secret = os.environ.get(declared["from_env"])
        if not secret:
            raise UsageError(
                f"{point.origin}: {name} of {point.id} comes from the environment variable {declared['from_env']}, "
                "which is not set or empty: export it"
            )
        hide([secret])
        environment[name] = secret
    return environment


def redact(path: Path) -> None:
    """Remove secrets from a log of a tool."""
    if path.exists():
        data = path.read_bytes()
        cleared = redact_bytes(data)
        if cleared != data:
            write_atomic(path, cleared)


class _Found(NamedTuple):
    """What the files of a command say."""

    verification: Verification
    concurrency: CommandConcurrency
    allowed: bool
    """Whether the suite allows a concurrency that is not proven."""

    @property
    def notes(self) -> tuple[str, ...]:
        proof = self.concurrency
        gauges = " + ".join(proof.server.gauges)
        by_server = f"{proof.server.peak} requests in flight are proven by the server's {gauges}"
        unproven = proof.problem if self.allowed else None
        own = by_server if not proof.stated and proof.problem is None else unproven
        return (*self.verification.notes, *([own] if own else []))

    @property
    def labels(self) -> list[str]:
        return [Label.CONCURRENCY_UNPROVEN] if self.concurrency.problem and self.allowed else []


def _read_often(deployment: Deployment) -> Deployment:
    """The deployment, its metrics read at an interval."""
    plan = deployment.plan
    interval_s = plan.metrics_interval_s or INTERVAL_S
    return replace(deployment, plan=msgspec.structs.replace(plan, metrics_interval_s=interval_s))


def _verify(plan: Plan, point: Point, folder: Path, end: HarnessEnd, *, own_metadata: bool) -> _Found:
    options = point.options
    read = read_folder(folder / HARNESS)
    verification = judge(
        read,
        Request(
            concurrencies=(concurrency_of(point),),
            thresholds=Thresholds(default=options["thresholds"]),
            min_score=options["min_score"],
            tasks=tuple(options["tasks"]),
            metric_prefix=options["metric_prefix"],
            limit=options["limit"],
            model=plan.deployment_of(point).model,
            allow_missing=frozenset({"eval_exit_code"}),  # this process has seen the exit status itself
            not_before_s=end.started_s,
            not_after_s=end.ended_s,
        ),
    )
    proof = prove_command_concurrency(
        concurrency_of(point), read, server_peak(folder), own_metadata=own_metadata
    )
    return _Found(verification, proof, options["unproven_concurrency"] == "allowed")


def _judgement(point: Point, folder: Path, end: HarnessEnd, found: _Found) -> Judgement:
    """The outcome: an error where the files cannot be trusted, a failure where they are bad."""
    reasons = list(_ends_badly(point, end))
    reasons += (
        Reason(f"evidence-{finding.kind}", str(finding).replace(str(folder / HARNESS), HARNESS))
        for finding in found.verification.findings
    )
    if found.concurrency.problem is not None and not found.allowed:
        reasons.append(Reason("concurrency", f"the concurrency is not proven: {found.concurrency.problem}"))
    is_error = any(reason.code in _ERRORS for reason in reasons)
    outcome = Outcome.ERROR if is_error else Outcome.FAIL if reasons else Outcome.PASS
    return Judgement(
        outcome=outcome, reasons=tuple(reasons), bounds=tuple(_bounds(point, found.verification))
    )


def _ends_badly(point: Point, end: HarnessEnd) -> Iterator[Reason]:
    if end.overdue:
        yield Reason(
            "overdue", f"the command was ended at its time limit, {point.options['time_limit_s']:g} s"
        )
    elif end.status:
        yield Reason(
            "harness-status",
            f"the command ended with status {end.status}; expected 0. Next: read {STDERR} in the evidence",
        )


def _bounds(point: Point, found: Verification) -> Iterator[JudgedBound]:
    for checked in found.checked:
        name, value = _name(checked), checked.score.value
        is_met = value >= checked.threshold
        yield JudgedBound(
            bound=Bound(
                metric=name,
                comparison=">=",
                limit=checked.threshold,
                text=f">= {checked.threshold:g}",
                origin=point.origin,
            ),
            measured=value,
            state="met" if is_met else "not-met",
            sentence=f"{name} is {value:.4g}, required >= {checked.threshold:g} ({point.origin})",
        )


def _name(checked: Checked) -> str:
    return f"{checked.score.task}: {checked.score.metric}"


def _measurement(found: Verification) -> Measurement:
    """The scores. The tool sent the requests, so that nothing else was measured."""
    return Measurement(
        metrics={
            _name(checked): Metric(unit="fraction", kind="scalar", value=checked.score.value)
            for checked in found.checked
        },
        issued=0,
        succeeded=0,
        failed=0,
    )


def _found_detail(found: _Found) -> dict[str, Any]:
    """The parts of the detail that follow from the files."""
    return {
        "shown": tuple(
            (_name(checked).replace(": ", "\n"), f"{checked.score.value:.1%}")
            for checked in found.verification.checked
        ),
        "notes": found.notes,
        "concurrency": msgspec.to_builtins(found.concurrency),
    }
