"""The session as every process of it knows it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import msgspec
import pytest

from pytest_bench.plugin.selection import Selection
from pytest_bench.results.layout import deployment_path, point_path
from pytest_bench.suite.plan import Plan, Point


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One pytest run."""

    plan: Plan
    nonce: str
    results_path: str
    """Absolute."""
    root_path: str
    """What origins of points are relative to; absolute."""
    selection: Selection
    runs: bool = True
    """False for a call that collects and shows only: no process of it writes anything."""
    rerun_options: tuple[str, ...] = ()
    """Options that the command that runs a point again needs."""

    @property
    def results(self) -> Path:
        return Path(self.results_path)

    def points_of(self, suites: Path, kind: str) -> list[Point]:
        """The points of a kind that the suites in a folder declare, in the order of execution."""
        return [
            point for point in self.plan.points if point.kind == kind and self.suite_folder(point) == suites
        ]

    def suite_folder(self, point: Point) -> Path:
        """The folder of the suite that declares the point: its test functions live there."""
        return Path(self.plan.folder(point.suite))

    def suite_folders(self) -> set[Path]:
        return {Path(self.plan.folder(suite)) for suite in self.plan.deployments}

    def point_folder(self, point_id: str) -> Path:
        """Where the point's evidence lies."""
        return self.results / point_path(point_id)

    def deployment_folder(self, suite: str) -> Path:
        """Where what belongs to a deployment rather than to a point lies."""
        return self.results / deployment_path(suite)

    def rerun(self, point: Point) -> str:
        """The command that runs this point alone."""
        suites = os.path.relpath(self.suite_folder(point), self.root_path)
        alone = sum(point.id in other.id for other in self.plan.points) == 1
        # -k takes any part of a name; the brackets around a test's parameter make it the whole.
        name = point.id if alone else f"[{point.id}]"
        return shlex.join(["pytest", suites, "-k", name, *self.rerun_options])


HANDOVER_KEY = "inference_bench"
"""Where `workerinput` holds the session: xdist workers read neither YAML nor their own environment."""


def hand_over(session: Session) -> str:
    """The session as text for `workerinput`."""
    return msgspec.json.encode(session).decode()


def adopt_session(config: pytest.Config) -> Session | None:
    """The controller's session, in an xdist worker; None if the controller found no suites."""
    text = getattr(config, "workerinput", {}).get(HANDOVER_KEY)
    return None if text is None else msgspec.json.decode(text, type=Session)
