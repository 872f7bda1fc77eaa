"""Reading samples back from result folders in lm-eval's layout, lm-eval's own and ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pytest_bench.errors import EvidenceError
from pytest_bench.evals.measure import Status
from pytest_bench.evals.samples import Sample
from pytest_bench.lmeval.folder import Folder, ResultFile, read_folder
from pytest_bench.lmeval.samples import filters_of, read_samples, samples_of
from pytest_bench.scoring import CONDITIONS, Score

_INVALID = frozenset({"[invalid]", ""})
"""What lm-eval writes in place of an answer that its filters did not find."""


class Origin(NamedTuple):
    """Where samples come from, as `Sample` describes it."""

    source: str
    eval: str
    concurrency: int | None


def read_result_samples(folder: Path) -> Iterator[Sample]:
    """Every sample of every result file of `folder`. Raises `EvidenceError` that names file and line."""
    found = read_folder(folder)
    for result in found.results:
        tasks = result.data.get("results")
        for task in tasks if isinstance(tasks, dict) else ():
            for path in samples_of(folder, result, task):
                origin = Origin(path.relative_to(folder).as_posix(), task, _concurrency(found, result))
                yield from _read(path, origin, filters_of(result, task))


def read_sample_file(path: Path) -> Iterator[Sample]:
    """Every sample of one file, which must name the filter of each. Raises `EvidenceError`."""
    yield from _read(path, Origin(path.name, path.stem, None), ())


def _concurrency(folder: Folder, result: ResultFile) -> int | None:
    """As the file's name says, or the metadata if there is one result."""
    if result.has_suffix or len(folder.names) != 1:
        return result.concurrency
    said = (folder.metadata or {}).get("conc")
    return said if type(said) is int else None


def _read(path: Path, origin: Origin, filters: Sequence[str]) -> Iterator[Sample]:
    try:
        by_filter = read_samples(path, filters)
    except EvidenceError as error:
        raise EvidenceError(f"{path}: {error}") from error
    by_item: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name, samples in by_filter.items():
        for sample in samples:
            item = str(sample.get("item", sample.get("doc_id")))
            if name in by_item.setdefault(item, {}):
                raise EvidenceError(f"{path}: two samples of {item!r} with the filter {name!r}")
            by_item[item][name] = sample
    for item, own in by_item.items():
        try:
            yield from _item(origin, item, own)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise EvidenceError(f"{path}: the sample of {item!r} is not one of lm-eval's: {error}") from error


def _item(origin: Origin, item: str, by_filter: Mapping[str, Mapping[str, Any]]) -> Iterator[Sample]:
    first = next(iter(by_filter.values()))
    is_ours = "conditions" in first
    answers = [answer for answers in _list(first["resps"]) for answer in _list(answers)]
    common: dict[str, Any] = {
        **origin._asdict(),
        "item": item,
        "content": str(first.get("doc_hash", "")),
        "prompt": _prompt(first.get("arguments")),
        "target": _text(first.get("target")),
    }
    if not is_ours:
        scores = {
            f"{metric},{name}": score
            for name, sample in by_filter.items()
            for metric, score in _scores(sample).items()
        }
        yield Sample(
            **common,
            outputs=tuple(_text(answer) for answer in answers),
            scores=scores,
            conditions_known=False,
        )
        return
    for repeat, answer in enumerate(answers):
        status = first["status"][repeat]
        if status not in get_args(Status):
            raise ValueError(f"status is {status!r}")
        yield Sample(
            **common,
            repeat=repeat,
            outputs=(answer,) if status == "completed" else (),
            reasoning=first["reasoning"][repeat] or "",
            finish_reason=first["finish_reasons"][repeat],
            limit=first.get("limits", [None] * len(first["finish_reasons"]))[repeat],
            status=status,
            attempts=first["attempts"][repeat],
            scores={
                f"{sample['metrics'][0]},{name}": Score(
                    value=sample["values"][repeat],
                    extracted=sample["filtered_resps"][repeat],
                    conditions=tuple(name for name in sample["conditions"][repeat] if name in CONDITIONS),
                    error=sample["scorer_errors"][repeat],
                )
                for name, sample in by_filter.items()
                if status == "completed"
            },
        )


def _scores(sample: Mapping[str, Any]) -> dict[str, Score]:
    """The scores of one line of lm-eval's."""
    found = _list(sample.get("filtered_resps", []))
    extracted = _text(found[0]) if len(found) == 1 else _text(found)
    is_empty = extracted.strip() in _INVALID
    names = sample.get("metrics")
    if not isinstance(names, list):
        raise TypeError("it does not list its `metrics`")
    return {
        name: Score(
            value=_number(sample.get(name)),
            extracted=None if is_empty else extracted,
            conditions=("extraction_failed",) if is_empty else (),
        )
        for name in names
    }


def _number(value: object) -> float | None:
    """A score; None for anything that lm-eval aggregates otherwise, such as a pair of texts."""
    return float(value) if isinstance(value, int | float) else None


def _prompt(arguments: object) -> str | tuple[dict[str, str], ...]:
    """The first argument of the first request: text, or the messages of a chat, which lm-eval keeps as JSON."""
    while isinstance(arguments, dict | list | tuple):
        if isinstance(arguments, list | tuple) and arguments and _is_chat(arguments):
            return tuple({"role": str(one["role"]), "content": _text(one["content"])} for one in arguments)
        values = list(arguments.values()) if isinstance(arguments, dict) else list(arguments)
        arguments = values[0] if values else ""
    text = _text(arguments)
    if text.startswith("[{"):
        try:
            messages = json.loads(text)
        except ValueError:
            return text
        return _prompt(messages) if _is_chat(messages) else text
    return text


def _is_chat(value: Sequence[Any]) -> bool:
    return all(isinstance(one, dict) and {"role", "content"} <= one.keys() for one in value)


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
