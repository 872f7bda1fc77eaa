"""Reads scored answers from a checkpoint, and adds up what its sessions cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from pytest_bench.checkpoints import Contents, Key, Session
from pytest_bench.checkpoints.contents import read_lines, read_payloads
from pytest_bench.errors import EvidenceError
from pytest_bench.evals.measure import Answered, Status
from pytest_bench.evals.tasks import Item, Task
from pytest_bench.records import RequestRecord, TextRecord
from pytest_bench.scoring import Response


class ResultPayload(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of a `result` line, and of an `error` line of a request that failed: the record and the text of one
    request, in one line, so that both are durable or neither is."""

    request: RequestRecord
    text: TextRecord | None = None


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What all sessions of a point took, added up."""

    sessions: int
    attempts: int
    """Requests that ended, failed and interrupted ones included."""
    failed: int
    elapsed_s: float
    """Sum over the sessions, each from its first request's start to its last request's end."""
    tail_s: float
    """The part of it after the last request of a session was sent, when fewer are in flight than the concurrency."""
    input_tokens: int | None
    """As the server reported them; None if it left them out of an answer."""
    output_tokens: int | None

    @property
    def tail_share(self) -> float | None:
        """Share of the time that is tail; None if no time has passed."""
        return self.tail_s / self.elapsed_s if self.elapsed_s > 0 else None


class _Span(NamedTuple):
    """One session, in nanoseconds."""

    first_sent: int
    last_sent: int
    last_end: int

    def extended(self, sent: int, end: int) -> _Span:
        """The span with one more request in it."""
        return _Span(min(self.first_sent, sent), max(self.last_sent, sent), max(self.last_end, end))


class ScoredItem(msgspec.Struct, frozen=True, kw_only=True):
    """One request's answer with its scores, as results and sample views show it."""

    item: Item
    repeat: int
    response: Response | None
    """None unless completed."""
    answered: Answered


def score_answers(
    task: Task, items: Sequence[Item], keys: Sequence[Key], path: Path, contents: Contents
) -> Iterator[ScoredItem]:
    """Score every request in the order of `keys`; those without an answer are `failed` or `missing`.

    Raises `EvidenceError` for an answer that is not a request record with a text.
    """
    by_id = {item.id: item for item in items}
    done = [key for key in keys if key in contents.results]
    payloads = read_payloads(path, [contents.results[key] for key in done])
    decode = msgspec.json.Decoder(ResultPayload).decode
    for key in keys:
        item = by_id[key.item]
        response = response_of(decode, next(payloads), key, path) if key in contents.results else None
        status: Status = "completed" if response else "failed" if key in contents.errors else "missing"
        scores = (
            {scoring.key: scoring.score(response, item.target, item.choices) for scoring in task.scorings}
            if response
            else {}
        )
        yield ScoredItem(
            item=item,
            repeat=key.repeat,
            response=response,
            answered=Answered(
                item=key.item,
                repeat=key.repeat,
                status=status,
                attempts=contents.attempts.get(key, 0),
                scores=scores,
            ),
        )


def account(path: Path) -> Account:
    """Add up all sessions of a checkpoint."""
    decode = msgspec.json.Decoder(_Cost).decode
    spans: list[_Span | None] = []
    attempts = failed = input_tokens = output_tokens = 0
    known = True
    for line in read_lines(path):
        if line.kind == "session":
            spans.append(None)
        if line.kind not in {"result", "error"}:
            continue
        attempts += 1
        failed += line.kind == "error"
        request = decode(line.payload).request
        if request is None:
            continue
        sent_ns, end_ns = request.send_start_ns, request.end_ns
        spans[-1] = (spans[-1] or _Span(sent_ns, sent_ns, end_ns)).extended(sent_ns, end_ns)
        usage = request.usage
        if usage is not None:
            input_tokens += usage.input_tokens or 0
            output_tokens += usage.output_tokens or 0
        known &= line.kind == "error" or (usage is not None and usage.output_tokens is not None)
    return Account(
        sessions=len(spans),
        attempts=attempts,
        failed=failed,
        elapsed_s=sum(span.last_end - span.first_sent for span in filter(None, spans)) / 1e9,
        tail_s=sum(span.last_end - span.last_sent for span in filter(None, spans)) / 1e9,
        input_tokens=input_tokens if known else None,
        output_tokens=output_tokens if known else None,
    )


def requests_of(path: Path, nonce: str, concurrency: int) -> int:
    """The most requests that the session `nonce`, which did not finish, can have sent: those that ended, and as many
    as may have been in flight."""
    ended, current = 0, ""
    for line in read_lines(path):
        if line.kind == "session":
            current = msgspec.json.decode(line.payload, type=Session).nonce
        elif line.kind in {"result", "error"} and current == nonce:
            ended += 1
    return ended + concurrency


def unserialisable(path: Path) -> list[Key]:
    """Requests of which an answer could not be written to the checkpoint; their lines hold the traceback."""
    return [
        line.key
        for line in read_lines(path)
        if line.key is not None
        and line.kind == "error"
        and bytes(line.payload).startswith(b'{"unserialisable":')
    ]


class _Cost(msgspec.Struct, frozen=True):
    request: RequestRecord | None = None
    """None in the line of a request that could not be serialised."""


def response_of(decode: Callable[[bytes], ResultPayload], payload: bytes, key: Key, path: Path) -> Response:
    """The response in the payload of a `result` line. Raises `EvidenceError` if there is none."""
    try:
        result = decode(payload)
    except msgspec.MsgspecError as error:
        raise EvidenceError(
            f"{path}: the result of {key} is not a request record with a text: {error}"
        ) from error
    if result.text is None:
        raise EvidenceError(f"{path}: the result of {key} has no text")
    return Response(
        content=result.text.content,
        reasoning=result.text.reasoning,
        finish_reason=result.request.finish_reason,
        limit=result.request.limit,
    )
