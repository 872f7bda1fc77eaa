"""What servers logged during a point, and whether that is within the suite's budget.

`server_log.json`, or `server_log.<role>.json` for each of several containers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from pytest_bench.containers.log_classes import Count, count
from pytest_bench.files import write_json
from pytest_bench.results.reading import read_versioned
from pytest_bench.running.deployment import Deployment
from pytest_bench.suite.container_plan import ContainerPlan, LogBudget
from pytest_bench.suite.plan import DeploymentPlan
from pytest_bench.verdict.outcome import Judgement, Outcome, Reason, worst
from pytest_bench.wording import printable

VERSION = 1
_LONGEST_LINE = 300


def file_name(role: str) -> str:
    """Name of the file of a container with this role."""
    return f"server_log.{role}.json" if role else "server_log.json"


class ServerLog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of the file: lines and bytes by class. The log itself is in the deployment's folder."""

    version: int = VERSION
    nonce: str
    """Nonce of the session."""
    start_byte: int
    """Where the point's part of `container.log` begins."""
    end_byte: int
    requests: int
    """Requests of this session, warm-ups included; 0 if a command sent them, because they are not counted."""
    lines: int
    size_bytes: int
    classes: dict[str, Count]
    failures: int = 0
    """Lines that match one of the suite's `failures`."""
    first_failure: str = ""
    reduction: float | None = None
    """Share of the baseline's lines that is gone; None without a baseline."""
    ended: str | None = None
    """How the container ended, if it has; only one that is not critical may."""


def begin(deployment: Deployment) -> Mapping[str, int]:
    """Where the log of each container of the deployment ends now, by role."""
    return {role: container.settle_log() for role, container in (deployment.containers or {}).items()}


def record(
    deployment: Deployment, folder: Path, starts: Mapping[str, int], requests: int, *, nonce: str
) -> Iterator[str]:
    """Write the files of a point, whose parts of the logs begin at the bytes `starts`.

    Yields a sentence for each container that has ended although the deployment goes on.
    """
    for role, container in (deployment.containers or {}).items():
        ended = container.how_it_ended()
        if ended is not None:
            yield f"the container {container.name} {ended}"
        end, plan = container.settle_log(), container.plan.log
        benign, failures = ([re.compile(text) for text in texts] for texts in (plan.benign, plan.failures))
        counts = count(container.log.lines(starts[role], end), benign, failures)
        baseline = (plan.baseline_lines_per_request or 0.0) * requests
        write_json(
            folder / file_name(role),
            ServerLog(
                nonce=nonce,
                start_byte=starts[role],
                end_byte=end,
                requests=requests,
                lines=counts.lines,
                size_bytes=counts.size_bytes,
                classes=counts.classes,
                failures=counts.failures,
                first_failure=printable(counts.first_failure[:_LONGEST_LINE]),
                reduction=1 - counts.lines / baseline if baseline else None,
                ended=ended,
            ),
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
    log = read_versioned(folder / file_name(plan.role), ServerLog, VERSION)
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
        **{
            f"lines of class {name!r}": (limit, log.classes[name].lines if name in log.classes else 0)
            for name, limit in budget.classes.items()
        },
    }
    for what, (limit, number) in found.items():
        if limit is not None and number > limit * log.requests:
            yield Reason(
                "log-budget",
                f"the server logged {number} {what} for {log.requests} requests; the suite allows {limit:g} for each "
                f"({plan.place}.log.budget). Next: read the server's container.log",
            )
