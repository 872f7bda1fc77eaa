"""One request in flight, and the raw response received so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pytest_bench.load.connection import Connection


class Exchange:
    """One request and the raw response received so far."""

    __slots__ = (
        "attempt",
        "body",
        "chunked",
        "connect_ns",
        "connection",
        "content_type",
        "counted",
        "due_ns",
        "endpoint",
        "handshake_ns",
        "index",
        "large_reads",
        "pending_ns",
        "phase",
        "polled_ns",
        "polls",
        "reads",
        "request",
        "request_id",
        "resent",
        "response_bytes",
        "retry_after_s",
        "sample",
        "scheduled_ns",
        "send_start_ns",
        "sent_ns",
        "started_ns",
        "status",
        "vacant_since_ns",
    )

    def __init__(
        self,
        *,
        phase: int,
        index: int,
        sample: int,
        endpoint: int,
        request_id: str,
        request: bytes,
        attempt: int = 1,
    ) -> None:
        self.phase = phase
        self.index = index
        self.sample = sample
        self.endpoint = endpoint
        self.request_id = request_id
        self.request = request
        self.attempt = attempt
        self.counted = False
        """Whether its place already counts as in flight, because an earlier attempt failed in it."""
        self.scheduled_ns: int | None = None
        self.due_ns: int | None = None
        """Open loop: from when on being late is the client's share: the scheduled time, or when the place that the
        request waited for became free."""
        self.started_ns = 0
        """Time of issue, before a connection was available."""
        self.vacant_since_ns: int | None = None
        """When an answered request left the slot that this one uses (closed loop), or the place that it waited for."""
        self.send_start_ns: int | None = None
        self.sent_ns: int | None = None
        self.connect_ns: int | None = None
        """Set on the first request of a connection."""
        self.handshake_ns = 0
        """`connect_ns` of the connection, on every request of it."""
        self.connection: Connection | None = None
        self.resent = False
        self.polls = 0
        self.polled_ns: int | None = None
        """When the last poll was due."""
        self.pending_ns: int | None = None
        """When the last request was sent to which the server answered that the job was not finished."""
        self.restart()

    def restart(self) -> None:
        """Forget what was read, so that the request can be sent again."""
        self.response_bytes = 0
        self.body: list[bytes] = []
        """Pieces of the body, as the parser delivered them."""
        self.reads: list[int] = []
        """Four numbers a read, which `moments.Reads` explains: when the kernel had its last byte, when it was read (the
        same number where the kernel did not say), a time at which the socket was empty before it, and how many pieces
        of the body there were after it."""
        self.status: int | None = None
        self.chunked = False
        self.large_reads = False
        """Whether a read held more bytes than an event that the server writes at once usually has."""
        self.content_type = ""
        self.retry_after_s: float | None = None
        """How long the server asked to wait before the request is sent again."""

    def void_stamps(self, since_ns: int) -> None:
        """Replace the kernel's stamps of everything read since `since_ns` by the load worker's own."""
        reads = self.reads
        for at in range(0, len(reads), 4):
            if reads[at + 1] >= since_ns:
                reads[at] = reads[at + 1]

    @property
    def last_read_ns(self) -> int | None:
        """When something was last read."""
        return self.reads[-3] if self.reads else None

    @property
    def end_ns(self) -> int:
        """When the last byte of a complete response arrived."""
        return self.reads[-4]


class Failure(NamedTuple):
    """Why a request failed: one of `records.ERROR_TYPES`, and the detail to show."""

    error: str
    detail: str
