"""The fenced blocks of README.md and of the pages below docs/."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    """Path below the root of the repository."""
    line: int
    language: str
    text: str
    """Without the indentation of the fence."""
    before: str
    """The last line above the block that is not empty."""

    @property
    def first_line(self) -> str:
        return self.text.partition("\n")[0]


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page, in order."""
    text = PAGES[page].read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        above = text[: found.start()].rstrip().rpartition("\n")[2]
        line = text.count("\n", 0, found.start()) + 1
        yield Block(page, line, found[2], textwrap.dedent(found[3]), above)


def commands(block: Block) -> Iterator[str]:
    """The commands of a block: lines after `$ ` with their continuations. The other lines are output."""
    if block.language in {"console", "bash", "sh"}:
        yield from re.findall(r"^\$ ((?:.*\\\n)*.*)$", block.text, re.MULTILINE)
