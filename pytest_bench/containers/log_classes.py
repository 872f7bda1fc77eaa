"""What the lines of a server's log are: accesses, levels, tracebacks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

CLASSES = ("access", "debug", "info", "warning", "error", "benign", "other")
"""`error` includes every line of a traceback; `benign`, every line of a traceback that the suite declares harmless."""

_ACCESS = re.compile(r'"(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) \S+ HTTP/[0-9.]+" [0-9]{3}\b')
_LEVEL = re.compile(
    r"(?<![A-Za-z0-9_])(?:(TRACE|DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL|FATAL)"
    r"|(?:\[|level=|\"level\": ?\")(trace|debug|info|warn|warning|error|critical|fatal))(?![A-Za-z0-9_])"
)
"""In lower case the word is a level only if something marks it, as in `[info]`."""
_GLOG = re.compile(r"^([IWEF])[0-9]{4} ")
_LEVELS = {
    **dict.fromkeys(("TRACE", "DEBUG"), "debug"),
    **dict.fromkeys(("INFO", "I"), "info"),
    **dict.fromkeys(("WARN", "WARNING", "W"), "warning"),
    **dict.fromkeys(("ERROR", "CRITICAL", "FATAL", "E", "F"), "error"),
}
_LEVEL_WITHIN = 80
"""Characters at the beginning of a line that contain its level; a later word is part of the message."""
_PREFIX = re.compile(r"^(?:\([^()]{1,60}\) ?)?")
"""vLLM names the process before every line."""
_TRACEBACK = "Traceback (most recent call last):"
_LONGEST_BLOCK = 2000


class Count(msgspec.Struct, kw_only=True):
    lines: int = 0
    size_bytes: int = 0


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """A log in numbers."""

    lines: int
    size_bytes: int
    """In UTF-8, with the ends of lines."""
    classes: dict[str, Count]
    """Those of `CLASSES` that occur."""
    failures: int = 0
    """Lines that match a pattern of failures, outside of benign tracebacks."""
    first_failure: str = ""


def count(
    lines: Iterable[str], benign: Sequence[re.Pattern[str]] = (), failures: Sequence[re.Pattern[str]] = ()
) -> Counts:
    """Count lines and bytes by class.

    `benign`: patterns of which one occurs in a harmless traceback; `failures`: patterns of lines that must not occur.
    """
    found: dict[str, Count] = {}
    failed: list[str] = []
    for block in blocks(lines):
        name = class_of(block[0]) if len(block) == 1 else "error"
        if _begins_traceback(block[0]):
            text = "\n".join(block)
            name = "benign" if any(pattern.search(text) for pattern in benign) else "error"
        if name != "benign":
            failed += (line for line in block if any(pattern.search(line) for pattern in failures))
        counted = found.setdefault(name, Count())
        counted.lines += len(block)
        counted.size_bytes += sum(len(line.encode()) + 1 for line in block)
    return Counts(
        lines=sum(each.lines for each in found.values()),
        size_bytes=sum(each.size_bytes for each in found.values()),
        classes={name: found[name] for name in CLASSES if name in found},
        failures=len(failed),
        first_failure=failed[0] if failed else "",
    )


def lines_of(path: Path, start: int = 0, end: int | None = None) -> Iterator[str]:
    """The lines of a log from byte `start` on, to byte `end` if it is given. Raises `OSError`."""
    place = start
    with path.open("rb") as stream:
        stream.seek(start)
        for line in stream:
            place += len(line)
            if end is not None and place > end:
                return
            yield line.decode("utf-8", "replace").rstrip("\n")


def class_of(line: str) -> str:
    """The class of a line that is not part of a traceback."""
    if _ACCESS.search(line):
        return "access"
    if letter := _GLOG.match(line):
        return _LEVELS[letter[1]]
    level = _LEVEL.search(line[:_LEVEL_WITHIN])
    return "other" if level is None else _LEVELS[(level[1] or level[2]).upper()]


def blocks(lines: Iterable[str]) -> Iterator[list[str]]:
    """The lines of a log one by one, but those of a traceback together: its first line, the indented ones, and the
    exception."""
    block: list[str] = []
    for line in lines:
        begins = _begins_traceback(line)
        if block and not begins:
            block.append(line)
            if _bare(line).startswith((" ", "\t")) and len(block) < _LONGEST_BLOCK:
                continue
        elif block:
            yield block
            block = [line]
            continue
        else:
            block = [line]
            if begins:
                continue
        yield block
        block = []
    if block:
        yield block


def _begins_traceback(line: str) -> bool:
    return line.rstrip().endswith(_TRACEBACK)


def _bare(line: str) -> str:
    return _PREFIX.sub("", line, count=1)
