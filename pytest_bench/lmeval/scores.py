"""Rules on the contents of result files: scores, numbers of items, model and concurrency of the run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from pytest_bench.lmeval.findings import Finding, excerpt, fail
from pytest_bench.lmeval.folder import ResultFile
from pytest_bench.lmeval.request import Request

_CONCURRENCY_WORDS = ("num_concurrent", "max_concurrent", "concurrency")
"""Names that lm-eval's models use for their concurrency, in their arguments or beside them."""


class Score(NamedTuple):
    """One checked score."""

    file: str
    task: str
    metric: str
    """With its filter, as in lm-eval: `exact_match,strict-match`."""
    value: float
    stderr: float | None
    """None if lm-eval has none."""


def read_scores(
    result: ResultFile, metric_prefix: str, named: frozenset[str], findings: list[Finding]
) -> list[Score]:
    """The scores of a file to check: every metric that begins with `metric_prefix`, of every task.

    A group is checked only if a threshold names it (`named`); otherwise its members are checked.
    """
    tasks = _tasks(result, findings)
    if tasks == {}:
        findings.append(fail(result.name, "results", "holds no task: there is nothing to check"))
    found: list[Score] = []
    for task, metrics in {**(tasks or {}), **_named_groups(result, named, findings)}.items():
        names = [name for name in metrics if _is_checked(name, metric_prefix)]
        if not names:
            findings.append(
                fail(
                    result.name,
                    f"results.{task}",
                    f"has no metric to check: none begins with {metric_prefix!r}",
                )
            )
        for name in names:
            field, value = f"results.{task}.{name}", metrics[name]
            stderr = _stderr(result, task, name, metrics, findings)
            if not _is_share(value):
                findings.append(
                    fail(result.name, field, f"is {excerpt(value)}; expected a number from 0 to 1")
                )
            elif _lower_is_better(result, task, name):
                findings.append(fail(result.name, field, "is better when lower: a minimum cannot judge it"))
            else:
                found.append(Score(result.name, task, name, float(value), stderr))
    return found


def findings_of_scores(scores: Sequence[Score], request: Request, prefix: str | None) -> Iterator[Finding]:
    """Whether every score has a threshold and reaches it, and every expected task has a score."""
    for score in scores:
        field = f"results.{score.task}.{score.metric}"
        found = request.thresholds.of(prefix, score.task, request.min_score)
        if found is None:
            yield Finding(
                "error",
                score.file,
                field,
                f"is {score.value}, but {score.task!r} has no threshold: name it in --thresholds, or give --min-score",
            )
        elif score.value < found[0]:
            yield fail(score.file, field, f"is {score.value}, below {found[0]} ({found[1]})")
    scored = {score.task for score in scores}
    for task in request.tasks:
        if task not in scored:
            yield fail("results*.json", f"results.{task}", "is missing; --expected-tasks names it")


def findings_of_difference(by_file: Mapping[str, Sequence[Score]]) -> Iterator[Finding]:
    """Whether all files have scores of the same tasks and metrics."""
    sets = {file: {(score.task, score.metric) for score in scores} for file, scores in by_file.items()}
    everything = set().union(*sets.values())
    for file, own in sets.items():
        for task, metric in sorted(everything - own):
            yield fail(file, f"results.{task}.{metric}", "is missing; other result files have it")


def findings_of_run(result: ResultFile, concurrency: int | None, model: object) -> Iterator[Finding]:
    """Whether the file's own configuration names the expected concurrency and model."""
    config = result.data.get("config", {})
    if not isinstance(config, dict):
        yield fail(result.name, "config", f"is {excerpt(config)}; expected an object")
        return
    arguments = _arguments(config.get("model_args"))
    for place, values in (("config.model_args", arguments), ("config", config)):
        for word in _CONCURRENCY_WORDS:
            said = values.get(word)
            if said is not None and concurrency is not None and not _is_number(said, concurrency):
                yield fail(
                    result.name,
                    f"{place}.{word}",
                    f"is {excerpt(said)}; the file should be of concurrency {concurrency}",
                )
    if isinstance(model, str) and model:
        for field, name in _models(result).items():
            if name != model:
                yield fail(result.name, field, f"is {excerpt(name)}; {excerpt(model)} was requested")


def states_concurrency(result: ResultFile) -> bool:
    """Whether the file's own configuration names a concurrency."""
    config = result.data.get("config")
    if not isinstance(config, dict):
        return False
    return any(
        _arguments(config.get("model_args")).get(word) or config.get(word) for word in _CONCURRENCY_WORDS
    )


def findings_of_models(results: Sequence[ResultFile]) -> Iterator[Finding]:
    """Whether all files are of one model, if the metadata does not name one."""
    first: dict[str, tuple[str, object]] = {}
    for result in results:
        for field, name in _models(result).items():
            file, other = first.setdefault(field, (result.name, name))
            if name != other:
                yield fail(result.name, field, f"is {excerpt(name)}; {file} has {excerpt(other)}")


def _models(result: ResultFile) -> dict[str, object]:
    """The names of the model in a file, by field. lm-eval uses `pretrained` only if `model` is absent."""
    config = result.data.get("config")
    arguments = _arguments(config.get("model_args")) if isinstance(config, dict) else {}
    word = "pretrained" if arguments.get("model") is None else "model"
    names = {"model_name": result.data.get("model_name"), f"config.model_args.{word}": arguments.get(word)}
    return {field: name for field, name in names.items() if name is not None}


