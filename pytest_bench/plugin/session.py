"""The session: its plan, its nonce, its results folder, as every process of it knows them."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import msgspec
import pytest

from pytest_bench.suite.plan import Plan, Point
from pytest_bench.verdict.events import Expectation

_OVERRIDES = (
    "--endpoint",
    "--served-model",
    "--api-key-env",
    "--tokenizer",
    "--load-seed",
    "--duration-scale",
)


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
        return shlex.join(["pytest", suites, "-k", point.id, *self._given_overrides()])

    def _given_overrides(self) -> list[str]:
        kept: list[str] = []
        words = iter(self.invocation)
        for word in words:
            if word in _OVERRIDES:
                kept += [word, *([value] if (value := next(words, None)) is not None else [])]
            elif word.partition("=")[0] in _OVERRIDES:
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
