"""The APIs as a server writes them: chunks of a stream and whole bodies, from the same words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from pytest_bench.api import Api
from pytest_bench.api.openai_chat import OpenAIChat
from pytest_bench.api.openai_completions import OpenAICompletions
from pytest_bench.api.sglang import SGLang
from pytest_bench.api.videos import Videos

WORDS = [f" w{number}" for number in range(14)]
"""Enough events for the short cut of `load.deltas`."""
TEXT = "".join(WORDS)
DONE = b"[DONE]"


def to_json(value: object) -> bytes:
    return msgspec.json.encode(value)


def frame(payload: bytes) -> bytes:
    """An event as nearly every server frames it."""
    return b"data: " + payload + b"\n\n"


@dataclass(frozen=True)
class Dialect:
    """How one API writes an answer."""

    name: str
    api: type[Api]

    def chunk(
        self,
        text: str | None,
        *,
        before: str = "",
        total: object = None,
        finish: object = None,
        **more: Any,
    ) -> dict[str, Any]:
        """One event: `text` after the text `before`, `total` tokens so far."""
        raise NotImplementedError

    def body(
        self, text: object, *, finish: object = "stop", total: object = 14, **more: Any
    ) -> dict[str, Any]:
        """A whole answer."""
        raise NotImplementedError

    def chunks(
        self, words: Sequence[str] = WORDS, *, finish: object = None, **more: Any
    ) -> list[dict[str, Any]]:
        """Events with one word each; `finish` is the finish reason in each."""
        return [
            self.chunk(
                word, before="".join(words[:number]), total=self.total(number + 1), finish=finish, **more
            )
            for number, word in enumerate(words)
        ]

    def total(self, number: int) -> int | None:
        """The running total of an ordinary stream: only SGLang's events have one."""
        return None

    def end(self, reason: object = "stop", **more: Any) -> dict[str, Any]:
        """The event without text that ends the answer to `WORDS`."""
        return self.chunk("", before=TEXT, total=self.total(len(WORDS)), finish=reason, **more)

    def usage(self, tokens: object) -> dict[str, Any]:
        """The event with the usage of the whole answer."""
        return {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": tokens}}

    def answer(self) -> list[bytes]:
        """Frames of an ordinary answer, without `[DONE]`."""
        return [frame(to_json(chunk)) for chunk in [*self.chunks(), self.end()]]


class _OpenAI(Dialect):
    def _usage(self, total: object) -> dict[str, Any]:
        return {} if total is None else {"usage": {"prompt_tokens": 5, "completion_tokens": total}}


class Chat(_OpenAI):
    def chunk(self, text, *, before="", total=None, finish=None, **more):
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
        return {"id": "c", "choices": [choice], **self._usage(total), **more}

    def body(self, text, *, finish="stop", total=14, **more):
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        return {"id": "c", "choices": [choice], **self._usage(total), **more}


class Completions(_OpenAI):
    def chunk(self, text, *, before="", total=None, finish=None, **more):
        return {
            "id": "c",
            "choices": [{"index": 0, "text": text, "finish_reason": finish}],
            **self._usage(total),
            **more,
        }

    def body(self, text, *, finish="stop", total=14, **more):
        return self.chunk(text, finish=finish, total=total, **more)


class Generate(Dialect):
    def chunk(self, text, *, before="", total=None, finish=None, **more):
        reason = {"type": finish} if isinstance(finish, str) else finish
        meta = {"id": "c", "finish_reason": reason, "prompt_tokens": 5, "completion_tokens": total}
        return {"text": None if text is None else before + text, "meta_info": meta, **more}

    def body(self, text, *, finish="stop", total=14, **more):
        return {**self.chunk(None, total=total, finish=finish), "text": text, **more}

    def total(self, number):
        return number

    def usage(self, tokens):
        return self.chunk("", before=TEXT, total=tokens, finish="stop")


class Video(Dialect):
    def body(self, text, *, finish="completed", total=None, **more):
        return {"video_id": "v", "status": finish, "video_path": text, **more}


CHAT = Chat("openai-chat", OpenAIChat)
COMPLETIONS = Completions("openai-completions", OpenAICompletions)
GENERATE = Generate("sglang", SGLang)
VIDEO = Video("videos", Videos)

STREAMED = (CHAT, COMPLETIONS, GENERATE)
OPENAI = (CHAT, COMPLETIONS)
ALL = (*STREAMED, VIDEO)
