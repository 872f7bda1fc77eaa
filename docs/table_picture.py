"""Draw the table of a results folder as an SVG: `python docs/table_picture.py results/latest docs/table.svg`."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from pytest_bench.reports.session_text import conclusion
from pytest_bench.reports.tables import Row, tables
from pytest_bench.results.claim import read_verdict
from pytest_bench.results.layout import VERDICT, point_path
from pytest_bench.results.summary import read_summary

FORMAT = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px;
}}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""
"""Fonts of the reader's machine: nothing is fetched."""


def main() -> None:
    """Draw what a terminal shows at the end of a session."""
    results, picture = map(Path, sys.argv[1:])
    verdict = read_verdict(results / VERDICT)
    rows = [Row(point, read_summary(results / point_path(point.id))) for point in verdict.points]
    shown = list(tables(rows))
    width = max(Console(width=1000).measure(table).maximum for table in shown)
    console = Console(width=max(width, 60), record=True, file=io.StringIO(), force_terminal=True)
    for table in shown:
        console.print(table)
        console.print()
    colour = "green" if verdict.status == "pass" else "red"
    console.print(
        Text("verdict: ").append(verdict.status, f"bold {colour}").append(f" - {conclusion(verdict)}")
    )
    svg = console.export_svg(title="pytest", theme=DIMMED_MONOKAI, code_format=FORMAT, unique_id="table")
    picture.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
