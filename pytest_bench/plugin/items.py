"""Points as parametrized tests: which function runs each point, in which order, and why a point was not selected."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from typing import cast

import pytest

from pytest_bench.plugin import markers
from pytest_bench.plugin.call import Call
from pytest_bench.plugin.markers import JUDGES, READS
from pytest_bench.plugin.selection import Matcher
from pytest_bench.plugin.session import Session
from pytest_bench.suite.plan import Point
from pytest_bench.verdict.events import Collected, Deselected, Fault, Selected

SHADOWED = "shadowed-fixture"
"""Fault code for a fixture that overrides one of the plugin's."""

_POINT = pytest.StashKey[Point]()
_JUDGES = pytest.StashKey[bool]()


def point_of(item: pytest.Item) -> Point | None:
    """Return the point of an item, or None."""
    return item.stash.get(_POINT, None)


def judges(item: pytest.Item) -> bool:
    """Whether the item decides its point's outcome."""
    return item.stash.get(_JUDGES, False)


def judged_points(items: Sequence[pytest.Item]) -> list[Point]:
    """Return the points that these items judge, one per judging item."""
    return [point for item in items if judges(item) and (point := point_of(item))]


class Items:
    """Creates the items of points, in every process that collects."""

    def __init__(self, config: pytest.Config, call: Call, session: Session) -> None:
        self._config = config
        self._call = call
        self._session = session
        self._order = {point.id: number for number, point in enumerate(session.plan.points)}
        self._worker = getattr(config, "workerinput", {}).get("workerid", "main")
        self._collected: list[pytest.Item] = []
        if sys.flags.optimize:
            self._fault(
                "optimized", f"{self._worker} runs python -O, which disables assert: run it without -O"
            )

    @pytest.hookimpl(wrapper=True)
    def pytest_pycollect_makeitem(
        self, collector: pytest.Collector, name: str, obj: object
    ) -> Generator[None, object, object]:
        """Create no item for a function whose kind of point the folder's suites do not declare."""
        made = yield
        marks = list(getattr(obj, "pytestmark", ()))
        mark = markers.read(marks, f"{collector.nodeid}::{name}") if marks else None
        if mark is None:
            return made
        folder = collector.path.parent
        if folder not in self._session.suite_folders():
            markers.refuse_without_suite(collector, name)
        return made if self._session.points_of(folder, mark.kind) else []

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        marks = list(metafunc.definition.iter_markers("points"))
        mark = markers.read(marks, metafunc.definition.nodeid)
        if mark is None:
            return
        for name in ("point", "deployment"):
            if name not in metafunc.fixturenames:
                raise pytest.Collector.CollectError(
                    f"{metafunc.definition.nodeid}: a function marked points({mark.kind!r}) must use the point and its "
                    "deployment: use the fixture `run_load`, or `measurement` with judge=False"
                )
        points = self._session.points_of(metafunc.definition.path.parent, mark.kind)
        # Plain strings: pytest orders and compares parameters by value.
        metafunc.parametrize(
            ("point", "deployment"),
            [(point.id, point.deployment_name) for point in points],
            ids=[point.id for point in points],
            indirect=True,
            scope="session",
        )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, None, None]:
        """Sort points into the plan's order, and record the items before other hooks deselect any."""
        self._attach(items)
        self._collected = list(items)
        yield
        self._sort(items)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Record what was collected and selected, and whether the user's selection explains the difference."""
        matcher = Matcher(self._config, self._session.selection)
        points = self._session.plan.points
        collected = [point.id for point in judged_points(self._collected)]
        for name in collected:
            self._call.append(Collected(point=name, worker=self._worker))
        for point in judged_points(session.items):
            self._call.append(Selected(point=point.id))
        for point in judged_points(matcher.left_out(self._collected)):
            self._call.append(Deselected(point=point.id))
        for point in points:
            if point.id not in collected and matcher.leaves_out_uncollected(
                point, self._session.suite_folder(point)
            ):
                self._call.append(Deselected(point=point.id))
        for sentence in matcher.misspelt(points, self._collected):
            self._fault("no-such-name", sentence)

    def _attach(self, items: Sequence[pytest.Item]) -> None:
        for item in items:
            mark = markers.read(list(item.iter_markers("points")), item.nodeid)
            callspec = getattr(item, "callspec", None)
            name = callspec.params.get("point") if callspec is not None else None
            if mark is None or not isinstance(name, str) or name not in self._order:
                continue
            point = self._session.plan.point(name)
            item.stash[_POINT] = point
            item.stash[_JUDGES] = mark.judge
            item.user_properties.append((JUDGES if mark.judge else READS, point.id))
            self._check_fixtures(item, point)

    def _check_fixtures(self, item: pytest.Item, point: Point) -> None:
        # pytest has no public API that resolves a fixture name before set-up.
        definitions = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
        for name in sorted(markers.PUBLIC_FIXTURES & definitions.keys()):
            function = definitions[name][-1].func
            if function.__module__.partition(".")[0] != "pytest_bench":
                code = function.__code__
                self._fault(
                    SHADOWED,
                    f"{code.co_filename}:{code.co_firstlineno}: the fixture {name!r} overrides the plugin's own "
                    f"for {item.nodeid}: rename it",
                    point.id,
                )

    def _fault(self, code: str, sentence: str, point: str | None = None) -> None:
        self._call.append(Fault(code=code, sentence=sentence, point=point))

    def _sort(self, items: list[pytest.Item]) -> None:
        """Sort points into the plan's order, judging items before reading items; other tests keep their positions."""
        places = [place for place, item in enumerate(items) if point_of(item)]
        ours = sorted(
            (items[place] for place in places),
            key=lambda item: (self._order[cast("Point", point_of(item)).id], not judges(item)),
        )
        for place, item in zip(places, ours, strict=True):
            items[place] = item
