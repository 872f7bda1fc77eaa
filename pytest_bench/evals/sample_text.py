"""Samples as text for a terminal: every field under its name, wrapped to the width, without control characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len, chop_cells

from pytest_bench.evals.samples import Flipped, Sample
from pytest_bench.scoring import Score
from pytest_bench.wording import printable

NARROWEST = 20
"""Columns; narrower terminals get lines of this width."""
_HEAD, _TAIL = 4, 8
"""Lines of a long text that are shown from its beginning and from its end, where the answer is."""


def sample_lines(sample: Sample, width: int, *, whole: bool) -> Iterator[str]:
    """One sample. `whole`: long texts are not shortened."""
    yield from _rule(_title(sample), width)
    yield from _field("prompt", _prompt(sample), width, whole=whole)
    yield from _answer(sample, width, whole=whole)
    yield from _field("target", sample.target, width, whole=whole)
    for name, score in sample.scores.items():
        yield from _score(name, score, width, whole=whole)
    yield from _field("request", _request(sample), width, whole=True)


def flip_lines(flipped: Flipped, width: int, *, whole: bool) -> Iterator[str]:
    """An item that flipped: what was asked once, and both answers."""
    first = flipped.before[0]
    yield from _rule(f"{first.item}: {flipped.metric} flipped", width)
    yield from _field("prompt", _prompt(first), width, whole=whole)
    yield from _field("target", first.target, width, whole=whole)
    for sample in (*flipped.before, *flipped.after):
        yield from _rule(_title(sample), width, "╌")
        yield from _answer(sample, width, whole=whole)
        yield from _score(flipped.metric, sample.scores[flipped.metric], width, whole=whole)
        yield from _field("request", _request(sample), width, whole=True)


def _title(sample: Sample) -> str:
    said = ("wrong" * sample.is_wrong, "unscored" * sample.is_unscored, "truncated" * sample.is_truncated)
    words = ", ".join(filter(None, said)) or "right"
    repeat = f", repeat {sample.repeat}" if sample.repeat else ""
    concurrency = "" if sample.concurrency is None else f", concurrency {sample.concurrency}"
    return f"{sample.item}: {words} ({sample.source}{concurrency}{repeat})"


def _prompt(sample: Sample) -> str:
    if isinstance(sample.prompt, str):
        return sample.prompt
    return "\n".join(f"[{message['role']}] {message['content']}" for message in sample.prompt)


def _answer(sample: Sample, width: int, *, whole: bool) -> Iterator[str]:
    if sample.reasoning:
        yield from _field("reasoning", sample.reasoning, width, whole=whole)
    for output in sample.outputs:
        yield from _field("output", "(null)" if output is None else output, width, whole=whole)


def _score(name: str, score: Score, width: int, *, whole: bool) -> Iterator[str]:
    value = "unscored" if score.value is None else f"{score.value:g}"
    found = "nothing extracted" if score.extracted is None else f"extracted {score.extracted!r}"
    others = [condition for condition in score.conditions if condition != "extraction_failed"]
    source = "" if score.source == "content" else f" from {score.source}"
    yield from _field("score", ", ".join([f"{name} = {value}: {found}{source}", *others]), width, whole=True)
    if score.error:
        yield from _field("scorer", score.error, width, whole=whole)


def _request(sample: Sample) -> str:
    parts: list[str] = [] if sample.status == "completed" else [sample.status]
    if sample.finish_reason is not None:
        parts.append(f"finish reason {sample.finish_reason}")
    if sample.limit is not None:
        parts.append(f"cut off at the {sample.limit} limit")
    if sample.attempts is not None and sample.attempts > 1:
        parts.append(f"{sample.attempts} attempts")
    if sample.error is not None:
        parts.append(f"failed: {sample.error}")
    return "; ".join(parts)


def _rule(title: str, width: int, stroke: str = "─") -> Iterator[str]:
    width = max(width, NARROWEST)
    for line in _wrapped(title, width):
        yield f"{line} {stroke * (width - cell_len(line) - 1)}".rstrip()


def _field(name: str, text: str, width: int, *, whole: bool) -> Iterator[str]:
    """The field's lines, indented below its name; nothing for an empty `request`."""
    if not text and name == "request":
        return
    indent = " " * 10
    width = max(width, NARROWEST) - len(indent)
    lines = list(_wrapped(text or "(empty)", width))
    if not whole and len(lines) > _HEAD + _TAIL + 1:
        left_out = len(lines) - _HEAD - _TAIL
        note = _wrap_line(f"… {left_out} lines; --full shows them …", width)
        lines = [*lines[:_HEAD], *note, *lines[-_TAIL:]]
    for number, line in enumerate(lines):
        yield f"{name if number == 0 else '':10}{line}".rstrip()


def _wrapped(text: str, width: int) -> Iterator[str]:
    """Lines of at most `width` columns, broken at spaces where there is one."""
    for line in text.splitlines() or [""]:
        yield from _wrap_line(printable(line.expandtabs(4)), width)


def _wrap_line(line: str, width: int) -> Sequence[str]:
    if cell_len(line) <= width:
        return [line]
    lines, current = [], ""
    for word in line.split(" "):
        longer = f"{current} {word}" if current else word
        if cell_len(longer) <= width:
            current = longer
            continue
        if current:
            lines.append(current)
        *full, current = chop_cells(word, width) or [""]
        lines += full
    return [*lines, current]
