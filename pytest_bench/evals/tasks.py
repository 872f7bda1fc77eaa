"""An eval task: which prompts its rows become, which targets they have, and how answers are scored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from jinja2 import Template

from pytest_bench.checkpoints import Generation, Key
from pytest_bench.errors import DatasetError, UsageError
from pytest_bench.evals.templates import compile_template, render
from pytest_bench.files import canonical_json, digest
from pytest_bench.scoring import Scoring, shuffled_choices

_HASH_LENGTH = 16
"""Hex digits of an item's hash in keys: 64 bits. Fingerprints hold a digest of the whole hashes."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a chat prompt; `content` is a template."""

    role: str
    content: str


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, and how answers are scored. Either `template` or `messages` is given.

    With a `template`, the prompt is the few-shot examples and the item, each rendered, joined by
    `few_shot_delimiter`; an example ends in `target_delimiter` and its target. With `messages`, the examples come
    after the leading system messages, each as the remaining messages and an assistant message with the target.
    """

    name: str
    origin: str = ""
    """`file:line:column` of the declaration, for messages."""
    template: str | None = None
    messages: tuple[Message, ...] = ()
    target: str
    """Template of the target."""
    id_column: str | None = None
    """Column with the item's id; None: its position, from 0."""
    choices_column: str | None = None
    answer_column: str | None = None
    """Column with the index of the right choice, from 0, if choices are shuffled."""
    shuffle_seed: int | None = None
    """Shuffle the choices of each item; templates then see `choices`, `answer_index` and `answer_letter`."""
    few_shot_delimiter: str = "\n\n"
    target_delimiter: str = " "
    parameters: dict[str, Any] = {}
    """Generation parameters of the request, stop strings among them."""
    repeats: int = 1
    seed: int = 0
    scorings: tuple[Scoring, ...]

    def __post_init__(self) -> None:
        if (self.template is None) == (not self.messages):
            raise UsageError(f"{self.origin}: task {self.name!r} needs either `template` or `messages`")
        if self.repeats < 1:
            raise UsageError(
                f"{self.origin}: task {self.name!r}: `repeats` is {self.repeats}; expected 1 or more"
            )
        if not self.scorings:
            raise UsageError(f"{self.origin}: task {self.name!r} has no scorer")
        keys = [scoring.key for scoring in self.scorings]
        if repeated := {key for key in keys if keys.count(key) > 1}:
            raise UsageError(
                f"{self.origin}: task {self.name!r}: two scorers report {min(repeated)!r}; use one of them"
            )
        if self.shuffle_seed is not None and not (self.choices_column and self.answer_column):
            raise UsageError(
                f"{self.origin}: task {self.name!r} shuffles choices and needs `choices_column` and `answer_column`"
            )

    @property
    def prompt_source(self) -> str:
        """The prompt's templates, as text that the digest of a scoring covers."""
        return canonical_json([self.template, self.messages, self.target]).decode()


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One row, ready to be asked and scored."""

    index: int
    id: str
    content: str
    """sha256 (hex) of the row as canonical JSON."""
    row: dict[str, Any]
    prompt: str | tuple[dict[str, str], ...]
    """Text, or the messages of a chat."""
    target: str
    choices: tuple[str, ...] = ()

    def key(self, repeat: int, concurrency: int) -> Key:
        return Key(item=self.id, content=self.content[:_HASH_LENGTH], repeat=repeat, concurrency=concurrency)


class _Rendered(NamedTuple):
    prompt: str
    messages: list[dict[str, str]]
    target: str
    choices: tuple[str, ...]


class _Templates:
    """The compiled templates of a task."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.text = (
            None if task.template is None else compile_template(task.template, f"{task.origin}: template")
        )
        self.messages = [
            (message.role, compile_template(message.content, f"{task.origin}: messages[{number}]"))
            for number, message in enumerate(task.messages)
        ]
        self.target = compile_template(task.target, f"{task.origin}: target")

    def render(self, row: Mapping[str, Any], item_id: str, origin: str) -> _Rendered:
        columns, choices = self._columns(row, item_id, origin)

        def text(template: Template | None) -> str:
            return "" if template is None else render(template, columns, origin)

        return _Rendered(
            prompt=text(self.text),
            messages=[{"role": role, "content": text(template)} for role, template in self.messages],
            target=text(self.target),
            choices=choices,
        )

    def _columns(
        self, row: Mapping[str, Any], item_id: str, origin: str
    ) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        task = self.task
        if task.choices_column is None:
            return row, ()
        choices = row.get(task.choices_column)
        if (
            not isinstance(choices, list)
            or not all(isinstance(choice, str) for choice in choices)
            or not choices
        ):
            raise DatasetError(f"{origin}: column {task.choices_column!r} must be a list of texts")
        if task.shuffle_seed is None or task.answer_column is None:
            return row, tuple(choices)
        answer = row.get(task.answer_column)
        if type(answer) is not int or not 0 <= answer < len(choices):
            raise DatasetError(
                f"{origin}: column {task.answer_column!r} is {answer!r}; expected an index from 0 to {len(choices) - 1}"
            )
        shuffled, position = shuffled_choices(task.shuffle_seed, item_id, choices, answer)
        extra = {"choices": shuffled, "answer_index": position, "answer_letter": chr(ord("A") + position)}
        return {**row, **extra, task.choices_column: shuffled}, tuple(shuffled)


