"""Facts of a session that its points need, and how they report to the user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pytest_bench.load.supervisor import Progress
from pytest_bench.results.layout import point_path
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.workload import PhaseSpec


@dataclass(frozen=True, kw_only=True)
class SessionFacts:
    """Facts that are the same for all points of a session."""

    plan: Plan
    nonce: str
    results: Path
    """The results folder."""
    rerun: Callable[[Point], str]
    """Returns the command that runs a point alone."""

    def folder(self, point: Point) -> Path:
        """The evidence folder of a point."""
        return self.results / point_path(point.id)


def _ignore(*_: object) -> None:
    """For sessions without a user interface."""


@dataclass(frozen=True, kw_only=True)
class Reporter:
    """Callbacks that show the user how a point is doing."""

    progress: Callable[[Point, PhaseSpec, Progress, int | None], None] = _ignore
    """Called with the progress of a phase, and the number of output tokens counted so far if they are counted live."""
    note: Callable[[str], None] = _ignore
    """Called with a sentence that the user should read."""


SILENT = Reporter()
