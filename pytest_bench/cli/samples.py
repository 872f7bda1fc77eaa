"""`pytest-bench samples`: the answers of an eval, with their scores, after a run or while it goes on."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from pytest_bench.cli.contributions import add_plugin_argument
from pytest_bench.cli.judging import judges_for
from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.evals.following import follow
from pytest_bench.evals.sample_sources import read_samples_of
from pytest_bench.evals.sample_text import flip_lines, sample_lines
from pytest_bench.evals.samples import Flipped, Sample, Wanted, flips, is_selected, narrowed
from pytest_bench.redaction import redact
from pytest_bench.wording import one_of

SUMMARY = "show the answers of an eval: prompt, output, extracted answer, target, score"
EXAMPLE = "pytest-bench samples results/latest --wrong"

_WANTED: tuple[Wanted, ...] = ("wrong", "unscored", "truncated")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results",
        type=Path,
        metavar="RESULTS",
        help="results folder of a session, a folder of lm-eval, or a samples_*.jsonl",
    )
    parser.add_argument("--wrong", action="store_true", help="answers with a score below 1")
    parser.add_argument("--unscored", action="store_true", help="requests without a score")
    parser.add_argument(
        "--truncated", action="store_true", help="answers that ended at a token or time limit"
    )
    parser.add_argument(
        "--flipped",
        nargs=2,
        metavar=("A", "B"),
        help="items whose score differs between two concurrencies of RESULTS, or between two results",
    )
    parser.add_argument(
        "--follow", action="store_true", help="go on showing answers until the evals have ended"
    )
    parser.add_argument(
        "--metric", action="append", default=[], metavar="NAME", help="only this score; may be repeated"
    )
    parser.add_argument(
        "--item", action="append", default=[], metavar="ID", help="only this item; may be repeated"
    )
    parser.add_argument(
        "--point", action="append", default=[], metavar="ID", help="only this point, or task; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--full", action="store_true", help="do not shorten long texts")
    add_plugin_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 if there was something to choose from. Raises `UsageError`, and `EvidenceError` if there are no samples."""
    shown = _Shown(arguments)
    if arguments.flipped:
        if arguments.follow or any(getattr(arguments, name) for name in _WANTED):
            raise UsageError(
                "--flipped: shows whole evals; leave out --follow, --wrong, --unscored and --truncated"
            )
        _show_flips(arguments, shown)
    else:
        wanted = [name for name in _WANTED if getattr(arguments, name)]
        samples = _followed(arguments) if arguments.follow else _read(arguments.results, arguments)
        total = 0
        for sample in _chosen(samples, arguments):
            total += 1
            if is_selected(sample, wanted):
                shown.sample(sample)
        _require_any(total, arguments)
        shown.end(f"of {total} samples")
    return 0


def _read(results: Path, arguments: argparse.Namespace) -> Iterator[Sample]:
    return read_samples_of(results, judges_for(results, arguments.plugins).scorings)


def _followed(arguments: argparse.Namespace) -> Iterator[Sample]:
    return follow(arguments.results, judges_for(arguments.results, arguments.plugins).scorings)


class _Shown:
    """Prints samples, and counts them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._json, self._whole = bool(arguments.json), bool(arguments.full)
        self._width = shutil.get_terminal_size().columns
        self._count = 0

    def sample(self, sample: Sample) -> None:
        self._print(sample, sample_lines(sample, self._width, whole=self._whole))

    def flip(self, flipped: Flipped) -> None:
        self._print(flipped._asdict(), flip_lines(flipped, self._width, whole=self._whole))

    def end(self, of_what: str) -> None:
        if not self._json:
            print(f"{self._count} {of_what}")

    def _print(self, value: object, lines: Iterable[str]) -> None:
        self._count += 1
        # In JSON, everything but ASCII is escaped: a terminal may read it, too.
        text = redact(json.dumps(msgspec.to_builtins(value))) if self._json else "\n".join((*lines, ""))
        print(text, flush=True)


def _chosen(samples: Iterable[Sample], arguments: argparse.Namespace) -> Iterator[Sample]:
    for sample in samples:
        is_point = not arguments.point or {sample.source, sample.eval} & set(arguments.point)
        if is_point and (not arguments.item or sample.item in arguments.item):
            yield narrowed(sample, arguments.metric)


def _require_any(total: int, arguments: argparse.Namespace) -> None:
    named = [f"--point {name}" for name in arguments.point] + [f"--item {name}" for name in arguments.item]
    if not total and named:
        raise UsageError(f"{arguments.results}: has no samples of {', '.join(named)}")
    if not total:
        raise EvidenceError(f"{arguments.results}: has no samples")


def _show_flips(arguments: argparse.Namespace, shown: _Shown) -> None:
    first, second = arguments.flipped
    by_concurrency = all(word.isdecimal() for word in arguments.flipped)
    sides = [_grouped(arguments, word, by_concurrency=by_concurrency) for word in (first, second)]
    if len(sides[0]) == len(sides[1]) == 1:
        pairs = [(next(iter(sides[0].values())), next(iter(sides[1].values())))]
    else:
        pairs = [(own, sides[1][key]) for key, own in sides[0].items() if key in sides[1]]
    if not pairs:
        raise UsageError(
            f"--flipped: {first} has {_names(sides[0])}, {second} has {_names(sides[1])}; "
            "expected the same eval in both"
        )
    items = uncompared = 0
    for before, after in pairs:
        found, left_out = flips(before, after)
        items += len({sample.item for sample in before})
        uncompared += left_out
        for flipped in found:
            shown.flip(flipped)
    shown.end(f"scores of {items} items flipped from {first} to {second}")
    if uncompared:
        print(f"{uncompared} items are unscored in one of them and were not compared", file=sys.stderr)


def _grouped(
    arguments: argparse.Namespace, word: str, *, by_concurrency: bool
) -> dict[tuple[str, int | None], list[Sample]]:
    """The samples that a word of `--flipped` names, by eval, and by concurrency unless that is compared."""
    path = arguments.results if word.isdecimal() else Path(word)
    groups: dict[tuple[str, int | None], list[Sample]] = {}
    concurrencies = set()
    for sample in _chosen(_read(path, arguments), arguments):
        concurrencies.add(sample.concurrency)
        if not word.isdecimal() or sample.concurrency == int(word):
            key = (sample.eval, None if by_concurrency else sample.concurrency)
            groups.setdefault(key, []).append(sample)
    if not groups:
        known = one_of(str(number) for number in sorted(filter(None, concurrencies)))
        raise UsageError(f"--flipped {word}: {path} has no samples of it; its concurrencies are {known}")
    return groups


def _names(groups: Iterable[tuple[str, int | None]]) -> str:
    return one_of(name if number is None else f"{name} at {number}" for name, number in groups)
