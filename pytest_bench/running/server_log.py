"""What servers logged during a point, and whether that is within the suite's budget.

`server_log.json`, or `server_log.<role>.json` for each of several containers. A resumed eval has one part for each
of its sessions. The file is written when the point begins, with a part that has no end, so that the part of a session
that did not finish is known; the next session counts it in the log that the earlier one left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pytest_bench.containers.log_classes import Count, count, lines_of
from pytest_bench.errors import EvidenceError
from pytest_bench.files import write_json
from pytest_bench.results.layout import SESSIONS
from pytest_bench.results.reading import read_versioned
from pytest_bench.running.deployment import Deployment
from pytest_bench.suite.container_plan import ContainerPlan, LogBudget
from pytest_bench.suite.plan import DeploymentPlan
from pytest_bench.verdict.outcome import Judgement, Outcome, Reason, worst
from pytest_bench.wording import printable

if TYPE_CHECKING:
    from pytest_bench.containers.group import Member

VERSION = 2
_LONGEST_LINE = 300


def file_name(role: str) -> str:
    """Name of the file of a container with this role."""
    return f"server_log.{role}.json" if role else "server_log.json"


class LogPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one session logged during the point."""

    nonce: str
    """Nonce of that session."""
    start_byte: int
    """Where the part begins in the session's `container.log`."""
    end_byte: int | None = None
    """None: the point has not ended."""
    cut_off: bool = False
    """Whether the session did not finish the point. The part then ends where its log ends, and requests that were in
    flight are counted as sent."""
    requests: int = 0
    """Requests of that session, warm-ups included; 0 if a command sent them, because they are not counted."""
    lines: int = 0
    size_bytes: int = 0
    classes: dict[str, Count] = {}
    failures: int = 0
    """Lines that match one of the suite's `failures`."""
    first_failure: str = ""
    ended: str | None = None
    """How the container ended, if it has; only one that is not critical may."""


class ServerLog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of the file: lines and bytes by class. The log itself is in the deployment's folder."""

    version: int = VERSION
    nonce: str
    """Nonce of the session that judged the point."""
    parts: tuple[LogPart, ...]
    """One for each session that worked on the point, in order."""
    reduction: float | None = None
    """Share of the baseline's lines that is gone, over all parts; None without a baseline."""

    @property
    def requests(self) -> int:
        return sum(part.requests for part in self.parts)

    @property
    def lines(self) -> int:
        return sum(part.lines for part in self.parts)

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)

    @property
    def failures(self) -> int:
        return sum(part.failures for part in self.parts)

    @property
    def first_failure(self) -> str:
        return next((part.first_failure for part in self.parts if part.failures), "")

    def lines_of(self, name: str) -> int:
        """Lines of a class."""
        return sum(part.classes[name].lines for part in self.parts if name in part.classes)


RequestsOf = Callable[[str], int]
"""The requests that a session, by its nonce, had sent when it did not finish: at most so many."""