def build_items(
    task: Task, rows: Sequence[Mapping[str, Any]], few_shots: Sequence[Mapping[str, Any]] = ()
) -> list[Item]:
    """Render every row. Raises `DatasetError` or `UsageError` naming the row, counted from 1.

    `few_shots` are the examples, all of which are shown, in order. An example that is also an item would give its
    answer away, and is refused.
    """
    templates = _Templates(task)
    examples = [
        templates.render(row, f"few-shot {number}", f"{task.origin}: few-shot example {number}")
        for number, row in enumerate(few_shots, start=1)
    ]
    shown = {_content(row) for row in few_shots}
    items: list[Item] = []
    seen: dict[str, int] = {}
    for index, row in enumerate(rows):
        origin = f"{task.origin}: task {task.name!r}: row {index + 1}"
        item_id = _id(task, row, index, origin)
        first = seen.setdefault(item_id, index)
        if first != index:
            raise DatasetError(
                f"{origin}: the id {item_id!r} is also that of row {first + 1}; ids must be unique"
            )
        content = _content(row)
        if content in shown:
            raise DatasetError(f"{origin}: is also a few-shot example; remove it from one of them")
        own = templates.render(row, item_id, origin)
        items.append(
            Item(
                index=index,
                id=item_id,
                content=content,
                row=dict(row),
                prompt=_prompt(task, examples, own),
                target=own.target,
                choices=own.choices,
            )
        )
    if not items:
        raise DatasetError(f"{task.origin}: task {task.name!r} has no items")
    return items


def keys_of(task: Task, items: Sequence[Item], concurrency: int) -> list[Key]:
    """All requests of a point, repeat after repeat. Raises `UsageError` if they cannot reach the concurrency."""
    if len(items) * task.repeats < concurrency:
        raise UsageError(
            f"{task.origin}: task {task.name!r} has {len(items)} items in {task.repeats} repeats, fewer than the "
            f"concurrency {concurrency}; lower the concurrency or raise `repeats`"
        )
    return [item.key(repeat, concurrency) for repeat in range(task.repeats) for item in items]


def generation_of(
    task: Task,
    items: Sequence[Item],
    few_shots: Sequence[Mapping[str, Any]],
    *,
    model: str,
    revision: str | None,
    concurrency: int,
    item_time_limit_s: float | None = None,
) -> Generation:
    """The fingerprint of everything that answers depend on."""
    return Generation(
        items=_digest_all(item.content.encode() for item in items),
        prompts=_digest_all(canonical_json(item.prompt) for item in items),
        few_shots=digest([dict(row) for row in few_shots]),
        parameters=canonical_json(task.parameters).decode(),
        seed=task.seed,
        model=model,
        revision=revision,
        repeats=task.repeats,
        concurrency=concurrency,
        item_time_limit_s=item_time_limit_s,
    )


def scoring_of(task: Task) -> dict[str, str]:
    """The fingerprint of the scorings: digest by `metric,filter`."""
    return {scoring.key: scoring.digest(task.prompt_source) for scoring in task.scorings}


def _prompt(task: Task, examples: Sequence[_Rendered], own: _Rendered) -> str | tuple[dict[str, str], ...]:
    if task.template is not None:
        shown = [f"{example.prompt}{task.target_delimiter}{example.target}" for example in examples]
        return task.few_shot_delimiter.join([*shown, own.prompt])
    leading = next(
        (place for place, message in enumerate(own.messages) if message["role"] != "system"),
        len(own.messages),
    )
    shots = [
        message
        for example in examples
        for message in (*example.messages[leading:], {"role": "assistant", "content": example.target})
    ]
    return (*own.messages[:leading], *shots, *own.messages[leading:])


def _id(task: Task, row: Mapping[str, Any], index: int, origin: str) -> str:
    if task.id_column is None:
        return str(index)
    value = row.get(task.id_column)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise DatasetError(
            f"{origin}: column {task.id_column!r} is {value!r}; expected an id, text or a whole number"
        )
    return str(value)


def _content(row: Mapping[str, Any]) -> str:
    return digest(dict(row))


def _digest_all(parts: Iterator[bytes]) -> str:
    sha256 = hashlib.sha256()
    for part in parts:
        sha256.update(part + b"\n")
    return sha256.hexdigest()
