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


class Reads:
    """The reads of one response, of which there is at least one."""

    __slots__ = ("_answer_ns", "_pieces", "_reads", "_stamps_ns")

    def __init__(self, reads: Sequence[int], *, connect_ns: int) -> None:
        """`reads` has the layout of `Exchange.reads`: four numbers per read. `connect_ns`: the time that the set-up of
        the connection took, which is at least a round trip."""
        self._reads = reads
        self._answer_ns = connect_ns + _ANSWER_NS
        self._stamps_ns = reads[::4]
        self._pieces = reads[3::4]

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
            return StreamMoments(only, only, output, (0,) * (len(content) - 1))
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
        )

    def _moment(self, read: int, *, alone: bool) -> Moment:
        """Moment of an event in a read. `alone`: nothing in the read follows the event."""
        at_ns, seen_ns, empty_ns = self._reads[4 * read : 4 * read + 3]
        exact = alone and at_ns != seen_ns
        return Moment(
            at_ns, seen_ns - at_ns, self._held_ns(read) + (0 if exact else max(0, at_ns - empty_ns))
        )

    def _held_ns(self, read: int) -> int:
        """How long the sender may have kept the bytes of this read because earlier ones were read late.

        The kernel acknowledges bytes later, and closes the receive window, while the client does not read. The sender
        then keeps what it may not send yet, and sends it at most a round trip after the read. So nothing was kept if
        the socket was still empty later than that.
        """
        reads, held_ns = self._reads, 0
        while read and reads[4 * read + 2] <= reads[4 * read - 3] + self._answer_ns:
            read -= 1
            held_ns = max(held_ns, reads[4 * read + 1] - reads[4 * read + 2])
        return held_ns

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
