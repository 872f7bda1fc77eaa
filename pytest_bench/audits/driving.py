"""Drive the phases of an audit back to back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from pytest_bench.audits.checking import phase_load
from pytest_bench.audits.contract import AuditPhase, Run, Setting
from pytest_bench.audits.outputs import read_run
from pytest_bench.endpoints.actions import reset_cache
from pytest_bench.records import CacheReset, PhaseResult
from pytest_bench.running.counting import count_phase
from pytest_bench.running.deployment import Deployment
from pytest_bench.running.measuring import untrustworthy
from pytest_bench.running.phases import DeclaredPhase, drive
from pytest_bench.running.session import Reporter, SessionFacts
from pytest_bench.suite.plan import Point
from pytest_bench.tokens.tokenizer import Tokenizer
from pytest_bench.verdict.outcome import Reason


@dataclasses.dataclass(kw_only=True)
class Driven:
    """The results of driving the phases."""

    results: list[PhaseResult] = dataclasses.field(default_factory=list)
    """In the order in which they ran."""
    runs: dict[str, Run] = dataclasses.field(default_factory=dict)
    resets: list[CacheReset] = dataclasses.field(default_factory=list)
    problems: list[Reason] = dataclasses.field(default_factory=list)
    """Why the audit cannot be judged."""
    tokenizer: Mapping[str, Any] | None = None
    """Which tokenizer counted the outputs, and how it was verified."""

    def shorter_than(self, seconds: float) -> bool:
        """Whether any phase was shorter than this."""
        return any(_window_ns(result) < seconds * 1e9 for result in self.results)


def drive_phases(
    session: SessionFacts,
    point: Point,
    deployment: Deployment,
    tokenizer: Tokenizer | None,
    rows: Sequence[Mapping[str, Any]],
    setting: Setting,
    phases: Sequence[AuditPhase],
    reporter: Reporter,
) -> Driven:
    """Drive all phases, then read their logs, unless their results cannot be judged.

    Raises what `drive` and `reset_cache` raise, and `EvidenceError` for damaged logs.
    """
    driven = Driven()
    for stretch in stretches(phases):
        if stretch[0].reset_cache:
            driven.resets += _reset(deployment)
        system = deployment if stretch[0].stream else _unstreamed(deployment)
        declared = [
            DeclaredPhase(label=phase.label, load=phase_load(setting.load, phase), samples=phase.samples)
            for phase in stretch
        ]
        driven.results += drive(session, point, system, rows, declared, reporter)
    driven.problems += [*untrustworthy(driven.results), *uncertified(driven.results)]
    if driven.problems:
        return driven
    for phase, result in zip(phases, driven.results, strict=True):
        counted = (
            count_phase(tokenizer, deployment.plan, result, rows, texts=point.texts)
            if phase.count_tokens
            else None
        )
        driven.runs[phase.label] = read_run(phase, result, None if counted is None else counted.tokens)
        if counted is not None:
            driven.problems += counted.problems
            driven.tokenizer = counted.evidence
    return driven


def stretches(phases: Sequence[AuditPhase]) -> list[list[AuditPhase]]:
    """Group phases into runs of the engine. A cache reset or a change between streams and whole answers starts one."""
    found: list[list[AuditPhase]] = []
    for phase in phases:
        if not found or phase.reset_cache or phase.stream != found[-1][-1].stream:
            found.append([])
        found[-1].append(phase)
    return found


def _reset(deployment: Deployment) -> Iterator[CacheReset]:
    path = deployment.plan.cache_reset
    if path is not None:
        for target in deployment.targets:
            yield reset_cache(target.url, path, headers=deployment.headers)


def _unstreamed(deployment: Deployment) -> Deployment:
    return dataclasses.replace(deployment, plan=msgspec.structs.replace(deployment.plan, stream=False))


def _window_ns(result: PhaseResult) -> int:
    return (result.last_completion_ns or 0) - (result.first_issue_ns or 0)


def uncertified(results: Sequence[PhaseResult]) -> Iterator[Reason]:
    """Why phases cannot be judged, in addition to `untrustworthy`, which applies to every kind of point."""
    for result in results:
        if result.issued != result.succeeded + result.failed + result.interrupted:
            yield Reason(
                "lossy",
                f"phase {result.label!r}: {result.issued} requests were issued, but {result.succeeded} "
                f"succeeded, {result.failed} failed and {result.interrupted} were interrupted",
            )
        if not result.succeeded or _window_ns(result) <= 0:
            yield Reason(
                "zero-throughput",
                f"phase {result.label!r}: {result.succeeded} of {result.issued} requests succeeded, so there "
                f"is no throughput to judge. Next: look into the failures in phases/{result.label}",
            )
