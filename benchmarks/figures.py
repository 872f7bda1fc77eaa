"""The figures of a run and their table."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from pytest_bench.bounds import Bound, parse_bound


@dataclass(slots=True)
class Figure:
    """One figure, measured once per repetition."""

    work: str
    name: str
    unit: str
    bar: Bound | None
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def held(self) -> bool | None:
        """Whether the median meets the target; None if there is no target."""
        return None if self.bar is None else self.bar.holds(self.median)


class Table:
    """Figures in the order in which they were first measured."""

    def __init__(self) -> None:
        self._figures: dict[tuple[str, str], Figure] = {}

    def add(self, work: str, name: str, unit: str, value: float, bar: str | None = None) -> None:
        """One more value of the figure `name` of `work`. `bar`: a comparison and a number, in `unit`."""
        if (work, name) not in self._figures:
            bound = None if bar is None else parse_bound(name, bar, "the unit of its row")
            self._figures[work, name] = Figure(work, name, unit, bound)
        self._figures[work, name].values.append(value)

    @property
    def figures(self) -> list[Figure]:
        """All figures, those of one work together, in the order in which they were first measured."""
        works = list(dict.fromkeys(figure.work for figure in self._figures.values()))
        return sorted(self._figures.values(), key=lambda figure: works.index(figure.work))

    def __str__(self) -> str:
        """The works one after the other, each under its name, in aligned columns."""
        head = ("", "median", "min", "max", "unit", "bar", "held")
        rows = [_cells(figure) for figure in self.figures]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines: list[str] = []
        work = ""
        for figure, row in zip(self.figures, rows, strict=True):
            if figure.work != work:
                work = figure.work
                lines += ["", work, _aligned(head, widths)]
            lines.append(_aligned(row, widths))
        return "\n".join(lines)


def _cells(figure: Figure) -> tuple[str, ...]:
    numbers = (_number(value) for value in (figure.median, min(figure.values), max(figure.values)))
    bar = figure.bar.text if figure.bar else ""
    return (figure.name, *numbers, figure.unit, bar, {None: "", True: "yes", False: "NO"}[figure.held])


def _aligned(cells: tuple[str, ...], widths: list[int]) -> str:
    name, *numbers = (f"{cell:{'<' if i == 0 or i > 3 else '>'}{widths[i]}}" for i, cell in enumerate(cells))
    return "  ".join(["", name, *numbers]).rstrip()


def _number(value: float) -> str:
    """Three significant digits, but whole numbers in full, thousands grouped."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"
