"""Points as parametrized tests: which function runs which point, in which order, and who left one out."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from typing import cast

import msgspec
import pytest

from pytest_bench.plugin import markers, orphans, shadows
from pytest_bench.plugin.markers import JUDGES, READS
from pytest_bench.plugin.selection import UserSelection, misspelt
from pytest_bench.plugin.session import Session
from pytest_bench.suite.plan import Point
from pytest_bench.verdict.events import Collected, Deselected, Event, Fault, Selected

EVENTS_KEY = "inference_bench_events"
"""Where an xdist worker's output holds its events."""

_POINT = pytest.StashKey[Point]()
_JUDGES = pytest.StashKey[bool]()


def point_of(item: pytest.Item) -> Point | None:
    """The point that an item belongs to, if any."""
    return item.stash.get(_POINT, None)


def judges(item: pytest.Item) -> bool:
    """Whether the item decides its point's outcome."""
    return item.stash.get(_JUDGES, False)


class Items:
    """Makes items of points, in every process that collects."""

    def __init__(self, config: pytest.Config, session: Session) -> None:
        self.events: list[Event] = []
        """What this process saw while it collected."""
        self._config = config
        self._session = session
        self._order = {point.id: number for number, point in enumerate(session.plan.points)}
        self._worker = getattr(config, "workerinput", {}).get("workerid", "main")
        self._selection = UserSelection(config, session.root)
        if sys.flags.optimize:
            self._fault(
                "optimized", f"{self._worker} runs python -O, where failing asserts pass: run it without"
            )

    @pytest.hookimpl(wrapper=True)
    def pytest_pycollect_makeitem(
        self, collector: pytest.Collector, name: str, obj: object
    ) -> Generator[None, object, object]:
        """A function for a kind of point that the folder's suites do not declare makes no item."""
        made = yield
        marks = list(getattr(obj, "pytestmark", ()))
        mark = markers.read(marks, f"{collector.nodeid}::{name}") if marks else None
        if mark is None:
            return made
        folder = collector.path.parent
        if folder not in self._session.suite_folders():
            orphans.refuse(collector, name)
        return made if self._session.points_of(folder, mark.kind) else []

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        marks = list(metafunc.definition.iter_markers("points"))
        mark = markers.read(marks, metafunc.definition.nodeid)
        if mark is None:
            return
        for name in ("point", "deployment"):
            if name not in metafunc.fixturenames:
                raise pytest.Collector.CollectError(
                    f"{metafunc.definition.nodeid}: a function marked points({mark.kind!r}) needs the point and its "
                    "deployment: ask for `run_load`, or for `measurement` with judge=False"
                )
        points = self._session.points_of(metafunc.definition.path.parent, mark.kind)
        # Plain strings: what pytest orders and compares parameters by.
        metafunc.parametrize(
            ("point", "deployment"),
            [(point.id, point.suite) for point in points],
            ids=[point.id for point in points],
            indirect=True,
            scope="session",
        )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, None, None]:
        """Put points into the plan's order, and note what was collected and what is left in the end."""
        self._attach(items)
        everything = list(items)
        collected = [point.id for item in items if judges(item) and (point := point_of(item))]
        self.events += [Collected(point=name, worker=self._worker) for name in collected]
        try:
            yield
        finally:
            for sentence in misspelt(self._config, self._session.plan.points, everything):
                self._fault("no-such-name", sentence)
            self._sort(items)
            selected = {point.id for item in items if judges(item) and (point := point_of(item))}
            self.events += [Selected(point=name) for name in sorted(selected)]
            self.events += [
                Deselected(point=point.id)
                for point in self._session.plan.points
                if point.id not in collected
                and self._selection.leaves_out_uncollected(point, self._session.suite_folder(point))
            ]

    def account(self, output: dict[str, object]) -> None:
        """Put what an xdist worker saw into its output."""
        output[EVENTS_KEY] = msgspec.to_builtins(self.events)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Believe in the user's selection where the command line bears it out, whoever announces it."""
        self.events += [
            Deselected(point=point.id)
            for item in items
            if judges(item) and (point := point_of(item)) and self._selection.leaves_out_item(item)
        ]

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
        # pytest offers no public way to ask which fixture a name means before it is set up.
        definitions = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
        for name in sorted(shadows.PUBLIC_FIXTURES & definitions.keys()):
            module = definitions[name][-1].func.__module__
            if module.partition(".")[0] != "pytest_bench":
                sentence = shadows.sentence(f"{item.nodeid}: {module}", name)
                if self._worker == "main":
                    raise pytest.UsageError(sentence)
                self._fault("shadowed-fixture", sentence, point.id)

    def _fault(self, code: str, sentence: str, point: str | None = None) -> None:
        self.events.append(Fault(code=code, sentence=sentence, point=point))

    def _sort(self, items: list[pytest.Item]) -> None:
        """Points in the order of the plan, judged before they are read; other tests keep their places."""
        places = [place for place, item in enumerate(items) if point_of(item)]
        ours = sorted(
            (items[place] for place in places),
            key=lambda item: (self._order[cast("Point", point_of(item)).id], not judges(item)),
        )
        for place, item in zip(places, ours, strict=True):
            items[place] = item
