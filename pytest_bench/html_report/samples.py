"""Which answers of evals and which requests of performance points the page holds, within a number and a size."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from pytest_bench.comparison.sessions import Session
from pytest_bench.evals.sample_sources import read_point
from pytest_bench.evals.samples import Sample
from pytest_bench.load.log import read_records, read_texts
from pytest_bench.records import RequestRecord
from pytest_bench.redaction import redact_foreign
from pytest_bench.scoring import SCORINGS, Scorings

MOST_SAMPLES = 3000
"""Samples on a page, of all evals and sessions together."""
MOST_BYTES = 12 << 20
"""Bytes of their texts before compression."""
LONGEST_TEXT = 20_000
"""Characters of one text; of a longer one the page holds the beginning and the end."""
SLOWEST, FAILED, RANDOM = 5, 10, 5
"""Requests of a performance point that the page holds."""

FILTERS = ("wrong", "unscored", "truncated", "failed", "flipped")

_Item = tuple[str, str, str]
"""Eval, item, and the hash of its content."""


class Chosen(NamedTuple):
    """The samples of a page, and what was left out, a sentence each."""

    samples: list[dict[str, Any]]
    left_out: list[str]


def choose_samples(sessions: Sequence[Session], scorings: Scorings = SCORINGS) -> Chosen:
    """Answers of evals, the noteworthy ones first, then requests of performance points.

    Of the others those items are taken that a hash picks, so that the same items are shown of each point. Raises
    `EvidenceError` for damaged files.
    """
    flipped = _flipped(sessions, scorings)
    evals = [
        (session, point) for session in sessions for point, _, _ in session.measured() if point.kind == "eval"
    ]
    requests = [
        sample
        for session in sessions
        for point, _, summary in session.measured()
        if point.kind == "perf" and summary.measurement is not None
        for sample in _requests(session, point.id, summary.phases[-1].folder)
    ]
    room, room_bytes = max(MOST_SAMPLES - len(requests), 0), MOST_BYTES - sum(map(_size, requests))
    samples, left_out = [], []
    for number, (session, point) in enumerate(evals):
        most, most_bytes = room // (len(evals) - number), room_bytes // (len(evals) - number)
        ranked = _Best(most)
        for sample in read_point(session.folder, point, scorings):
            marks = _marks(sample, is_flipped=_key(sample) in flipped)
            ranked.add(_rank(sample, marks), _shown(session, sample, marks))
        taken, taken_bytes = [], 0
        for shown in ranked.best():
            if taken_bytes + _size(shown) > most_bytes:
                break
            taken.append(shown)
            taken_bytes += _size(shown)
        room, room_bytes = room - len(taken), room_bytes - taken_bytes
        samples += taken
        if len(taken) < ranked.total:
            marked = sum(count for mark, count in ranked.marks.items() if mark)
            held = sum(bool(shown["marks"]) for shown in taken)
            left_out.append(
                f"{session.name}: {point.id}: {ranked.total - len(taken)} of {ranked.total} samples are not shown"
                + (f", {marked - held} of them noteworthy" if marked > held else "")
                + f"; all of them: pytest-bench samples {session.folder} --point {point.id}"
            )
    return Chosen([*samples, *requests], left_out)


class _Best:
    """Keeps the `most` entries of lowest rank."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[tuple[int, ...], int, dict[str, Any]]] = []
        self.total = 0
        self.marks: Counter[bool] = Counter()
        """Entries with any mark, and without."""

    def add(self, rank: tuple[int, int], entry: dict[str, Any]) -> None:
        self.total += 1
        self.marks[bool(entry["marks"])] += 1
        item = (tuple(-part for part in rank), -self.total, entry)
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, item)
        elif self._heap:
            heapq.heappushpop(self._heap, item)

    def best(self) -> list[dict[str, Any]]:
        return [entry for _, _, entry in sorted(self._heap, key=lambda item: item[:2], reverse=True)]


def _key(sample: Sample) -> _Item:
    return sample.eval, sample.item, sample.content


def _flipped(sessions: Sequence[Session], scorings: Scorings) -> frozenset[_Item]:
    """Items whose mean score, of any metric, differs between concurrencies or sessions that scored every repeat."""
    means: dict[_Item, dict[str, set[float]]] = {}
    for session in sessions:
        for point, _, _ in session.measured():
            if point.kind != "eval":
                continue
            values: dict[tuple[_Item, str], list[float | None]] = {}
            for sample in read_point(session.folder, point, scorings):
                for metric, score in sample.scores.items():
                    values.setdefault((_key(sample), metric), []).append(score.value)
            for (item, metric), own in values.items():
                known = [value for value in own if value is not None]
                if len(known) == len(own):
                    means.setdefault(item, {}).setdefault(metric, set()).add(sum(known) / len(known))
    return frozenset(
        item for item, metrics in means.items() if any(len(found) > 1 for found in metrics.values())
    )