def findings_of_samples(result: ResultFile, request: Request) -> Iterator[Finding]:
    """Whether each task was evaluated on all of its items, or on as many as the declared limit allows."""
    config = result.data.get("config")
    limit = config.get("limit") if isinstance(config, dict) else None
    if limit is not None and (isinstance(limit, bool) or limit != request.limit):
        declared = "no limit was declared" if request.limit is None else f"{request.limit} was declared"
        yield fail(result.name, "config.limit", f"is {excerpt(limit)}; {declared}")
    samples = result.data.get("n-samples")
    if not isinstance(samples, dict):
        yield fail(result.name, "n-samples", f"is {excerpt(samples)}; expected the items of each task")
        return
    for task in _tasks(result, []) or {}:
        yield from _items(result.name, task, samples.get(task), None if limit is None else request.limit)


def findings_of_age(result: ResultFile, request: Request) -> Iterator[Finding]:
    """Whether the file was made by this run and not by an earlier one, according to its date."""
    if request.not_before_s is None and request.not_after_s is None:
        return
    made_s = result.data.get("date")
    if isinstance(made_s, bool) or not isinstance(made_s, int | float):
        yield fail(
            result.name, "date", f"is {excerpt(made_s)}; expected the time it was made, in seconds since 1970"
        )
    elif request.not_after_s is not None and made_s > request.not_after_s:
        yield fail(result.name, "date", f"is {excerpt(made_s)}, in the future: one of the clocks is wrong")
    elif request.not_before_s is not None and made_s < request.not_before_s:
        yield fail(
            result.name,
            "date",
            f"is {excerpt(made_s)}, before {request.not_before_s:.0f}: the file is of an earlier run",
        )


def _items(file: str, task: str, counts: object, limit: int | None) -> Iterator[Finding]:
    """`limit`: the declared limit of the run."""
    original, effective = (
        (counts.get("original"), counts.get("effective")) if isinstance(counts, dict) else (None, None)
    )
    if not (_is_count(original) and _is_count(effective)):
        yield fail(
            file, f"n-samples.{task}", f"is {excerpt(counts)}; expected counts `original` and `effective`"
        )
    elif effective != (original if limit is None else min(original, limit)):
        declared = "no limit was declared" if limit is None else f"a limit of {limit} was declared"
        yield fail(
            file,
            f"n-samples.{task}",
            f"{excerpt(effective)} of {excerpt(original)} items were evaluated, but {declared}",
        )


def _tasks(result: ResultFile, findings: list[Finding]) -> dict[str, dict[str, Any]] | None:
    """The metrics of each task, without groups, whose members are tasks themselves. None if there are no results."""
    results, groups = result.data.get("results"), _groups(result)
    if not isinstance(results, dict):
        findings.append(fail(result.name, "results", f"is {excerpt(results)}; expected an object of tasks"))
        return None
    tasks: dict[str, dict[str, Any]] = {}
    for task, metrics in results.items():
        if task in groups:
            findings.extend(
                fail(result.name, f"group_subtasks.{task}", f"names {excerpt(member)}, which has no results")
                for member in groups[task]
                if not isinstance(member, str) or member not in results
            )
        elif isinstance(metrics, dict):
            tasks[task] = metrics
        else:
            findings.append(
                fail(result.name, f"results.{task}", f"is {excerpt(metrics)}; expected an object")
            )
    return tasks


def _named_groups(
    result: ResultFile, named: frozenset[str], findings: list[Finding]
) -> dict[str, dict[str, Any]]:
    """The metrics of the groups that a threshold names."""
    results = result.data.get("results")
    found: dict[str, dict[str, Any]] = {}
    for group in sorted(named & _groups(result).keys()):
        metrics = results.get(group) if isinstance(results, dict) else None
        if isinstance(metrics, dict):
            found[group] = metrics
        else:
            findings.append(
                fail(result.name, f"results.{group}", f"is {excerpt(metrics)}; a threshold names this group")
            )
    return found


def _groups(result: ResultFile) -> dict[str, list[Any]]:
    """Members of each group. A name with items of its own is a task, even if members are listed for it."""
    groups, samples = result.data.get("group_subtasks"), result.data.get("n-samples")
    if not isinstance(groups, dict):
        return {}
    return {
        name: members
        for name, members in groups.items()
        if isinstance(members, list) and members and not (isinstance(samples, dict) and name in samples)
    }


def _is_checked(name: str, prefix: str) -> bool:
    metric, comma, _ = name.partition(",")
    return bool(comma) and name.startswith(prefix) and not metric.endswith("_stderr")


def _stderr(
    result: ResultFile, task: str, name: str, metrics: Mapping[str, Any], findings: list[Finding]
) -> float | None:
    metric, _, filter_name = name.partition(",")
    key = f"{metric}_stderr,{filter_name}"
    value = metrics.get(key)
    if value is None or value == "N/A":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        findings.append(
            fail(result.name, f"results.{task}.{key}", f'is {excerpt(value)}; expected a number, or "N/A"')
        )
        return None
    return float(value)


def _lower_is_better(result: ResultFile, task: str, name: str) -> bool:
    said = result.data.get("higher_is_better")
    of_task = said.get(task) if isinstance(said, dict) else None
    return isinstance(of_task, dict) and of_task.get(name.partition(",")[0]) is False


def _arguments(raw: object) -> Mapping[str, Any]:
    """The model's arguments, which lm-eval writes as `a=1,b=2` or as an object."""
    if isinstance(raw, dict):
        return raw
    if not isinstance(raw, str):
        return {}
    pairs = (part.partition("=") for part in raw.split(","))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _is_number(value: object, wanted: int) -> bool:
    if isinstance(value, bool):
        return False
    return value == wanted if isinstance(value, int | float) else value == str(wanted)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_share(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= 1 and math.isfinite(value)
