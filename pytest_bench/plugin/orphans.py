"""Test functions for points in a folder without a suite: an error, never silence."""

from __future__ import annotations

from typing import NoReturn

import pytest

from pytest_bench.plugin import markers


class Orphans:
    """Stands in for `Items` where no suite was found."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        marks = list(metafunc.definition.iter_markers("points"))
        if markers.read(marks, metafunc.definition.nodeid) is not None:
            refuse(metafunc.definition)


def refuse(function: pytest.Item | pytest.Collector, name: str = "") -> NoReturn:
    """Make collecting `function` an error, on whatever process collects it."""
    where = f"{function.nodeid}::{name}" if name else function.nodeid
    raise pytest.Collector.CollectError(
        f"{where}: is marked points(...), and {function.path.parent} holds no suite: a *.yaml with a top-level "
        "key `suite`; write one, as `pytest-bench init` does, or remove the marker"
    )
