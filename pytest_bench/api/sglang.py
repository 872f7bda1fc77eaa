"""SGLang's own API: `POST /generate`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar, final

import msgspec

from pytest_bench.api import Decoded, Generation, Malformed, Prompt, later_reason
from pytest_bench.api._wire import (
    Answer,
    Count,
    TokenIds,
    decode,
    error_of,
    foreign,
    mapping,
    max_tokens,
    token_count,
    tokens_of_events,
)
from pytest_bench.errors import UsageError
from pytest_bench.records import Usage

_OF_THE_REQUEST = frozenset(
    {
        "return_logprob",
        "logprob_start_len",
        "top_logprobs_num",
        "token_ids_logprob",
        "return_text_in_logprobs",
        "return_hidden_states",
        "lora_path",
        "session_params",
        "custom_logit_processor",
        "priority",
        "extra_key",
    }
)
"""Parameters that belong to the request itself; all others are sampling parameters."""


class _Finish(msgspec.Struct, gc=False):
    type: str | None = None
    message: str | None = None


class _Meta(msgspec.Struct, gc=False):
    finish_reason: _Finish | str | None = None
    prompt_tokens: Count = None
    completion_tokens: Count = None
    cached_tokens: Count = None


class _Answer(Answer, gc=False):
    """An event of a stream, or a whole body: they have one shape."""

    text: str | None = None
    output_ids: msgspec.Raw = msgspec.Raw()
    """Left undecoded: a stream repeats all ids so far in every event, and one event holds them all."""
    meta_info: _Meta | None = None

    @property
    def known(self) -> bool:
        """Whether it has a field of the API's answers."""
        return self.text is not None or self.meta_info is not None or bool(bytes(self.output_ids))

    def error_line(self) -> str | None:
        """The error that it reports, if any."""
        return error_of(self, known=self.known, text=self.text)


_STREAM = msgspec.json.Decoder(list[_Answer])
_BODY = msgspec.json.Decoder(_Answer)
_IDS: msgspec.json.Decoder[list[int] | None] = msgspec.json.Decoder(TokenIds | None)
_HALF = "\ufffd"
"""What a text so far ends with while a character is incomplete."""
_COMPLETION_TOKENS = "meta_info.completion_tokens"
_EVENT = "event of a /generate stream"
_ANSWER = "body of a /generate answer"


@final
class SGLang:
    """Text or token ids in, their continuation out."""

    name: ClassVar[str] = "sglang"
    path: ClassVar[str] = "/generate"
    streaming: ClassVar[bool] = True
    columns: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "text": "the text to continue",
            "input_ids": "its token ids, instead of text",
            "prompt": "another name of text",
            "max_tokens": "this row's own limit on output tokens",
        }
    )
    required: ClassVar[frozenset[str]] = frozenset({"text", "input_ids", "prompt"})
    delta_key: ClassVar[bytes | None] = None
    polls: ClassVar[bool] = False
    video_seconds: ClassVar[float | None] = None

    @staticmethod
    def encode(row: Mapping[str, Any], generation: Generation) -> bytes:
        """Return the body for one row. Raises `UsageError` unless it has exactly one of text and input_ids.

        Parameters go into `sampling_params`, `max_tokens` as `max_new_tokens`; those in `_OF_THE_REQUEST` stay
        outside.
        """
        body: dict[str, Any] = {**_input(row), "stream": generation.stream}
        sampling: dict[str, Any] = {}
        for name, value in generation.parameters.items():
            if name in _OF_THE_REQUEST:
                body[name] = value
            elif name == "sampling_params":
                sampling |= mapping(generation.parameters, name)
            else:
                sampling["max_new_tokens" if name == "max_tokens" else name] = value
        limit = max_tokens(row)
        if limit is not None:
            sampling["max_new_tokens"] = limit
        return msgspec.json.encode({**body, "sampling_params": sampling})

    @staticmethod
    def prompt(row: Mapping[str, Any]) -> Prompt:
        """Return the text of a row, or its token ids."""
        given: Prompt = next(iter(_input(row).values()))
        return given

    @staticmethod
    def decode_stream(events: bytes) -> Decoded:
        """Read a whole stream in one typed decode. Raises `Malformed`.

        Each event holds the text so far, or only what is new if the server was started that way; which of the two
        follows from the whole stream.
        """
        answers = decode(_STREAM, events, _EVENT)
        decoded = Decoded(event_count=len(answers))
        _conclude(decoded, answers)
        if decoded.error is None and decoded.finish_reason is None:
            for position, answer in enumerate(answers):
                if not answer.known:
                    raise foreign(events, position, _EVENT, "text, output_ids, meta_info and error")
        totals = [_total(answer.meta_info) for answer in answers]
        pieces = [answer.text or "" for answer in answers]
        texts = [(text, total) for text, total in zip(pieces, totals, strict=True) if text]
        if texts and _hold_text_so_far(texts):
            pieces = _new_parts(pieces)
            decoded.content = texts[-1][0]
        else:
            decoded.content = "".join(pieces)
        positions = [position for position, piece in enumerate(pieces) if piece]
        if not positions and decoded.token_ids:
            positions = _growth(totals)
        if positions:
            decoded.first_output_event = positions[0]
            decoded.first_event_text = pieces[positions[0]][: len(decoded.content)]
        decoded.content_events = positions
        decoded.content_event_tokens = tokens_of_events(
            [totals[position] for position in positions],
            last=totals[-1] if totals else None,
            final=None if decoded.usage is None else decoded.usage.output_tokens,
            name=_COMPLETION_TOKENS,
        )
        return decoded

    @staticmethod
    def decode_body(body: bytes, content_type: str) -> Decoded:  # noqa: ARG004 # part of the contract; always JSON here
        """Read an answer that was not streamed. Raises `Malformed`."""
        answer = decode(_BODY, body, _ANSWER)
        decoded = Decoded(content=answer.text or "")
        _conclude(decoded, [answer])
        if decoded.error is None and answer.text is None and not bytes(answer.output_ids):
            raise Malformed(f"{_ANSWER}: has neither text, output_ids nor an error")
        return decoded

    @staticmethod
    def pending(body: bytes) -> str | None:  # noqa: ARG004 # answers are never jobs
        """Return None: an answer is final."""
        return None


