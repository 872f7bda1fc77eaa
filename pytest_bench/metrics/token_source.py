"""Which count of tokens the metrics use: the client's tokenizer's, or the server's usage.

Both counts are kept. They are not the same number: usage includes tokens that the text does not show (special
tokens, an end-of-sequence token), and tokenizing a text again does not always give the tokens it was made of.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from pytest_bench.metrics.columns import Columns
from pytest_bench.metrics.measurement import InputBy, OutputBy, TokenSource
from pytest_bench.metrics.token_counts import ABSENT, Lengths, TokenCounts

CountRule = Literal["auto", "tokenizer", "usage"]
"""Which count a deployment wants: `auto` uses the tokenizer's if there is one, except that usage decides the
output length under `ignore_eos`, because special tokens are then generated that the text does not show."""

RETOKENIZED_TOKENS = 0.25
RETOKENIZED_SHARE = 0.01
"""Tolerance of the mean difference between the two counts of an output: a quarter of a token, and one percent of its
length. With the exact tokenizer, 4 to 17 % of answers differ by about one token when they are tokenized again."""


class Chosen(msgspec.Struct, frozen=True):
    """Token counts in the order of the rows, as the metrics use them."""

    lengths: Lengths | None
    """None if not counted."""
    source: TokenSource
    tokenized: Lengths | None = None
    """The tokenizer's counts, even if the metrics use usage; None if no tokenizer counted."""


def choose(
    columns: Columns,
    tokens: TokenCounts | None,
    *,
    rule: CountRule = "auto",
    ignore_eos: bool = False,
    unfinished: str | None = None,
) -> Chosen:
    """Decide whose counts the metrics of a phase use.

    `tokens` is None if the client counted nothing. `unfinished` says why counting did not finish: the tokenizer's
    counts are then unknown, and usage is used only where the rule asks for it.
    """
    counted = None if tokens is None else tokens.of(columns.key)
    ours = counted if tokens is not None and tokens.by == "tokenizer" else None
    by, reason = _decide(columns, rule, unfinished, tokenized=ours is not None, ignore_eos=ignore_eos)
    if by is None:
        return Chosen(None, TokenSource(reason=reason), ours)
    input_by, inputs = _inputs(columns, tokens, counted, rule)
    lengths = Lengths(
        input=inputs,
        output=ours.output if by == "tokenizer" and ours is not None else columns.server_output_tokens,
        first_event=_first_event(columns, ours),
    )
    source = TokenSource(
        output=by,
        input=input_by,
        reason=reason,
        template=input_by != "tokenizer" or tokens is None or tokens.template,
    )
    return Chosen(lengths, source if ours is None else _compare(columns, ours, source), ours)


def _decide(
    columns: Columns, rule: CountRule, unfinished: str | None, *, tokenized: bool, ignore_eos: bool
) -> tuple[OutputBy | None, str]:
    """The source of output counts (None if there is none), and the reason."""
    silent = _usage_missing(columns)
    if rule == "usage":
        return (None, silent) if silent else ("usage", "`count: usage`")
    if unfinished is not None:
        return None, unfinished
    if rule == "tokenizer":
        return (
            ("tokenizer", "`count: tokenizer`")
            if tokenized
            else (None, "there is no tokenizer to count with")
        )
    if tokenized and not ignore_eos:
        return "tokenizer", "the tokenizer counted"
    if tokenized:
        if silent:
            return "tokenizer", f"`ignore_eos` may generate tokens that the text does not show, and {silent}"
        return "usage", "`ignore_eos` generates tokens that the text does not show"
    return (None, f"no tokenizer was found, and {silent}") if silent else ("usage", "no tokenizer was found")


def _usage_missing(columns: Columns) -> str:
    """Why usage cannot count the output; empty if every success has it."""
    succeeded = int(columns.succeeded.sum())
    without = int((columns.server_output_tokens[columns.succeeded] == ABSENT).sum())
    if not succeeded:
        return "no request succeeded"
    if without == succeeded:
        return "the server reports no usage"
    return f"{without} of {succeeded} succeeded requests have no usage" if without else ""


def _inputs(
    columns: Columns, tokens: TokenCounts | None, counted: Lengths | None, rule: CountRule
) -> tuple[InputBy | None, NDArray[np.int64]]:
    if tokens is not None and counted is not None and tokens.by == "tokenizer" and rule != "usage":
        return "tokenizer", counted.input
    if (columns.server_input_tokens[columns.succeeded] != ABSENT).all():
        return "usage", columns.server_input_tokens
    if tokens is not None and counted is not None and tokens.by == "tokenize":
        return "tokenize", counted.input
    return None, np.full(len(columns), ABSENT, dtype=np.int64)


def _first_event(columns: Columns, ours: Lengths | None) -> NDArray[np.int64]:
    """Tokens of the first content event: as counted, as the server reports them, or its share of the output.

    Usage alone does not say how many tokens an event holds. Events are then taken to hold equally many.
    """
    events = columns.content_events
    output = columns.server_output_tokens
    share = np.full(len(columns), ABSENT, dtype=np.int64)
    known = (events > 0) & (output != ABSENT)
    share[known] = np.maximum(1, np.rint(output[known] / events[known]).astype(np.int64))
    reported = np.where(columns.first_event_tokens != ABSENT, columns.first_event_tokens, share)
    return reported if ours is None else np.where(ours.first_event != ABSENT, ours.first_event, reported)


def _compare(columns: Columns, ours: Lengths, source: TokenSource) -> TokenSource:
    both = columns.succeeded & (ours.output != ABSENT) & (columns.server_output_tokens != ABSENT)
    compared = int(both.sum())
    if not compared:
        return source
    usage = columns.server_output_tokens[both]
    mean = float(usage.mean())
    again = RETOKENIZED_TOKENS + RETOKENIZED_SHARE * mean
    return msgspec.structs.replace(
        source,
        compared=compared,
        difference=float((ours.output[both] - usage).mean()),
        usage_mean=mean,
        tolerance=(-again - float(columns.ended_itself[both].mean()), again),
    )
