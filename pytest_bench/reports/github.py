"""What GitHub Actions shows of a session: a summary in Markdown, and annotations at the declarations of red points.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from pytest_bench.reports.exports import markdown_text
from pytest_bench.reports.session_text import conclusion, notes, problems
from pytest_bench.reports.tables import Row
from pytest_bench.verdict.outcome import Outcome
from pytest_bench.verdict.verdict import Verdict
from pytest_bench.wording import printable

LIMIT_BYTES = 1 << 20
"""GitHub refuses a larger summary of a step as a whole."""

MOST_ANNOTATIONS = 10
"""GitHub shows no more errors of one step."""

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|!~&])")


def step_summary(rows: Sequence[Row], verdict: Verdict, folder: str, *, limit: int = LIMIT_BYTES) -> str:
    """The verdict, its reasons, the tables and the notes as Markdown of fewer than `limit` bytes.

    Of a longer one the last lines are left out, and it says how many. `folder` is where the evidence is.
    """
    lines = [
        f"## {verdict.status}: {_plain(conclusion(verdict))}",
        "",
        *(f"- {_plain(line)}" for line in problems(verdict)),
        "",
        *(markdown_text(rows).splitlines() if rows else ()),
        "",
        *(f"- {_plain(line)}" for line in notes(rows)),
        "",
        f"Evidence: {_plain(folder)}",
    ]
    whole = "\n".join(lines) + "\n"
    if len(whole.encode()) < limit:
        return whole
    end = "\n{} of {} lines were cut, because GitHub shows at most {} bytes. Evidence: {}\n"
    room = limit - len(end.format(len(lines), len(lines), limit, _plain(folder)).encode()) - 1
    kept: list[str] = []
    for line in lines:
        room -= len(line.encode()) + 1
        if room < 0:
            break
        kept.append(line)
    return "\n".join((*kept, end.format(len(lines) - len(kept), len(lines), limit, _plain(folder))))


def error_annotations(verdict: Verdict, root: str, workspace: str) -> Iterator[str]:
    """A workflow command for each fault and each red point, the worst first, at the line that declares the point.

    Origins are relative to `root`; GitHub wants paths relative to `workspace`.
    """
    red = sorted(
        (point for point in verdict.points if point.outcome is not Outcome.PASS),
        key=lambda point: -point.outcome.severity,
    )
    commands = [_command({"title": "session"}, fault.sentence) for fault in verdict.faults]
    for point in red:
        file, line, column = [*point.origin.rsplit(":", 2), "", ""][:3]
        place = {}
        if file:
            path = os.path.join(root, file)  # noqa: PTH118 # text in, text out
            place = {"file": os.path.relpath(path, workspace), "line": line, "col": column}
        why = "; ".join(reason.sentence for reason in point.reasons) or "no reason was given"
        commands.append(_command({**place, "title": f"{point.id}: {point.outcome}"}, why))
    if len(commands) > MOST_ANNOTATIONS:
        more = len(commands) - MOST_ANNOTATIONS + 1
        commands[MOST_ANNOTATIONS - 1 :] = [_command({"title": "session"}, f"{more} more are red")]
    yield from commands


def _command(properties: dict[str, str], message: str) -> str:
    shown = ",".join(f"{name}={_property(printable(value))}" for name, value in properties.items())
    return f"::error {shown}::{_data(printable(message, keep=chr(10)))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _plain(text: str) -> str:
    """`text` with every character escaped that Markdown or HTML would interpret."""
    return _MARKUP.sub(r"\\\1", " ".join(printable(text).split()))
