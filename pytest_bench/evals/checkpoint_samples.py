"""Samples of a native eval from its checkpoint, at any time: while it runs, after a kill, and when it has ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pytest_bench.checkpoints import Generation, Key, Line
from pytest_bench.checkpoints.contents import Header, read_lines
from pytest_bench.errors import EvidenceError
from pytest_bench.evals.answers import ResultPayload, response_of
from pytest_bench.evals.declared import ask
from pytest_bench.evals.evidence import FEW_SHOTS, ROWS, read_rows
from pytest_bench.evals.results import row_hash
from pytest_bench.evals.samples import Sample
from pytest_bench.results.layout import CHECKPOINT
from pytest_bench.scoring import Scorings
from pytest_bench.suite.plan import Point


def read_checkpoint_samples(point: Point, folder: Path, scorings: Scorings) -> Iterator[Sample]:
    """The sample of every request of a point in order; those without an outcome are `missing`.

    `folder` holds the point's evidence. Raises `EvidenceError` if it is damaged.
    """
    reader = PointReader(point, folder, scorings)
    newest: dict[Key, Sample] = {}
    for line in read_lines(folder / CHECKPOINT):
        sample = reader.read(line)
        if sample is not None and line.key is not None:
            before = newest.get(line.key)
            # An answer keeps the failure of the attempt before it.
            error = sample.error or (before.error if before is not None else None)
            newest[line.key] = msgspec.structs.replace(sample, error=error)
    for key, sample in reader.unanswered():
        yield newest.get(key, sample)


class PointReader:
    """Turns the lines of a point's checkpoint into samples, one by one."""

    def __init__(self, point: Point, folder: Path, scorings: Scorings) -> None:
        self._point, self._folder, self._scorings = point, folder, scorings
        self._attempts: Counter[Key] = Counter()
        self._generation: Generation | None = None
        self._asked: _Asked | None = None

    def read(self, line: Line) -> Sample | None:
        """The sample of a line with the outcome of a request; None for any other line.

        Raises `EvidenceError` if the rows in the evidence do not match the answers.
        """
        if line.kind == "header":
            self._generation = msgspec.json.decode(line.payload, type=Header).generation
        if line.kind not in {"result", "error"} or line.key is None:
            return None
        self._attempts[line.key] += 1
        return self._require_asked().sample(line, line.key, self._attempts[line.key])

    def unanswered(self) -> Iterator[tuple[Key, Sample]]:
        """Every request in order, as it is before it has an outcome. None if nothing was asked yet."""
        if self._generation is not None and (self._folder / FEW_SHOTS).exists():
            asked = self._require_asked()
            yield from ((key, asked.unanswered(key)) for key in asked.keys)

    def _require_asked(self) -> _Asked:
        """What the point asks. The rows are written between the header and the first request."""
        if self._asked is None:
            if self._generation is None:
                raise EvidenceError(f"{self._folder / CHECKPOINT}: an answer before the header")
            self._asked = _Asked(self._point, self._folder, self._generation, self._scorings)
        return self._asked


class _Asked:
    """What a point asks, and how its answers are scored."""

    def __init__(self, point: Point, folder: Path, generation: Generation, scorings: Scorings) -> None:
        asked = ask(
            point,
            read_rows(folder / ROWS),
            read_rows(folder / FEW_SHOTS),
            model=generation.model,
            revision=generation.revision,
            scorings=scorings,
        )
        if (asked.generation.items, asked.generation.prompts) != (generation.items, generation.prompts):
            raise EvidenceError(f"{folder}: {ROWS} and {FEW_SHOTS} do not match the answers in {CHECKPOINT}")
        self.keys = asked.keys
        self._point, self._task, self._path = point, asked.task, folder / CHECKPOINT
        self._items = {item.id: item for item in asked.items}
        self._decode = msgspec.json.Decoder(ResultPayload).decode

    def sample(self, line: Line, key: Key, attempts: int) -> Sample:
        if key.item not in self._items:
            raise EvidenceError(f"{self._path}: holds an answer to {key}, which the eval does not ask")
        blank = self.unanswered(key)
        if line.kind == "error":
            return msgspec.structs.replace(
                blank, status="failed", error=_failure(line.payload), attempts=attempts
            )
        response = response_of(self._decode, bytes(line.payload), key, self._path)
        item = self._items[key.item]
        return msgspec.structs.replace(
            blank,
            status="completed",
            outputs=(response.content,),
            reasoning=response.reasoning,
            finish_reason=response.finish_reason,
            limit=response.limit,
            attempts=attempts,
            scores={
                scoring.key: scoring.score(response, item.target, item.choices)
                for scoring in self._task.scorings
            },
        )

    def unanswered(self, key: Key) -> Sample:
        item = self._items[key.item]
        return Sample(
            source=self._point.id,
            eval=eval_of(self._point),
            concurrency=key.concurrency,
            item=key.item,
            repeat=key.repeat,
            content=row_hash(item.row),
            prompt=item.prompt,
            target=item.target,
            status="missing",
        )


def eval_of(point: Point) -> str:
    """The id of a point without the concurrency of its sweep."""
    return point.id.rpartition("/")[0] if point.sweep else point.id


def _failure(payload: msgspec.Raw) -> str:
    """Why a request failed, from the payload of an `error` line."""
    found = msgspec.json.decode(payload, type=_Error)
    if found.request is None:
        return (
            f"cannot be serialised: {(found.unserialisable or 'no reason was kept').strip().splitlines()[-1]}"
        )
    return ": ".join(filter(None, (found.request.error or found.request.outcome, found.request.error_detail)))


class _Failed(msgspec.Struct, frozen=True):
    outcome: str
    error: str | None = None
    error_detail: str | None = None


class _Error(msgspec.Struct, frozen=True):
    request: _Failed | None = None
    unserialisable: str | None = None