class Recorder:
    """The file of each container of a deployment, for one point. Writes them when the point begins."""

    def __init__(
        self,
        deployment: Deployment,
        folder: Path,
        results: Path,
        nonce: str,
        requests_of: RequestsOf | None,
    ) -> None:
        """`requests_of` is needed if earlier sessions worked on the point.

        Raises `EvidenceError` if what an earlier session logged cannot be counted.
        """
        self._containers: Mapping[str, Member] = deployment.containers or {}
        self._folder, self._results, self._nonce = folder, results, nonce
        self._starts: dict[str, int] = {}
        self._earlier: dict[str, tuple[LogPart, ...]] = {}
        for role, container in self._containers.items():
            self._earlier[role] = tuple(self._closed(role, part, requests_of) for part in self._found(role))
            self._starts[role] = container.settle_log()
            self._write(role, LogPart(nonce=nonce, start_byte=self._starts[role]))

    def finish(self, requests: int) -> Iterator[str]:
        """Write the files at the end of the point, for which this session sent so many `requests`.

        Yields a sentence for each container that has ended although the deployment goes on.
        """
        for role, container in self._containers.items():
            ended = container.how_it_ended()
            if ended is not None:
                yield f"the container {container.name} {ended}"
            part = LogPart(
                nonce=self._nonce,
                start_byte=self._starts[role],
                end_byte=container.settle_log(),
                requests=requests,
                ended=ended,
            )
            self._write(role, _counted(part, container.log.path, container.plan))

    def _found(self, role: str) -> tuple[LogPart, ...]:
        """The parts of earlier sessions, as they left them."""
        path = self._folder / file_name(role)
        return read_versioned(path, ServerLog, VERSION).parts if path.exists() else ()

    def _closed(self, role: str, part: LogPart, requests_of: RequestsOf | None) -> LogPart:
        if part.end_byte is not None:
            return part
        container = self._containers[role]
        path = self._results / SESSIONS / part.nonce / container.log.path.relative_to(self._results)
        if requests_of is None or not path.is_file():
            raise EvidenceError(
                f"{path}: is missing: what the server logged in session {part.nonce}, which did not finish, cannot be "
                "judged; start the point anew in another results folder"
            )
        closed = msgspec.structs.replace(
            part, cut_off=True, end_byte=path.stat().st_size, requests=requests_of(part.nonce)
        )
        return _counted(closed, path, container.plan)

    def _write(self, role: str, part: LogPart) -> None:
        parts = (*self._earlier[role], part)
        log = ServerLog(nonce=self._nonce, parts=parts)
        baseline = (self._containers[role].plan.log.baseline_lines_per_request or 0.0) * log.requests
        write_json(
            self._folder / file_name(role),
            msgspec.structs.replace(log, reduction=1 - log.lines / baseline if baseline else None),
        )


def _counted(part: LogPart, path: Path, plan: ContainerPlan) -> LogPart:
    """`part` with the numbers of the log at `path`."""
    benign, failures = (
        [re.compile(text) for text in texts] for texts in (plan.log.benign, plan.log.failures)
    )
    counts = count(lines_of(path, part.start_byte, part.end_byte), benign, failures)
    return msgspec.structs.replace(
        part,
        lines=counts.lines,
        size_bytes=counts.size_bytes,
        classes=counts.classes,
        failures=counts.failures,
        first_failure=printable(counts.first_failure[:_LONGEST_LINE]),
    )


def with_log_budget(judgement: Judgement, deployment: DeploymentPlan, folder: Path) -> Judgement:
    """`judgement` with a reason for each limit that a log exceeded, and for logged failures: such a point fails.

    `folder` is the point's. Raises `EvidenceError` if the suite limits a log whose file is missing or damaged.
    """
    reasons = [reason for plan in deployment.containers for reason in _reasons(plan, folder)]
    return msgspec.structs.replace(
        judgement,
        outcome=worst([judgement.outcome, *(Outcome.FAIL for _ in reasons)]),
        reasons=(*judgement.reasons, *reasons),
    )


def _reasons(plan: ContainerPlan, folder: Path) -> Iterator[Reason]:
    if plan.log.budget == LogBudget() and not plan.log.failures:
        return
    path = folder / file_name(plan.role)
    log = read_versioned(path, ServerLog, VERSION)
    if any(part.end_byte is None for part in log.parts):
        raise EvidenceError(f"{path}: has a part without an end: what the server logged was not counted")
    if log.failures:
        yield Reason(
            "log-failure",
            f"the server logged {log.failures} lines that match {plan.place}.log.failures; the first is "
            f"{log.first_failure!r}. Next: read the server's container.log",
        )
    yield from excesses(plan, log)


def excesses(plan: ContainerPlan, log: ServerLog) -> Iterator[Reason]:
    """A reason for each limit of the plan that `log` exceeds."""
    budget = plan.log.budget
    found = {
        "lines": (budget.lines_per_request, log.lines),
        "bytes": (budget.bytes_per_request, log.size_bytes),
        **{f"lines of class {name!r}": (limit, log.lines_of(name)) for name, limit in budget.classes.items()},
    }
    for what, (limit, number) in found.items():
        if limit is not None and number > limit * log.requests:
            yield Reason(
                "log-budget",
                f"the server logged {number} {what} for {log.requests} requests; the suite allows {limit:g} for each "
                f"({plan.place}.log.budget). Next: read the server's container.log",
            )
