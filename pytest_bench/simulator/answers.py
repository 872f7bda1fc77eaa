"""Answers from a file: which of them a prompt gets, and how often each was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.files import STRICT_JSON, read_plain, wrong_in_line
from pytest_bench.simulator.behaviour import FAULTS
from pytest_bench.simulator.output import Asked, Output, pieces_of
from pytest_bench.wording import did_you_mean

LARGEST_FILE = 1 << 30
"""Bytes of a file of answers."""

_READINESS = "Hello"
"""Prompt of the one-token request by which a client checks that the server is ready."""

FIELDS: dict[str, str] = {
    "prompt": (
        "the whole prompt or a part of it that no other item has: the question. Of several that a prompt holds, "
        "the last counts, so that a question is found behind few-shot examples"
    ),
    "item": "name of the item in `/received` and in the log; unset: the prompt",
    "content": "the answer; null as servers send it that produced reasoning only",
    "reasoning": "reasoning before the content: a field of its own in chats, in `<think>` tags elsewhere",
    "finish_reason": (
        "`stop`, `length` or `content_filter`; unset: `stop`. `max_tokens` and `stop` of a request also end the answer"
    ),
    "fault": "a fault from the table below that strikes requests for this item",
    "fault_requests": "strike only the first so many of them; unset: all",
}
"""Fields of a line, with their meaning."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the file. `FIELDS` describes it."""

    prompt: str
    item: str | None = None
    content: str | UnsetType | None = UNSET
    reasoning: str = ""
    finish_reason: Literal["stop", "length", "content_filter"] = "stop"
    fault: str | None = None
    fault_requests: int | None = None

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise ValueError("`prompt` is blank; expected the text that asks for this answer")
        if self.fault is not None and self.fault not in FAULTS:
            raise ValueError(f"unknown fault {self.fault!r}{did_you_mean(self.fault, FAULTS)}")
        if self.fault_requests is not None and (self.fault is None or self.fault_requests < 1):
            raise ValueError("`fault_requests` counts requests under a `fault`; expected both, and 1 or more")
        if self.content is UNSET and (self.fault is None or self.fault_requests is not None):
            raise ValueError("`content` is missing; expected a text, null, or a `fault` for every request")

    @property
    def name(self) -> str:
        """The item, or the prompt if the item has no name."""
        return self.prompt if self.item is None else self.item

    def fault_of(self, earlier: int) -> str | None:
        """The fault of a request, given the number of earlier requests for this item."""
        is_over = self.fault_requests is not None and earlier >= self.fault_requests
        return None if is_over else self.fault

    def output(self, asked: Asked) -> Output:
        """The output before `max_tokens` cuts it. A stop string ends it, in the reasoning, too."""
        reasoning, is_over = _stopped(self.reasoning, asked.stop)
        content = None if is_over else "" if self.content is UNSET else self.content
        if content is not None:
            content, is_over = _stopped(content, asked.stop)
        if reasoning and not asked.separate_reasoning:
            content = f"<think>{reasoning}" + ("" if content is None else f"</think>{content}")
            reasoning = ""
        thoughts = pieces_of(reasoning)
        return Output(
            pieces=thoughts + pieces_of(content or ""),
            reasoning_tokens=len(thoughts),
            finish_reason="stop" if is_over else self.finish_reason,
            content_is_null=content is None,
        )


class Answers:
    """All answers, by prompt."""

    def __init__(self, path: Path) -> None:
        """Read the file, JSON lines. Raises `UsageError` with file and line."""
        self.path = path
        self._answers: dict[str, Answer] = {}
        names: dict[str, int] = {}
        for number, line in enumerate(_read(path).split(b"\n"), 1):
            if not line.strip():
                continue
            try:
                answer = msgspec.convert(STRICT_JSON.decode(line.decode()), Answer)
            except (ValueError, RecursionError) as error:
                raise UsageError(
                    f"{path}:{number}: is not an answer of the simulator: {wrong_in_line(error)}; expected an object "
                    f"of {', '.join(FIELDS)}"
                ) from error
            first = names.setdefault(answer.name, number)
            if first != number or answer.prompt in self._answers:
                raise UsageError(
                    f"{path}:{number}: {answer.name[:200]!r} has an answer already; expected one line for each item"
                )
            self._answers[answer.prompt] = answer
        if not self._answers:
            raise UsageError(f"{path}: holds no answers; expected one JSON object a line")

    def find(self, asked: Asked) -> Answer | None:
        """By the whole prompt, then by the last message, then by the known prompt that ends last inside the prompt."""
        for prompt in (asked.prompt, asked.last):
            if prompt in self._answers:
                return self._answers[prompt]
        best, best_end = None, (0, 0)
        for known, answer in self._answers.items():
            start = asked.prompt.rfind(known)
            end = (start + len(known), len(known))
            if start >= 0 and end > best_end:
                best, best_end = answer, end
        return best

    def may_be_invented(self, asked: Asked) -> bool:
        """Whether the request only checks that the server is ready."""
        return asked.prompt == _READINESS and asked.max_tokens == 1

    def refusal(self, asked: Asked) -> str:
        """Why a prompt without an answer is refused."""
        return f"{self.path} has no answer to this prompt, which ends in {asked.prompt[-200:]!r}; add a line for it"


class Asker(msgspec.Struct, kw_only=True):
    """The requests for one item, in the order of arrival."""

    item: str
    received: int = 0
    completed: int = 0
    """Of these, those whose whole answer was written, without a fault."""
    request_ids: list[str] = []


class Received:
    """Counts the requests for every item, as evidence of what a client asked for again."""

    def __init__(self) -> None:
        self._by_item: dict[str, Asker] = {}
        self._unanswered: list[str] = []

    def add(self, item: str, request_id: str) -> int:
        """Count a request; returns the number of earlier ones for this item."""
        asker = self._by_item.setdefault(item, Asker(item=item))
        asker.received += 1
        asker.request_ids.append(request_id)
        return asker.received - 1

    def add_unanswered(self, request_id: str) -> None:
        """Count a request for which the file has no answer."""
        self._unanswered.append(request_id)

    def complete(self, item: str) -> None:
        self._by_item[item].completed += 1

    def body(self) -> bytes:
        """JSON of `{"items": [{item, received, completed, request_ids}], "unanswered": [request ids]}`."""
        return msgspec.json.encode({"items": list(self._by_item.values()), "unanswered": self._unanswered})


def _read(path: Path) -> bytes:
    try:
        return read_plain(path, LARGEST_FILE)
    except OSError as error:
        raise UsageError(
            f"{path}: the simulator's answers cannot be read: {error.strerror or error}"
        ) from error
    except EvidenceError as error:
        raise UsageError(f"the simulator's answers cannot be read: {error}") from error


def _stopped(text: str, stop: tuple[str, ...]) -> tuple[str, bool]:
    """`text` up to its first stop string, and whether there is one."""
    places = [place for word in stop if (place := text.find(word)) >= 0]
    return (text[: min(places)], True) if places else (text, False)
