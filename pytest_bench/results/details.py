"""What a summary states about a point of one kind only: `Summary.detail`.

To add a kind of point, add its subclass of `Detail` here, and to `AnyDetail`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from pytest_bench.metrics.measurement import Interval, Metric
from pytest_bench.records import CacheReset

Order = Literal[
    "before the benchmark", "between benchmarks", "after the benchmark", "no benchmark on its dataset"
]
"""When an audit ran. A benchmark primes the cache that an audit tests for."""


class Detail(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True):
    """Fields of every kind. `kind` is written before them."""

    explanation: str = ""
    """Sentences for the user about the result; empty if there is nothing to explain."""
    note: str = ""
    """Sentences about the load and the client, whatever the outcome; empty if there is nothing to note."""
    poll_interval_s: float | None = None
    """How often jobs were polled: a latency is up to this much too long. None: answers were not polled."""

    @classmethod
    def kind(cls) -> str:
        """The kind of point, as in its id."""
        return str(cls.__struct_config__.tag)


class PerfDetail(Detail, frozen=True, kw_only=True, tag="perf"):
    """A performance point states nothing further."""


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """Ids of other points that send an audit's samples to its server, in the order of the plan."""

    sharing: tuple[str, ...]
    """All such points. A point for which this cannot be determined counts."""
    begun: tuple[str, ...]
    """Those that started to send before the audit, regardless of the order in the plan."""


class AuditResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an audit that could be judged. If it could not, `verify` raises `Undecided` instead."""

    passed: bool
    """Whether the audit's rule held. For MLPerf's audits: MLPerf's rule."""
    reason: str
    """The rule with its numbers, in one line."""
    explanation: str
    """The same in plain sentences: what was done, what was measured, how to proceed after a failure."""
    lines: tuple[str, ...]
    """Content of `verify_<TEST>.txt`, in the words that MLPerf's checkers search for."""
    findings: tuple[str, ...] = ()
    """Violations of rules that MLPerf does not have. Any of them makes the point fail, even if `passed` is true."""
    labels: tuple[str, ...] = ()
    """Labels of the point."""
    details: dict[str, Any] = {}
    """Further content of `audit_<test>.json`."""
    shown: tuple[tuple[str, str], ...] = ()
    """Columns of the terminal's table: heading and short text."""
    metrics: dict[str, Metric] = {}
    intervals: tuple[Interval, ...] = ()


class AuditDetail(Detail, frozen=True, kw_only=True, tag="audit"):
    """Further facts of an audit. `point.json` names the audit."""

    order: Order
    before: Before
    result: AuditResult | None
    """None if the audit could not be judged."""
    cache_resets: tuple[CacheReset, ...] = ()
    """The resets that servers confirmed, in order."""


class EvalDetail(Detail, frozen=True, kw_only=True, tag="eval"):
    """What an eval states besides. Except for the last three, everything follows from the checkpoint."""

    shown: tuple[tuple[str, str], ...]
    """Columns of the terminal's table: heading and short text."""
    metrics: dict[str, Any]
    """Scores with intervals, rates and denominators (`evals.measure.EvalMetrics`)."""
    account: dict[str, Any]
    """Time, tokens and attempts of all sessions (`evals.answers.Account`)."""
    concurrency: dict[str, Any]
    """The proof of the concurrency (`evals.concurrency.ConcurrencyProof`)."""
    gates: tuple[dict[str, Any], ...]
    """Gates as judged on this point alone (`evals.gates.GateResult`); the judgement has them as corrected."""
    pairs: dict[str, Any]
    """Paired comparisons with baselines, by position of the gate (`evals.paired.Paired`)."""
    sessions: tuple[dict[str, Any], ...]
    """The sessions that asked the eval, in order, as its checkpoint has them."""
    release: str
    """Version of pytest-inference-bench that wrote the result files."""
    results: dict[str, str]
    """sha256 of each result file, by path in the results folder."""


class CommandDetail(Detail, frozen=True, kw_only=True, tag="command"):
    """What an eval states besides if another tool ran it: what was run, and how it ended."""

    shown: tuple[tuple[str, str], ...]
    """Columns of the terminal's table: heading and short text. They follow from the tool's files, as `notes` does."""
    notes: tuple[str, ...]
    """What the files do not prove, a sentence each."""
    command: tuple[str, ...]
    """Program and arguments as they were run."""
    environment: tuple[str, ...]
    """Names of the declared variables, and of the inherited ones."""
    concurrency: dict[str, Any]
    """The proof of the concurrency (`evals.command_concurrency.CommandConcurrency`)."""
    own_metadata: bool
    """Whether `meta_env.json` was written by the tool. Otherwise it repeats what was asked, and proves nothing."""
    status: int
    """Exit status of the tool; 128 and the signal if a signal ended it."""
    overdue: bool
    """Whether it was ended at its time limit. The status is then 124."""
    started_s: float
    """Seconds since 1970."""
    ended_s: float


class TablesDetail(Detail, frozen=True, kw_only=True, tag="tables"):
    """What a point states whose results are tables that another tool left on one or several nodes.

    All but the commands, the environment and the job follows from the files of the nodes.
    """

    shown: tuple[tuple[str, str], ...]
    """Columns of the terminal's table: heading and short text."""
    commands: tuple[tuple[str, ...], ...]
    """Program and arguments as they were run, by rank."""
    environment: tuple[str, ...]
    """Names of the declared variables, and of the inherited ones."""
    job: str
    """Id of the Slurm job; outside of one, the nonce of the session."""
    statuses: tuple[dict[str, Any], ...]
    """How each node ended that reported, in the order of ranks (`cluster.combining.NodeStatus`)."""
    picked: str | None
    """The table that was picked, as a path in the point's folder."""
    scores: tuple[dict[str, Any], ...]
    """How each candidate was judged, the best first (`cluster.tables.Score`)."""
    rows: tuple[dict[str, Any], ...]
    """The value of each row, and what each node states (`cluster.combining.Combined`)."""


AnyDetail = PerfDetail | AuditDetail | EvalDetail | CommandDetail | TablesDetail
