"""One run of tasks over a crew: handed out, answered, tried once more where a worker died."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from pytest_bench.tokens.crew import Crew, Event
from pytest_bench.tokens.wire import Answer, Failed, Load, Loaded, Task

Tag = TypeVar("Tag")

_DEPTH = 3
"""Jobs a worker holds at once: one being counted, one being decoded, one waiting, so that it is never idle."""
_MOST_ATTEMPTS = 2


class Dispatch(Generic[Tag]):
    """Tasks that are still to come, out at a worker, or waiting for their second attempt."""

    def __init__(self, crew: Crew, tasks: Iterable[tuple[Tag, Task]], give_up: Callable[[], bool]) -> None:
        self._crew = crew
        self._coming = iter(tasks)
        self._exhausted = False
        self._again: deque[tuple[Tag, Task]] = deque()
        self._out: dict[int, tuple[Tag, Task]] = {}
        self._give_up = give_up

    def answers(self) -> Iterator[tuple[Tag, Answer]]:
        """See `TokenizerPool.run`."""
        self._crew.revive()
        while not self._give_up():
            self._crew.fill()
            self._feed()
            if self._exhausted and not self._out and not self._again:
                return
            if all(place.empty_for_good for place in self._crew.places):
                for tag, _ in (*self._again, *self._coming):
                    yield tag, Failed("no pool worker is left")
                return
            for event in self._crew.turn():
                yield from self._settle(event)

    def _feed(self) -> None:
        for place in self._crew.places:
            if place.worker is None or place.loads:
                continue
            while not self._exhausted and place.in_flight < _DEPTH:
                following = next(self._coming, None)
                if following is None:
                    self._exhausted = True
                else:
                    self._out[self._crew.give(place, following[1], 1)] = following
            # Which of its jobs a worker died of is unknown. Alone on a worker, only the culprit fails again.
            if self._exhausted and self._again and not place.in_flight:
                following = self._again.popleft()
                self._out[self._crew.give(place, following[1], _MOST_ATTEMPTS)] = following

    def _settle(self, event: Event) -> Iterator[tuple[Tag, Answer]]:
        if isinstance(event.job.task, Load):
            if not isinstance(event.answer, Loaded):
                self._crew.empty(event.place)
            return
        settled = self._out.pop(event.job.number, None)
        if settled is None:
            return  # left over from a run that was given up
        if event.answer is not None:
            yield settled[0], event.answer
        elif event.job.attempts < _MOST_ATTEMPTS:
            self._again.append(settled)
        else:
            yield settled[0], Failed(f"tried twice: {event.reason}")
