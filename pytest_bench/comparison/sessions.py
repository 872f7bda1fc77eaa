"""What the page reads of a verified session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pytest_bench.cluster.preflight import NODES_VERSION, NodeFacts, NodesFile
from pytest_bench.errors import EvidenceError
from pytest_bench.files import read_json
from pytest_bench.reports.tables import Row
from pytest_bench.results.evidence import NAME as EVIDENCE
from pytest_bench.results.layout import ENVIRONMENT, JUNIT, NODE_FACTS, PLAN, VERDICT, point_path
from pytest_bench.results.reading import read_versioned
from pytest_bench.results.summary import Summary, read_summary
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.verdict.verdict import PointVerdict, Verdict


class Session(NamedTuple):
    """A session whose folder was verified."""

    name: str
    """Tells the sessions of a page apart."""
    folder: Path
    verdict: Verdict
    plan: Plan
    environment: dict[str, Any]
    """Contents of `environment.json`, and what the nodes of a session or of a point reported."""
    rows: tuple[Row, ...]

    def measured(self) -> Iterator[tuple[Point, PointVerdict, Summary]]:
        """The points that have a summary, in the order of the plan."""
        points = {point.id: point for point in self.plan.points}
        for verdict, summary in self.rows:
            if summary is not None:
                yield points[verdict.id], verdict, summary

    def point_folder(self, point: str) -> Path:
        return self.folder / point_path(point)


def read_session(name: str, folder: Path, verdict: Verdict, plan: Plan) -> Session:
    """Read a session that was verified as `verdict` and `plan`. Raises `EvidenceError` for damaged files."""
    environment = read_json(folder / ENVIRONMENT)
    if not isinstance(environment, dict):
        raise EvidenceError(f"{folder / ENVIRONMENT}: expected a mapping")
    return Session(
        name=name,
        folder=folder,
        verdict=verdict,
        plan=plan,
        environment=environment | dict(_nodes(folder, verdict)),
        rows=tuple(Row(point, _summary(folder, point)) for point in verdict.points),
    )


def _nodes(folder: Path, verdict: Verdict) -> Iterator[tuple[str, Any]]:
    """What nodes reported, under `nodes`, or under `nodes of` the point that used them."""
    places = {"nodes": folder} | {
        f"nodes of {each.id}": folder / point_path(each.id) for each in verdict.points
    }
    for name, place in places.items():
        if (place / NODE_FACTS).exists():
            found = read_versioned(place / NODE_FACTS, NodesFile, NODES_VERSION).nodes
            yield name, {node: _lasting(facts) for node, facts in found.items()}


def _lasting(facts: NodeFacts) -> dict[str, Any]:
    """The facts that are the same in every session on a node: free space is not."""
    known: dict[str, Any] = msgspec.to_builtins(facts)
    return {name: value for name, value in known.items() if name != "free_bytes"}


def _summary(folder: Path, point: PointVerdict) -> Summary | None:
    """None if the point has no evidence here: it did not run, failed before it was measured, or was reused."""
    own = folder / point_path(point.id)
    return read_summary(own) if point.evidence is not None and (own / "summary.json").exists() else None


def names(folders: Sequence[Path]) -> list[str]:
    """A short name for each folder: its last part, or the whole path where that is not unique."""
    last = [folder.resolve().name for folder in folders]
    return [
        name if last.count(name) == 1 else str(folder) for name, folder in zip(last, folders, strict=True)
    ]


def evidence_files(session: Session, point: str) -> Iterator[Path]:
    """The files of a point's evidence."""
    folder = session.point_folder(point)
    if (folder / EVIDENCE).exists():
        yield folder / EVIDENCE
        for file in read_json(folder / EVIDENCE)["files"]:
            yield folder / str(file["path"])


def session_files(session: Session) -> Iterator[Path]:
    """The files of the session as a whole."""
    for name in (VERDICT, JUNIT, PLAN, ENVIRONMENT, NODE_FACTS):
        if (session.folder / name).exists():
            yield session.folder / name