def _input(row: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: row[name] for name in ("text", "prompt", "input_ids") if row.get(name) is not None}
    if len(given) != 1:
        found = " and ".join(given) or "neither"
        raise UsageError(f"a /generate row needs either text (or prompt) or input_ids: this one has {found}")
    name, value = next(iter(given.items()))
    if name == "input_ids":
        if not isinstance(value, list | tuple) or not value or not all(type(token) is int for token in value):
            raise UsageError("column input_ids: expected a list of token ids")
        return {"input_ids": value}
    if not isinstance(value, str):
        raise UsageError(f"column {name} holds {type(value).__name__}: expected text")
    return {"text": value}


def _total(meta: _Meta | None) -> int | None:
    """Tokens generated so far."""
    total = None if meta is None else meta.completion_tokens
    return total if type(total) is int else token_count(total, _COMPLETION_TOKENS)


def _growth(totals: list[int | None]) -> list[int]:
    """Positions of the events at which the total grew."""
    positions = []
    highest = 0
    for position, total in enumerate(totals):
        if total is not None and total > highest:
            positions.append(position)
            highest = total
    return positions


def _hold_text_so_far(texts: list[tuple[str, int | None]]) -> bool:
    """Whether events hold the text so far, rather than only what is new.

    `texts` are the texts that are not empty, each with the number of tokens generated so far. The text so far gets
    longer as tokens are generated; only the last event may take back its end, for a stop text. Texts of new tokens do
    not continue each other, or repeat while tokens are generated. Raises `Malformed` for texts that fit neither.
    """
    if _repeat_one_text(texts):
        return False
    longer = broken = 0
    pairs = list(pairwise(text for text, _ in texts))
    for before, after in pairs:
        if after.startswith(before.rstrip(_HALF)):
            longer += len(after) > len(before)
        else:
            broken += 1
    if broken == 1 and longer:
        before, after = pairs[-1]
        broken = 0 if len(after) < len(before) and before.startswith(after) else 1
    if broken:
        if longer > broken:
            raise Malformed(
                f"{_EVENT}: {longer} of {len(pairs)} texts continue the text before them and {broken} do not: they are "
                "neither the text so far nor only what is new"
            )
        return False
    if pairs and not longer:
        first, last = texts[0][1], texts[-1][1]
        return first is not None and first == last
    return True


def _repeat_one_text(texts: list[tuple[str, int | None]]) -> bool:
    """Whether every event holds one text as often as it has new tokens, as degenerate output does."""
    if len(texts) < 2:
        return False
    unit, before = "", 0
    for text, total in texts:
        new = 0 if total is None else total - before
        if new <= 0 or len(text) % new:
            return False
        unit = unit or text[: len(text) // new]
        if len(text) != len(unit) * new or text != unit * new:
            return False
        before += new
    return True


def _new_parts(texts: list[str]) -> list[str]:
    """What each text has in addition to those before it."""
    parts = []
    length = 0
    for text in texts:
        parts.append(text[length:])
        length = max(length, len(text))
    return parts


def _conclude(decoded: Decoded, answers: list[_Answer]) -> None:
    """Read errors, usage, finish reason and token ids."""
    usage: _Meta | None = None
    for answer in answers:
        if answer.error is not None or answer.error_code or answer.message or answer.detail:
            reported = answer.error_line()
            if reported is not None:
                decoded.error = reported
                answer.text = None  # it is not part of the output
        meta = answer.meta_info
        if meta is None:
            continue
        if meta.completion_tokens is not None or meta.prompt_tokens is not None:
            usage = meta
        if meta.finish_reason is None:
            continue
        finish = (
            meta.finish_reason if isinstance(meta.finish_reason, _Finish) else _Finish(meta.finish_reason)
        )
        decoded.finish_reason = later_reason(decoded.finish_reason, finish.type)
        if finish.type == "abort" and decoded.error is None:
            decoded.error = f"abort: {finish.message or 'the server gave no reason'}"
    if usage is not None:
        decoded.usage = Usage(
            input_tokens=token_count(usage.prompt_tokens, "meta_info.prompt_tokens"),
            output_tokens=token_count(usage.completion_tokens, _COMPLETION_TOKENS),
            cached_tokens=token_count(usage.cached_tokens, "meta_info.cached_tokens"),
        )
    decoded.token_ids = _token_ids(
        [answer.output_ids for answer in answers if bytes(answer.output_ids)],
        None if decoded.usage is None else decoded.usage.output_tokens,
    )


def _token_ids(lists: list[msgspec.Raw], total: int | None) -> list[int]:
    """All output ids. Servers send all so far or only new ones, independently of how they send the text."""
    if not lists:
        return []
    last = _ids(lists[-1])
    if len(lists) == 1 or len(last) == total:
        return last
    parts = [_ids(part) for part in lists]
    if total is None and all(after[: len(before)] == before for before, after in pairwise(parts)):
        return last
    return [token for part in parts for token in part]


def _ids(part: msgspec.Raw) -> list[int]:
    return decode(_IDS, bytes(part), "output_ids of a /generate answer") or []
