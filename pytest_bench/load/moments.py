"""When each event of a stream arrived, how much later the load worker read it, and the uncertainty of that time.

An event arrives with the read that brings its last byte. The kernel stamps the last segment of a read, so an event
that is followed by others in the same read may have arrived earlier, at any time since the socket was last known to be
empty.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import sub
from typing import NamedTuple


class Moment(NamedTuple):
    """One event in time, in nanoseconds."""

    at_ns: int
    """The kernel's stamp; the load worker's own if the kernel gave none."""
    seen_after_ns: int
    """How much later the load worker read it. 0: `at_ns` is the load worker's own stamp."""
    uncertainty_ns: int
    """How much earlier the event may have arrived."""


class StreamMoments(NamedTuple):
    """When the content of a stream arrived."""

    first: Moment
    last: Moment
    first_output: Moment | None
    gaps_ns: tuple[int, ...]
    """Between successive content events, by their stamps."""
    inner_uncertainty_ns: tuple[int, ...]
    """Uncertainty of each content event between the first and the last; empty if all are exact or have one stamp."""


class Reads:
    """The reads of one response, of which there is at least one."""

    __slots__ = ("_pieces", "_reads", "_sent_ns", "_stamps_ns", "lags_ns")

    def __init__(self, reads: Sequence[int], sent_ns: int) -> None:
        """`reads` has the layout of `Exchange.reads`: four numbers per read. Nothing arrived before `sent_ns`."""
        self._reads = reads
        self._sent_ns = sent_ns
        self._stamps_ns = reads[::4]
        self._pieces = reads[3::4]
        self.lags_ns = list(map(sub, reads[1::4], self._stamps_ns))
        """How much later than the kernel's stamp each read was made; 0 if there is no such stamp."""

    def first_byte(self) -> Moment:
        """First byte of the response. Exact if the first read holds only headers."""
        return self._moment(0, alone=not self._pieces[0])

    def end(self) -> Moment:
        """The last byte of the response."""
        return self._moment(len(self._stamps_ns) - 1, alone=True)

    def stream(
        self,
        parts: Sequence[bytes],
        content: Sequence[int],
        *,
        first_output: int | None,
        events: int,
        ends: Sequence[int] | None,
        one_event_per_piece: bool,
    ) -> StreamMoments:
        """When the events numbered `content` arrived; at least one.

        `parts` are the pieces of the body and `events` is how many events it holds, `[DONE]` included. `ends` is where
        each event ended in the body, None where every event ends in two newlines and nothing else does.
        `one_event_per_piece`: each piece is one event.
        """
        of_pieces = self._of_pieces()
        first, last = content[0], content[-1]
        if of_pieces[0] == of_pieces[-1]:
            only = self._moment(of_pieces[0], alone=False)
            output = None if first_output is None else only
            return StreamMoments(only, only, output, (0,) * (len(content) - 1), ())
        alone: Callable[[int], bool]
        if one_event_per_piece:
            reads = of_pieces

            def alone(event: int) -> bool:
                return event + 1 == events or reads[event + 1] != reads[event]
        else:
            where = _common_ends(b"".join(parts)) if ends is None else ends
            part_ends = list(accumulate(map(len, parts)))
            reads = [of_pieces[bisect_left(part_ends, end)] for end in where]
            read_ends = dict(
                zip(of_pieces, part_ends, strict=True)
            )  # of a read's pieces, the last one counts

            def alone(event: int) -> bool:
                return where[event] == read_ends[reads[event]]

        def moment(event: int) -> Moment:
            # The last read also holds the end of the framing, which is not part of the body.
            read = reads[event]
            return self._moment(read, alone=read + 1 < len(self._stamps_ns) and alone(event))

        return StreamMoments(
            moment(first),
            moment(last),
            None if first_output is None else moment(first_output),
            self._gaps_ns(reads, content),
            self._inner_uncertainty_ns(reads, content, alone),
        )

    def _moment(self, read: int, *, alone: bool) -> Moment:
        """Moment of an event in a read. `alone`: nothing in the read follows the event."""
        at_ns, seen_ns, empty_ns = self._reads[4 * read : 4 * read + 3]
        exact = alone and at_ns != seen_ns
        return Moment(at_ns, seen_ns - at_ns, 0 if exact else max(0, at_ns - max(empty_ns, self._sent_ns)))

    def _inner_uncertainty_ns(
        self, reads: Sequence[int], content: Sequence[int], alone: Callable[[int], bool]
    ) -> tuple[int, ...]:
        if isinstance(reads, range) and isinstance(content, range) and 0 not in self.lags_ns:
            return ()  # each of these events is alone in its read
        if reads[content[0]] == reads[content[-1]]:
            return ()
        count = len(self._stamps_ns)
        followed = [self._moment(read, alone=False).uncertainty_ns for read in range(count)]
        last = [self._moment(read, alone=read + 1 < count).uncertainty_ns for read in range(count)]
        inner = tuple([(last if alone(event) else followed)[reads[event]] for event in content[1:-1]])
        return inner if any(inner) else ()

    def _gaps_ns(self, reads: Sequence[int], content: Sequence[int]) -> tuple[int, ...]:
        stamps = self._stamps_ns
        if isinstance(reads, range) and isinstance(content, range):
            stamps = stamps[reads[content[0]] : reads[content[-1]] + 1]
        else:
            stamps = [stamps[reads[event]] for event in content]
        return tuple(map(sub, stamps[1:], stamps))

    def _of_pieces(self) -> Sequence[int]:
        """The read that brought each piece of the body."""
        pieces = self._pieces
        count = len(pieces)
        while count > 1 and pieces[count - 1] == pieces[count - 2]:
            count -= 1  # holds only the end of the framing
        first = pieces[0]
        if first <= 1 and pieces[:count] == list(range(first, first + count)):
            return range(1 - first, count)
        of_pieces: list[int] = []
        for read, until in enumerate(pieces):
            of_pieces += [read] * (until - len(of_pieces))
        return of_pieces


def _common_ends(body: bytes) -> list[int]:
    ends, at = [], 0
    while (found := body.find(b"\n\n", at)) >= 0:
        at = found + 2
        ends.append(at)
    return ends
