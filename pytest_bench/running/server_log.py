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
from pytest_bench.suite.container_plan import LogBudget, LogPlan
from pytest_bench.suite.plan import DeploymentPlan
from pytest_bench.verdict.outcome import Judgement, Outcome, Reason, worst
from pytest_bench.wording import printable

NAME = "server_log.json"
VERSION = 1
_LONGEST_LINE = 300


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
    failures: int = 0
    """Lines that match one of the suite's `failures`."""
    first_failure: str = ""
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
    benign, failures = ([re.compile(text) for text in texts] for texts in (plan.benign, plan.failures))
    counts = count(container.log.lines(start, end), benign, failures)
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
            failures=counts.failures,
            first_failure=printable(counts.first_failure[:_LONGEST_LINE]),
            reduction=1 - counts.lines / baseline if baseline else None,
        ),
    )


def with_log_budget(judgement: Judgement, deployment: DeploymentPlan, folder: Path) -> Judgement:
    """`judgement` with a reason for each limit that the log exceeded, and for logged failures: such a point fails.

    `folder` is the point's. Raises `EvidenceError` if the suite limits the log, and `server_log.json` is missing or
    damaged.
    """
    plan = LogPlan() if deployment.container is None else deployment.container.log
    if plan.budget == LogBudget() and not plan.failures:
        return judgement
    log = read_versioned(folder / NAME, ServerLog, VERSION)
    reasons = (*_failures(log), *excesses(plan.budget, log))
    return msgspec.structs.replace(
        judgement,
        outcome=worst([judgement.outcome, *(Outcome.FAIL for _ in reasons)]),
        reasons=(*judgement.reasons, *reasons),
    )


def _failures(log: ServerLog) -> Iterator[Reason]:
    if log.failures:
        yield Reason(
            "log-failure",
            f"the server logged {log.failures} lines that match deployment.container.log.failures; the first is "
            f"{log.first_failure!r}. Next: read the server's container.log",
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
