"""`server_log.json`: what a server logged during a point, and whether that is within the suite's budget."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from pytest_bench.containers.log_classes import Count, count
from pytest_bench.files import write_json
from pytest_bench.records import PhaseResult
from pytest_bench.results.reading import read_versioned
from pytest_bench.running.deployment import Deployment
from pytest_bench.suite.container_plan import LogBudget
from pytest_bench.suite.plan import DeploymentPlan
from pytest_bench.verdict.outcome import Judgement, Outcome, Reason, worst

NAME = "server_log.json"
VERSION = 1


class ServerLog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of `server_log.json`: lines and bytes by class. The log itself is in the deployment's folder."""

    version: int = VERSION
    nonce: str
    """Nonce of the session."""
    start_byte: int
    """Where the point's part of `container.log` begins."""
    end_byte: int
    requests: int
    """Requests of all phases, warm-ups included."""
    lines: int
    size_bytes: int
    classes: dict[str, Count]
    reduction: float | None = None
    """Share of the baseline's lines that is gone; None without a baseline."""


def begin(deployment: Deployment) -> int:
    """Where the log of the deployment's container ends now; 0 without a container."""
    return 0 if deployment.container is None else deployment.container.settle_log()


def record(
    deployment: Deployment, folder: Path, start: int, phases: Sequence[PhaseResult], *, nonce: str
) -> None:
    """Write `server_log.json` of a point whose part of the log begins at byte `start`, if a container serves."""
    container = deployment.container
    if container is None:
        return
    end, plan = container.settle_log(), container.plan.log
    counts = count(container.log.lines(start, end), [re.compile(pattern) for pattern in plan.benign])
    requests = sum(phase.issued for phase in phases)
    baseline = (plan.baseline_lines_per_request or 0.0) * requests
    write_json(
        folder / NAME,
        ServerLog(
            nonce=nonce,
            start_byte=start,
            end_byte=end,
            requests=requests,
            lines=counts.lines,
            size_bytes=counts.size_bytes,
            classes=counts.classes,
            reduction=1 - counts.lines / baseline if baseline else None,
        ),
    )


def with_log_budget(judgement: Judgement, deployment: DeploymentPlan, folder: Path) -> Judgement:
    """`judgement` with a reason for each limit of the log that a point exceeded; such a point fails.

    `folder` is the point's. Raises `EvidenceError` if there is a budget, and `server_log.json` is missing or damaged.
    """
    budget = LogBudget() if deployment.container is None else deployment.container.log.budget
    if budget == LogBudget():
        return judgement
    reasons = tuple(excesses(budget, read_versioned(folder / NAME, ServerLog, VERSION)))
    return msgspec.structs.replace(
        judgement,
        outcome=worst([judgement.outcome, *(Outcome.FAIL for _ in reasons)]),
        reasons=(*judgement.reasons, *reasons),
    )


def excesses(budget: LogBudget, log: ServerLog) -> Iterator[Reason]:
    """A reason for each limit that `log` exceeds."""
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
                "(deployment.container.log.budget). Next: read the server's container.log",
            )
