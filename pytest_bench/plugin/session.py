"""The session: its plan, its nonce, its results folder, as every process of it knows them."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import msgspec
import pytest

from pytest_bench.suite.plan import Plan, Point
from pytest_bench.verdict.events import Expectation

_KEPT = (
    "-c",
    "--config-file",
    "--rootdir",
    "-p",
    "-o",
    "--override-ini",
    "--endpoint",
    "--served-model",
    "--api-key-env",
    "--tokenizer",
    "--load-seed",
    "--data-seed",
    "--ready-timeout",
    "--duration-scale",
)
"""Options that a point depends on, so the command that runs it again gives them too."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One pytest run."""

    plan: Plan
    nonce: str
    results_path: str
    """Absolute."""
    root_path: str
    """What origins of points are relative to; absolute."""
    invocation: tuple[str, ...]
    started: str
    expectation: Expectation | None = None

    @property
    def results(self) -> Path:
        return Path(self.results_path)

    @property
    def root(self) -> Path:
        return Path(self.root_path)

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
        return self.results / "points" / point_id

    def deployment_folder(self, suite: str) -> Path:
        """Where what belongs to a deployment rather than to a point lies."""
        return self.results / "deployments" / suite

    def rerun(self, point: Point) -> str:
        """The command that runs this point alone."""
        suites = os.path.relpath(self.suite_folder(point), self.root)
        alone = sum(point.id in other.id for other in self.plan.points) == 1
        # -k takes any part of a name; the brackets around a test's parameter make it the whole.
        name = point.id if alone else f"[{point.id}]"
        return shlex.join(["pytest", suites, "-k", name, *self._kept_options()])

    def _kept_options(self) -> list[str]:
        kept: list[str] = []
        words = iter(self.invocation)
        for word in words:
            if word in _KEPT:
                kept += [word, *([value] if (value := next(words, None)) is not None else [])]
            elif word.partition("=")[0] in _KEPT:
                kept.append(word)
        return kept


HANDOVER_KEY = "inference_bench"
"""Where `workerinput` holds the session: xdist workers get it from nowhere else, YAML and environment included."""


def hand_over(session: Session) -> str:
    """The session as text for `workerinput`."""
    return msgspec.json.encode(session).decode()


def adopt_session(config: pytest.Config) -> Session | None:
    """The controller's session, in an xdist worker; None where the controller found no suites."""
    text = getattr(config, "workerinput", {}).get(HANDOVER_KEY)
    return None if text is None else msgspec.json.decode(text, type=Session)
