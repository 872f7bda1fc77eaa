"""What a pool worker can be asked, each task as steps: Python's part here, calls into a library handed out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pytest_bench.errors import TokensError
from pytest_bench.tokens.proof import Prepared
from pytest_bench.tokens.ranges import (
    Steps,
    TextCounter,
    count_each,
    count_range,
    recount_lines,
    recount_texts,
)
from pytest_bench.tokens.wire import (
    Answer,
    CountRange,
    Counts,
    CountTexts,
    Encode,
    Ids,
    Load,
    Loaded,
    RecountLines,
    RecountTexts,
    Task,
)


class Tasks:
    """The tokenizers of one worker, and the work on them."""

    def __init__(self, prepare_tokenizer: Callable[[Load], Prepared], note: str | None) -> None:
        self._prepare = prepare_tokenizer
        self._note = note
        self._loaded: dict[str, tuple[Prepared, TextCounter]] = {}

    def steps(self, task: Task) -> Steps[Answer]:
        """Carry out one task. Raises `TokensError`, and whatever the library raises."""
        if isinstance(task, Load):
            return (yield from self._load(task))
        if task.key not in self._loaded:
            raise TokensError(f"tokenizer {task.key} is not loaded in this worker")
        prepared, counter = self._loaded[task.key]
        match task:
            case CountRange():
                return (yield from count_range(task, counter))
            case CountTexts():
                counts, failures = yield partial(count_each, prepared.backend, task.texts)
                return Counts(counts=counts, failures=failures)
            case RecountLines():
                return (yield from recount_lines(task, prepared))
            case RecountTexts():
                return (yield from recount_texts(task, prepared))
            case Encode():
                return Ids(ids=(yield partial(prepared.backend.encode, task.texts)))

    def _load(self, task: Load) -> Steps[Loaded]:
        prepared: Prepared = yield partial(self._prepare, task)
        self._loaded[task.key] = prepared, TextCounter(prepared.backend)
        return Loaded(
            key=task.key,
            backend=prepared.backend.name,
            reason=prepared.reason,
            probes=prepared.probes,
            vocabulary=prepared.authority.vocabulary,
            note=self._note,
        )
