"""SGLang's `/generate` as a server reads and writes it."""

from __future__ import annotations

from typing import Any

import msgspec

from pytest_bench.simulator.behaviour import Behaviour
from pytest_bench.simulator.openai import stop_strings
from pytest_bench.simulator.output import Asked, Output, Timing, token_id
from pytest_bench.simulator.script import Body, Stream


class _Sampling(msgspec.Struct):
    max_new_tokens: int | None = None
    stop: str | list[str] | None = None


class GenerateRequest(msgspec.Struct, kw_only=True):
    """The fields of a request that the simulator uses."""

    text: str | None = None
    input_ids: list[int] | None = None
    sampling_params: _Sampling | None = None
    stream: bool = False

    def read(self) -> Asked:
        """Read the request. Raises `ValueError` unless it has either text or ids."""
        if (self.text is None) == (self.input_ids is None):
            raise ValueError("expected either text or input_ids")
        ids = self.input_ids or []
        prompt = self.text if self.text is not None else " ".join(map(str, ids))
        sampling = self.sampling_params or _Sampling()
        limit = sampling.max_new_tokens
        if limit is not None and limit < 1:
            raise ValueError(f"max_new_tokens is {limit}: expected 1 or more")
        return Asked(
            prompt=prompt,
            prompt_tokens=len(ids) if self.text is None else len(prompt.split()),
            max_tokens=limit,
            stream=self.stream,
            stop=stop_strings(sampling.stop),
        )


def stream(
    asked: Asked, output: Output, behaviour: Behaviour, timing: Timing, *, number: int, cached: bool
) -> Stream:
    """Return events with the text so far or, with the knob `incremental`, only new text."""
    size = behaviour.tokens_per_event
    ends = [*range(size, len(output.pieces), size), len(output.pieces)]
    payloads, counts = [], []
    first = 0
    for end in ends:
        start = first if behaviour.incremental else 0
        payloads.append(_answer(asked, output, start, end, number=number, cached=cached))
        counts.append(end - first)
        first = end
    due = timing.schedule(len(ends), size)
    return Stream(
        payloads=[*payloads, b"[DONE]"], due_ns=[*due, due[-1]], tokens=[*counts, 0], tail=len(payloads)
    )


def body(asked: Asked, output: Output, timing: Timing, *, number: int, cached: bool) -> Body:
    """Return the same answer in one piece."""
    count = len(output.pieces)
    data = _answer(asked, output, 0, count, number=number, cached=cached)
    return Body(data=data, due_ns=timing.due_ns(max(0, count - 1)), tokens=count)


def _answer(asked: Asked, output: Output, start: int, end: int, *, number: int, cached: bool) -> bytes:
    finish: dict[str, Any] | None = None
    if end == len(output.pieces):
        finish = {"type": output.finish_reason}
        if output.finish_reason == "length":
            finish["length"] = end
    pieces = output.pieces[start:end]
    return msgspec.json.encode(
        {
            "text": "".join(pieces),
            "output_ids": [token_id(piece) for piece in pieces],
            "meta_info": {
                "id": str(number),
                "finish_reason": finish,
                "prompt_tokens": asked.prompt_tokens,
                "completion_tokens": end,
                "cached_tokens": asked.prompt_tokens if cached else 0,
            },
        }
    )
