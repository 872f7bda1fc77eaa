"""The result of a point, on which test functions assert."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from pytest_bench.errors import NotMet
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.results.summary import Summary, read_summary
from pytest_bench.suite.plan import Point
from pytest_bench.verdict.judge import Violations, violations
from pytest_bench.verdict.outcome import Outcome


@dataclass(frozen=True)
class MeasuredPoint:
    """The result of one point. `require()` raises unless it passes; `value` and `violations` inspect it.

    Metric names are those of bounds: `time_to_first_token.p99`, `request_throughput`. Values are in base
    units: nanoseconds, fractions, tokens or requests per second.
    """

    point: Point
    summary: Summary
    folder: Path
    """Its evidence."""
    rerun: str
    """The command that runs this point alone."""

    @classmethod
    def read(cls, point: Point, folder: Path, rerun: str) -> MeasuredPoint:
        """Read a point that was judged earlier in the session. Raises `EvidenceError`."""
        return cls(point=point, summary=read_summary(folder), folder=folder, rerun=rerun)

    @property
    def outcome(self) -> Outcome:
        return self.summary.judgement.outcome

    @property
    def measurement(self) -> Measurement:
        """All metrics. Raises `NotMet` if nothing could be measured."""
        if self.summary.measurement is None:
            raise NotMet(self.report())
        return self.summary.measurement

    def value(self, name: str) -> float | None:
        """The metric in its base unit; None if it is null. Raises `UsageError` for an unknown name."""
        return self.measurement.value(name)

    def violations(self, *requirements: str) -> Violations:
        """The requirements ("time_to_first_token.p99 <= 200ms") that are not met; `()` if all are.

        Raises `UsageError` for a text that is not a requirement or does not name a metric.
        """
        caller = sys._getframe(1)  # noqa: SLF001 # the only way to name the line of the requirement
        origin = f"{caller.f_code.co_filename}:{caller.f_lineno}"
        return violations(self.measurement, *requirements, origin=origin)

    def require(self) -> None:
        """Raise `NotMet` unless the point passes. Not an `assert`, which `python -O` removes."""
        if self.outcome is not Outcome.PASS:
            raise NotMet(self.report())

    def report(self) -> str:
        """Why the point did not pass, where its evidence is, and how to run it again."""
        judgement = self.summary.judgement
        why = [reason.sentence for reason in judgement.reasons] or ["no reason was given"]
        lines = [
            f"{judgement.outcome}: {why[0]}",
            *(f"  {sentence}" for sentence in why[1:]),
            f"  declared at {self.point.origin}",
            f"  evidence: {self.folder}",
            f"  again: {self.rerun}",
        ]
        return "\n".join(lines)
