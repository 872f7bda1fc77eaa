"""`pytest-bench recount`: recompute token metrics from the logs of a session."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_bench.perf.recount import Recounted, recount
from pytest_bench.reports.tables import render, side_by_side
from pytest_bench.verdict.outcome import Outcome

SUMMARY = "count the tokens of a session again from its logs, with any tokenizer"
EXAMPLE = "pytest-bench recount results/latest --tokenizer models/other-model"

_METRICS = (
    "input_tokens.mean",
    "output_tokens.mean",
    "output_token_throughput",
    "time_per_output_token.p50",
    "time_per_output_token.p99",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", type=Path, metavar="RESULTS", help="results folder of a session")
    parser.add_argument(
        "--tokenizer", metavar="PATH_OR_ID", help="count with this one instead of the suite's"
    )
    parser.add_argument("--backend", choices=("auto", "tokenizers", "fastokens"), help="force a back end")
    parser.add_argument(
        "--count",
        choices=("auto", "tokenizer", "usage"),
        help="whose count the metrics use: the tokenizer's or the server's usage",
    )
    parser.add_argument(
        "--point", action="append", default=[], metavar="ID", help="only this point; may be repeated"
    )


def run(arguments: argparse.Namespace) -> int:
    """0 if every recounted point passes; 1 if one does not, or if there was none."""
    done: list[Recounted] = []
    for item in recount(
        arguments.results,
        tokenizer=arguments.tokenizer,
        backend=arguments.backend,
        count=arguments.count,
        points=arguments.point,
    ):
        done.append(item)
        table = side_by_side(
            item.point.id,
            {"before": item.before.measurement, "recounted": item.after.measurement},
            _METRICS,
        )
        print("\n".join(render(table, colour=False)))
        print(f"outcome: {item.after.judgement.outcome} (before: {item.before.judgement.outcome})")
        for reason in item.after.judgement.reasons:
            print(f"  {reason.sentence}")
        print(f"written: {item.folder}")
    if not done:
        print(f"{arguments.results}: no performance point with a summary to recount")
    return 0 if done and all(item.after.judgement.outcome is Outcome.PASS for item in done) else 1
