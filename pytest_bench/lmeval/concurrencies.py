"""Rules on which concurrencies ran: metadata and files compared with the request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pytest_bench.lmeval.findings import Finding, error, excerpt, fail
from pytest_bench.lmeval.folder import METADATA, Folder, ResultFile, has_suffix
from pytest_bench.lmeval.request import Request

_LISTS = ("eval_concs", "completed_eval_concs", "failed_eval_concs")


def findings_of_concurrencies(folder: Folder, request: Request) -> Iterator[Finding]:
    """Whether exactly the requested concurrencies ran, according to the metadata and, separately, to the files."""
    asked = request.concurrencies
    if asked is None:
        yield error(
            str(folder.path),
            "",
            "an expectation is required: the folder cannot tell which concurrencies were requested; give "
            "--expected-concs or --expect, from a source other than the folder",
        )
        return
    metadata = folder.metadata
    batched = len(asked) > 1 or (metadata is not None and "eval_concs" in metadata)
    if metadata is not None:
        yield from _batch(metadata, set(asked)) if batched else _single(metadata, asked[0])
    yield from _files(folder.results, folder.names, asked, batched=batched)
    yield from _twins(folder.results)


def _single(metadata: Mapping[str, Any], asked: int) -> Iterator[Finding]:
    found = metadata.get("conc")
    if isinstance(found, bool) or not isinstance(found, int):
        yield fail(METADATA, "conc", f"is {excerpt(found)}; expected the number {asked}")
    elif found != asked:
        yield fail(METADATA, "conc", f"is {found}; {asked} was requested")


def _batch(metadata: Mapping[str, Any], asked: set[int]) -> Iterator[Finding]:
    lists: dict[str, set[int]] = {}
    for name in _LISTS:
        values = metadata.get(name)
        problem = _list_problem(values, empty=name != "eval_concs")
        if name not in metadata:
            yield fail(METADATA, name, f"is missing; expected a list, because {_all(asked)} were requested")
        elif problem:
            yield fail(METADATA, name, f"is {excerpt(values)}; {problem}")
        elif isinstance(values, list):
            lists[name] = set(values)
    if "eval_concs" in lists:
        yield from _difference("eval_concs", "listed", lists["eval_concs"], asked)
    if "completed_eval_concs" in lists:
        yield from _difference("completed_eval_concs", "completed", lists["completed_eval_concs"], asked)
    if failed := lists.get("failed_eval_concs"):
        yield fail(METADATA, "failed_eval_concs", f"the eval failed at concurrency {_all(failed)}")
        if both := failed & lists.get("completed_eval_concs", set()):
            yield fail(METADATA, "completed_eval_concs", f"{_all(both)} both completed and failed")


def _list_problem(values: object, *, empty: bool) -> str | None:
    if not isinstance(values, list) or not all(type(value) is int and value > 0 for value in values):
        return "expected a list of positive whole numbers"
    if len(set(values)) != len(values):
        return "expected each concurrency once"
    if not values and not empty:
        return "expected at least one concurrency"
    return None


def _difference(field: str, what: str, found: set[int], asked: set[int]) -> Iterator[Finding]:
    if missing := asked - found:
        yield fail(METADATA, field, f"{_all(missing)} requested, but not {what}")
    if unexpected := found - asked:
        yield fail(METADATA, field, f"{_all(unexpected)} {what}, but not requested")


def _files(
    results: Sequence[ResultFile], names: Sequence[str], asked: Sequence[int], *, batched: bool
) -> Iterator[Finding]:
    if not batched:
        yield from _one_file(names)
        return
    found: Counter[int] = Counter()
    for result in results:
        concurrency = result.concurrency
        if concurrency is None:
            what = "a malformed concurrency suffix" if result.has_suffix else "no concurrency suffix"
            yield fail(result.name, "", f"has {what}; expected a name such as results_…_conc4.json")
        elif concurrency not in asked:
            yield fail(result.name, "", f"is of concurrency {concurrency}, which was not requested")
        elif result.number > 1:
            yield fail(
                result.name,
                "",
                f"is the {_ordinal(result.number)} result of {concurrency}; expected one result",
            )
        else:
            found[concurrency] += 1
    for concurrency, times in sorted(found.items()):
        if times > 1:
            yield fail(
                "results*.json", "", f"{times} result files of concurrency {concurrency}; expected one"
            )
    if missing := set(asked) - found.keys():
        yield fail("results*.json", "", f"no result file of concurrency {_all(missing)}, requested")


def _one_file(names: Sequence[str]) -> Iterator[Finding]:
    if len(names) != 1:
        listed = f": {', '.join(names)}" if names else ""
        yield fail("results*.json", "", f"{len(names)} result files{listed}; expected exactly one")
    for name in names:
        if has_suffix(name):
            yield fail(name, "", "has a concurrency suffix, but only one concurrency was requested")


def _twins(results: Iterable[ResultFile]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for result in results:
        twin = first.setdefault(result.sha256, result.name)
        if twin != result.name:
            yield fail(result.name, "", f"has the same bytes as {twin}: one result was copied over another")


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")


def _all(values: Iterable[int]) -> str:
    return ", ".join(str(value) for value in sorted(values))
