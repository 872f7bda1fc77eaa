"""Ends a phase whose server has ended, or answers no request any more."""

from __future__ import annotations

import time
from collections.abc import Callable

from pytest_bench.errors import EndpointError, LoadError
from pytest_bench.load.supervisor import Progress
from pytest_bench.suite.container_plan import ContainerPlan

_INTERVAL_S = 2.0


class Liveness:
    """Checks a server while load runs."""

    def __init__(
        self,
        require_running: Callable[[], None],
        plan: ContainerPlan | None = None,
        story: Callable[[], str] = str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`plan` is that of the container that serves, `story` returns what is known about it, for the message."""
        self._require_running = require_running
        self._no_progress_s = None if plan is None else plan.no_progress_s
        self._place = "" if plan is None else plan.place
        self._story = story
        self._clock = clock
        self._checked_s = clock()
        self._seen = (0, 0, 0)
        """The phase, how many of its requests have ended, and how many content events have come."""
        self._progressed_s = clock()

    def check(self, seen: Progress) -> None:
        """Raise `LoadError` if the server has ended, or if nothing has come for too long while requests are in flight.

        A server may answer its liveness endpoint although it serves no request any more.
        """
        now_s = self._clock()
        now = (seen.phase, seen.succeeded + seen.failed, seen.events)
        if now != self._seen or seen.in_flight == 0:
            self._seen, self._progressed_s = now, now_s
        silent_s = now_s - self._progressed_s
        if self._no_progress_s is not None and silent_s > self._no_progress_s:
            raise LoadError(
                f"no request has made progress for {silent_s:.0f} s, with {seen.in_flight} in flight "
                f"({self._place}.no_progress_s is {self._no_progress_s:g}): the server may be stuck, whatever "
                f"its liveness endpoint says.{self._story()}"
            )
        if now_s - self._checked_s >= _INTERVAL_S:
            self._checked_s = now_s
            try:
                self._require_running()
            except EndpointError as error:
                raise LoadError(str(error)) from error