def _marks(sample: Sample, *, is_flipped: bool) -> list[str]:
    is_true = {
        "wrong": sample.is_wrong,
        "unscored": sample.is_unscored,
        "truncated": sample.is_truncated,
        "failed": sample.status != "completed" or sample.error is not None,
        "flipped": is_flipped,
    }
    return [name for name in FILTERS if is_true[name]]


def _rank(sample: Sample, marks: Sequence[str]) -> tuple[int, int]:
    """Lower is taken first: flipped, failed or unscored, otherwise marked, others; then by a hash of the item."""
    order = 0 if "flipped" in marks else 1 if {"failed", "unscored"} & set(marks) else 2 if marks else 3
    digest = hashlib.sha256(f"{sample.eval}\0{sample.item}".encode(errors="replace")).digest()
    return order, int.from_bytes(digest[:6])


def _shown(session: Session, sample: Sample, marks: list[str]) -> dict[str, Any]:
    prompt = (
        sample.prompt
        if isinstance(sample.prompt, str)
        else [{"role": _cut(turn["role"]), "text": _cut(turn["content"])} for turn in sample.prompt]
    )
    return {
        "session": session.name,
        "point": sample.source,
        "name": sample.item if sample.repeat == 0 else f"{sample.item}, repeat {sample.repeat + 1}",
        "marks": marks,
        "prompt": _cut(prompt) if isinstance(prompt, str) else prompt,
        "outputs": ["null" if text is None else _cut(text) for text in sample.outputs],
        "reasoning": _cut(sample.reasoning),
        "target": _cut(sample.target),
        "scores": [
            {
                "metric": metric,
                "value": score.value,
                "extracted": None if score.extracted is None else _cut(score.extracted),
                "conditions": list(score.conditions),
                "error": None if score.error is None else _cut(score.error),
            }
            for metric, score in sample.scores.items()
        ],
        "facts": _facts(
            status=sample.status,
            attempts=sample.attempts,
            finish_reason=sample.finish_reason,
            error=sample.error,
        ),
    }


def _requests(session: Session, point: str, phase: str) -> Iterator[dict[str, Any]]:
    """The slowest, the failed and a random few requests of a performance point."""
    folder = session.point_folder(point) / phase
    slowest: list[tuple[int, int, RequestRecord]] = []
    failed: list[RequestRecord] = []
    picked: list[tuple[int, int, RequestRecord]] = []
    for record in read_records(folder):
        if record.outcome != "succeeded":
            failed += [record] if len(failed) < FAILED else []
            continue
        _push(slowest, SLOWEST, record.end_ns - record.send_start_ns, record)
        digest = hashlib.sha256(f"{point}\0{record.index}".encode()).digest()
        _push(picked, RANDOM, int.from_bytes(digest[:6]), record)
    chosen: dict[str, tuple[RequestRecord, list[str]]] = {}
    for mark, records in (
        ("failed", failed),
        ("slow", [record for _, _, record in sorted(slowest, reverse=True, key=lambda item: item[:2])]),
        ("", [record for _, _, record in picked]),
    ):
        for record in records:
            _, marks = chosen.setdefault(record.request_id, (record, []))
            marks += [mark] if mark else []
    texts = {text.request_id: text for text in read_texts(folder) if text.request_id in chosen}
    for request_id, (record, marks) in chosen.items():
        text = texts.get(request_id)
        usage = record.usage
        yield {
            "session": session.name,
            "point": point,
            "name": f"request {record.index}",
            "marks": marks,
            "prompt": None,
            "outputs": [] if text is None else [_cut(text.content + text.tool_calls)],
            "reasoning": "" if text is None else _cut(text.reasoning),
            "target": None,
            "scores": [],
            "facts": _facts(
                outcome=record.outcome,
                status=record.status,
                error=": ".join(filter(None, (record.error, record.error_detail))) or None,
                latency=f"{(record.end_ns - record.send_start_ns) / 1e6:.1f} ms",
                time_to_first_token=None
                if record.first_content_ns is None
                else f"{(record.first_content_ns - record.send_start_ns) / 1e6:.1f} ms",
                finish_reason=record.finish_reason,
                output_tokens_by_usage=None if usage is None else usage.output_tokens,
                sample_of_the_dataset=record.sample_index,
                endpoint=record.endpoint,
            ),
        }


def _push(heap: list[tuple[int, int, RequestRecord]], most: int, rank: int, record: RequestRecord) -> None:
    item = (rank, -record.index, record)
    if len(heap) < most:
        heapq.heappush(heap, item)
    else:
        heapq.heappushpop(heap, item)


def _facts(**facts: object) -> list[list[str]]:
    return [[name.replace("_", " "), _cut(str(value))] for name, value in facts.items() if value is not None]


def _cut(text: str) -> str:
    """`text` without secrets; of one that is too long, the beginning and the end."""
    clear = redact_foreign(text)
    if len(clear) <= LONGEST_TEXT:
        return clear
    half = LONGEST_TEXT // 2
    return f"{clear[:half]}\n[... {len(clear) - 2 * half} characters are left out ...]\n{clear[-half:]}"


def _size(shown: dict[str, Any]) -> int:
    return len(msgspec.json.encode(shown))
