"""When each event of a stream arrived, how much later the load worker read it, and the uncertainty of that time.

An event arrives with the read that brings its last byte. The kernel stamps the last segment of a read, so an event
that is followed by others in the same read may have arrived earlier, at any time since the socket was last known to be
empty. If earlier reads were late, the sender may have had to wait for their acknowledgement, so that an event arrived
later than it would have without the client.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import sub
from typing import NamedTuple

_ANSWER_NS = 1_000_000
"""Longest time that the hosts at both ends take to answer an acknowledgement with more bytes, besides the network's."""


class Moment(NamedTuple):
    """One event in time, in nanoseconds."""

    at_ns: int
    """The kernel's stamp; the load worker's own if the kernel gave none."""
    seen_after_ns: int
    """How much later the load worker read it. 0: `at_ns` is the load worker's own stamp."""
    uncertainty_ns: int
    """How much earlier the event may have arrived, or would have arrived had the client read at once."""


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

    __slots__ = ("_answer_ns", "_chunked", "_pieces", "_reads", "_sent_ns", "_stamps_ns", "lags_ns")

    def __init__(
        self, reads: Sequence[int], *, sent_ns: int, connect_ns: int = 0, chunked: bool = False
    ) -> None:
        """`reads` has the layout of `Exchange.reads`: four numbers per read.

        Nothing arrived before `sent_ns`. `connect_ns`: the time that the set-up of the connection took, which is at
        least a round trip. `chunked`: each piece of the body is a chunk, which the server writes at once.
        """
        self._reads = reads
        self._sent_ns = sent_ns
        self._answer_ns = connect_ns + _ANSWER_NS
        self._chunked = chunked
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
        certain = alone and at_ns != seen_ns
        held_ns = self._held_ns(read, at_ns if certain else empty_ns)
        early_ns = held_ns + (0 if certain else max(0, at_ns - empty_ns))
        return Moment(at_ns, seen_ns - at_ns, min(early_ns, at_ns - self._sent_ns))

    def _held_ns(self, read: int, since_ns: int) -> int:
        """How long the sender may have kept bytes of this read because earlier ones were read late. They arrived at
        `since_ns` or later.

        The kernel acknowledges bytes later, and closes the receive window, while the client does not read. The sender
        then keeps what it may not send yet, and sends it at most a round trip after the read. So nothing was kept if
        it arrived later than that.
        """
        reads, held_ns = self._reads, 0
        while read and since_ns <= reads[4 * read - 3] + self._answer_ns:
            read -= 1
            since_ns = self._since_ns(read)
            held_ns = max(held_ns, reads[4 * read + 1] - since_ns)
        return held_ns

    def _since_ns(self, read: int) -> int:
        """When the first bytes of a read arrived at the earliest: at its stamp if they were written at once."""
        at_ns, seen_ns, empty_ns = self._reads[4 * read : 4 * read + 3]
        before = self._pieces[read - 1] if read else self._pieces[0]
        at_once = self._chunked and self._pieces[read] - before <= (1 if read else 0) and at_ns != seen_ns
        return at_ns if at_once else empty_ns

    def _inner_uncertainty_ns(
        self, reads: Sequence[int], content: Sequence[int], alone: Callable[[int], bool]
    ) -> tuple[int, ...]:
        if reads[content[0]] == reads[content[-1]]:
            return ()
        if isinstance(reads, range) and isinstance(content, range) and 0 not in self.lags_ns:
            waited_ns = map(sub, self._stamps_ns[1:], self._reads[1::4])
            if min(waited_ns) > self._answer_ns:
                return ()  # each of these events is alone in its read, and none was kept by the sender
        followed, last = self._uncertainties_ns()
        inner = tuple([(last if alone(event) else followed)[reads[event]] for event in content[1:-1]])
        return inner if any(inner) else ()

    def _uncertainties_ns(self) -> tuple[list[int], list[int]]:
        """Of each read, the uncertainty of an event that others follow, and of one that is alone or last: as `_moment`,
        for all reads at once."""
        followed, last = [], []
        kept_ns = late_ns = 0
        until_ns = -1
        for read, at_ns in enumerate(self._stamps_ns):
            _, seen_ns, empty_ns = self._reads[4 * read : 4 * read + 3]
            since_ns, earlier_ns = self._since_ns(read), max(kept_ns, late_ns)
            most_ns = at_ns - self._sent_ns
            open_ns = max(0, at_ns - empty_ns)
            held_ns = earlier_ns if empty_ns <= until_ns else 0
            followed.append(min(held_ns + open_ns, most_ns))
            certain = at_ns != seen_ns and read + 1 < len(self._stamps_ns)
            held_ns = earlier_ns if at_ns <= until_ns else 0
            last.append(min(held_ns, most_ns) if certain else followed[-1])
            kept_ns = earlier_ns if since_ns <= until_ns else 0
            late_ns, until_ns = seen_ns - since_ns, seen_ns + self._answer_ns
        return followed, last

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
