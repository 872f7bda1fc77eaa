"""The session, as shared by all its processes."""

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
    """Absolute path."""
    root_path: str
    """The absolute path that origins of points are relative to."""
    selection: Selection
    runs: bool = True
    """False for a call that only collects: none of its processes writes anything."""
    rerun_options: tuple[str, ...] = ()
    """Options that the rerun command of a point needs."""
    rerun_command: str = ""
    """The command that runs the points again, if the suites do not outlive the call."""

    @property
    def results(self) -> Path:
        return Path(self.results_path)

    def points_of(self, suites: Path, kind: str) -> list[Point]:
        """Return the points of a kind that the suites in a folder declare, in execution order."""
        return [
            point for point in self.plan.points if point.kind == kind and self.suite_folder(point) == suites
        ]

    def suite_folder(self, point: Point) -> Path:
        """Return the folder of the suite that declares the point; its test functions are in the same folder."""
        return Path(self.plan.folder(point.suite))

    def suite_folders(self) -> set[Path]:
        return {Path(self.plan.folder(one.suite)) for one in self.plan.deployments.values()}

    def point_folder(self, point_id: str) -> Path:
        """Return the folder of the point's evidence."""
        return self.results / point_path(point_id)

    def deployment_folder(self, name: str) -> Path:
        """Return the folder for files of a deployment that belong to no single point."""
        return self.results / deployment_path(name)

    def rerun(self, point: Point) -> str:
        """Return the command that runs only this point, or `rerun_command`."""
        if self.rerun_command:
            return self.rerun_command
        suites = os.path.relpath(self.suite_folder(point), self.root_path)
        alone = sum(point.id in other.id for other in self.plan.points) == 1
        # -k matches any part of a name; with the brackets around the test parameter it matches the whole id.
        name = point.id if alone else f"[{point.id}]"
        return shlex.join(["pytest", suites, "-k", name, *self.rerun_options])


WORKER_INPUT_KEY = "inference_bench"
"""Key in `workerinput` of the session: xdist workers do not read YAML."""


def worker_input(session: Session) -> str:
    """Encode the session for `workerinput`."""
    return msgspec.json.encode(session).decode()


def adopt_session(config: pytest.Config) -> Session | None:
    """Decode the controller's session in an xdist worker; None if the controller found no suites."""
    text = getattr(config, "workerinput", {}).get(WORKER_INPUT_KEY)
    return None if text is None else msgspec.json.decode(text, type=Session)
