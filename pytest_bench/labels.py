"""Every label that a point may have. A label is what a reader of the point's numbers must know."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Label(StrEnum):
    """A label and its meaning. Audits of third parties may give labels of their own, which are plain strings."""

    meaning: str

    def __new__(cls, name: str, meaning: str) -> Self:
        label = str.__new__(cls, name)
        label._value_ = name
        label.meaning = meaning
        return label

    SIMULATOR = "simulator", "measured on the built-in simulator, so the numbers are not those of a model"
    SIMULATOR_BOUND = (
        "simulator-bound",
        (
            "the simulator's event loop was too late at p99 in a measured phase, so its own limit was measured; "
            "`detail.explanation` in the summary gives the phase"
        ),
    )
    BUDGET_RELAXED = (
        "budget-relaxed",
        "the suite allows the client a larger share of the numbers than the default budget does",
    )
    USER_STAMPED = (
        "user-stamped",
        (
            "some reads have no time stamp of the kernel; the client's own, which is later, is used instead, and the "
            "uncertainty says by how much it may be off"
        ),
    )
    HELD_BACK = (
        "held-back",
        (
            "`max_concurrency` held requests back, so that less than 95 % of the scheduled rate was sent; the session "
            "says how many, and `phase.json` has both rates (`asked`, `achieved`)"
        ),
    )
    UNBOUNDED = "unbounded", "the suite declares no bounds for the point; only the implied ones were judged"
    CACHE_SHARED = (
        "cache-shared",
        (
            "other points, or the point itself, may have sent the same prompts before, so the server's cache may have "
            "answered"
        ),
    )
    SERVER_CACHED = (
        "server-cached",
        (
            "the server reports that more than a tenth of the input tokens came from its cache "
            "(`server_cached_token_share`, which can be bounded)"
        ),
    )
    SERVER_COUNTED = (
        "server-counted",
        "output tokens are those of the server's usage, and no tokenizer agrees with them",
    )
    NO_TEMPLATE = (
        "no-template",
        "the tokenizer has no chat template, so input tokens are those of the messages' texts alone",
    )
    TOKEN_MISMATCH = (
        "token-mismatch",
        "the token counts of the tokenizer and of the server's usage differ by more than is tolerated",
    )
    REPLICAS_DIFFER = (
        "replicas-differ",
        (
            "the endpoints report different served models, versions or Server headers; "
            "`detail.explanation` says which, and `measurement.endpoints` has the metrics by endpoint"
        ),
    )
    SHORTENED = (
        "shortened",
        (
            "`--duration-scale` changed a duration of the point. A point without durations is not labelled, and the "
            "session says that nothing was scaled"
        ),
    )
    REQUESTS_OVERRIDDEN = "requests-overridden", "`--requests` changed a number of requests of the point"
    BEFORE_BENCHMARK = (
        "before-benchmark",
        "the audit ran before the performance points that send its prompts to its server",
    )
    BETWEEN_BENCHMARKS = "between-benchmarks", "the audit ran after some of these points and before others"
    AFTER_BENCHMARK = "after-benchmark", "the audit ran after these points"
    UNOFFICIAL = "unofficial", "shorter than `minimum_duration_s`, or declared `unofficial: true`"
    SHORT = (
        "short",
        (
            "an eval with fewer than four requests per place in flight: its concurrency is proven by the peak alone, "
            "not by the mean over time"
        ),
    )
    LIMITED = (
        "limited",
        "`--eval-limit`, or the `limit` of a command, left items of an eval out: its scores are not the task's",
    )
    CONCURRENCY_UNPROVEN = (
        "concurrency-unproven",
        (
            "neither the files of an eval's command nor the server's metrics show at which concurrency it ran, which "
            "the suite allows (`unproven_concurrency`)"
        ),
    )
    FAILURES_TOLERATED = (
        "failures-tolerated",
        "an audit with `tolerate_failures: true` compared the rates of phases in which requests failed",
    )
    EMPTY_OUTPUTS_ALLOWED = (
        "empty-outputs-allowed",
        "`output-consistency` with `allow_empty_outputs: true` accepted empty outputs",
    )
    NO_BREAKDOWN = "no-breakdown", "a VBench result states one score without those of the six dimensions"


TOKEN_LABELS = frozenset({Label.SERVER_COUNTED, Label.NO_TEMPLATE, Label.TOKEN_MISMATCH})
"""Labels about token counts, which a recount may change."""

ORDER_LABELS = frozenset({Label.BEFORE_BENCHMARK, Label.BETWEEN_BENCHMARKS, Label.AFTER_BENCHMARK})
"""Labels that say when an audit ran. They do not restrict its result."""
