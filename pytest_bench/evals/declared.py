"""What a planned eval point asks and how it is judged, read from the fields of its declaration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

import msgspec

from pytest_bench.api import Api
from pytest_bench.checkpoints import Generation, Key
from pytest_bench.errors import UsageError
from pytest_bench.evals.finishing import Judging
from pytest_bench.evals.gates import Gate, GateKind
from pytest_bench.evals.measure import Allowance
from pytest_bench.evals.tasks import Item, Message, Task, build_items, generation_of, keys_of
from pytest_bench.scoring import SCORINGS, Scorings, build_scoring
from pytest_bench.suite.plan import Point
from pytest_bench.workload import Retry

_TASK_FIELDS = (
    "template",
    "target",
    "id_column",
    "choices_column",
    "answer_column",
    "shuffle_seed",
    "few_shot_delimiter",
    "target_delimiter",
    "repeats",
)
_RETRIED = {
    "timeout": ("timeout", "connect_timeout", "no_progress"),
    "reset": ("reset", "connect"),
    "429": ("rate_limited",),
    "5xx": ("server_error",),
}
"""Types of failures (`records.ERROR_TYPES`) by the word of a suite."""


class Asked(NamedTuple):
    """Everything that a point asks: the same from the suite before a run and from the evidence after it."""

    task: Task
    items: list[Item]
    few_shots: list[Mapping[str, Any]]
    keys: list[Key]
    """All requests in order."""
    generation: Generation
    dataset_items: int
    """Items of the dataset before a limit."""


class _Options(msgspec.Struct, kw_only=True):
    """The fields that `EvalFields` writes into the plan and that are read here."""

    task: str | None = None
    messages: tuple[Message, ...] | None = None
    generation: dict[str, Any] = {}
    scorers: tuple[dict[str, Any], ...] = ()
    unscored: Allowance | None = None
    retry: dict[str, Any] | None = None
    fail_on_error: Allowance | None = None
    item_time_limit_s: float | None = None
    confidence: float = 0.95
    intervals: str = "t"
    pass_at: tuple[int, ...] = ()
    few_shots: dict[str, Any] | None = None
    gates: tuple[dict[str, Any], ...] = ()


def few_shots_dataset(point: Point) -> str | None:
    """Name of the dataset with the point's examples; None if it shows none."""
    shots = _read(point).few_shots
    return None if shots is None else str(shots["dataset"])


def task_of(point: Point, scorings: Scorings = SCORINGS) -> Task:
    """The task of a point. Raises `UsageError` for one that the plan should have refused, and for a scorer that is not
    one of `scorings`."""
    options = _read(point)
    fields = {name: point.options[name] for name in _TASK_FIELDS if name in point.options}
    return Task(
        name=options.task or point.name.partition("/")[0],
        origin=point.origin,
        messages=options.messages or (),
        parameters=_parameters(options.generation),
        scorings=tuple(
            build_scoring(
                scorer["name"],
                {name: value for name, value in scorer.items() if name != "name" and value is not None},
                origin=point.origin,
                among=scorings,
            )
            for scorer in options.scorers
        ),
        **fields,
    )


def ask(
    point: Point,
    rows: Sequence[Mapping[str, Any]],
    few_shots: Sequence[Mapping[str, Any]],
    *,
    model: str,
    revision: str | None,
    scorings: Scorings = SCORINGS,
) -> Asked:
    """Render everything that the point asks of `model`. `rows` and `few_shots` are all rows of its two datasets.

    Raises `UsageError` and `DatasetError` for rows that the templates cannot render, for fewer requests than the
    concurrency, and for a scorer that is not one of `scorings`.
    """
    if point.load is None or point.load.concurrency is None:
        raise UsageError(f"{point.origin}: an eval needs a concurrency")
    task = task_of(point, scorings)
    shown = _shown(point, few_shots)
    limit = point.options.get("limit")
    items = build_items(task, rows if limit is None else rows[:limit], shown)
    concurrency = point.load.concurrency
    return Asked(
        task=task,
        items=items,
        few_shots=shown,
        keys=keys_of(task, items, concurrency),
        generation=generation_of(
            task,
            items,
            shown,
            model=model,
            revision=revision,
            concurrency=concurrency,
            item_time_limit_s=item_time_limit_of(point),
        ),
        dataset_items=len(rows),
    )


def row_of(item: Item, api: Api, origin: str) -> dict[str, Any]:
    """An item's prompt as a row of the API. Raises `UsageError` if the API cannot express it."""
    column = (
        "messages" if not isinstance(item.prompt, str) else "prompt" if "prompt" in api.columns else "text"
    )
    if column not in api.columns:
        what = "messages" if column == "messages" else "a text prompt"
        raise UsageError(f"{origin}: the API {api.name!r} does not take {what}")
    return {column: item.prompt if isinstance(item.prompt, str) else list(item.prompt)}


def judging_of(point: Point) -> Judging:
    """How the scores of a point become metrics."""
    options = _read(point)
    return Judging(
        allowance=options.unscored or Allowance(),
        confidence=options.confidence,
        spread="bootstrap" if options.intervals == "bootstrap" else "t",
        pass_at=options.pass_at,
    )


def gates_of(point: Point) -> list[Gate]:
    """The gates of a point, in order."""
    return [
        Gate(
            kind=kind,
            metric=declared["metric"],
            limit=declared[kind],
            confidence=declared.get("confidence", 0.95),
            origin=point.origin,
        )
        for declared in _read(point).gates
        for kind in get_args(GateKind)
        if declared.get(kind) is not None
    ]


def baselines_of(point: Point) -> dict[int, tuple[str, str]]:
    """Results folder and point id of the baseline of each gate that has one, by position of the gate."""
    return {
        number: (declared["baseline"], declared.get("baseline_point") or point.id)
        for number, declared in enumerate(_read(point).gates)
        if declared.get("baseline") is not None
    }


def retry_of(point: Point) -> Retry:
    """Which failed requests are sent again."""
    declared = _read(point).retry
    if declared is None:
        return Retry()
    types = [kind for word in declared["on"] for kind in _RETRIED[word]]
    return Retry(
        attempts=declared["attempts"],
        on=tuple(types),
        backoff_s=declared["backoff_s"],
        max_wait_s=declared["max_wait_s"],
    )


def item_time_limit_of(point: Point) -> float | None:
    """Seconds after which an answer is cut off; None: no limit."""
    return _read(point).item_time_limit_s


def most_failures(point: Point, requests: int) -> int | None:
    """Number of failed requests that do not stop the point; None: any."""
    allowed = _read(point).fail_on_error
    if allowed is None:
        return None
    return allowed.count if allowed.count is not None else math.floor((allowed.share or 0) * requests)


def _read(point: Point) -> _Options:
    try:
        return msgspec.convert(point.options, _Options)
    except (msgspec.ValidationError, ValueError) as error:
        raise UsageError(f"{point.origin}: the plan's eval {point.id} is not one: {error}") from error


def _shown(point: Point, few_shots: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    declared = _read(point).few_shots
    if declared is None:
        return []
    count = declared.get("count")
    if count is not None and count > len(few_shots):
        raise UsageError(
            f"{point.origin}: {count} few-shot examples are to be shown, and the dataset "
            f"{declared['dataset']!r} has {len(few_shots)}"
        )
    return list(few_shots if count is None else few_shots[:count])


def _parameters(generation: Mapping[str, Any]) -> dict[str, Any]:
    named = {
        name: value
        for name, value in generation.items()
        if value is not None and name not in {"stream", "extra_body"}
    }
    return {**named, **generation.get("extra_body", {})}
