"""The tokenizer pool: worker processes that count for a session.

Processes are sized to the machine, load each tokenizer once, and are shared by every phase and every
tokenizer in use. One thread drives the pool. Nothing is started before the first tokenizer is loaded, and
leaving the pool ends every process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

from pytest_bench.errors import TokensError
from pytest_bench.tokens.cpus import Cpus, discover, plan_shards
from pytest_bench.tokens.crew import Crew, Loading
from pytest_bench.tokens.dispatch import Dispatch
from pytest_bench.tokens.probes import sample_prompts
from pytest_bench.tokens.process import COMMAND
from pytest_bench.tokens.source import TokenizerSource
from pytest_bench.tokens.tokenizer import Tokenizer
from pytest_bench.tokens.wire import Answer, BackendChoice, Failed, Load, Loaded, Task

Tag = TypeVar("Tag")


def _never() -> bool:
    return False


class TokenizerPool:
    """Worker processes for counting, as a context manager.

    `workers` is how many; None sizes it to `cpus`, by default those of the control group. `idle` runs them at
    the lowest priority. A worker that answers nothing for `job_timeout_s` counts as dead.
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        cpus: Cpus | None = None,
        idle: bool = False,
        job_timeout_s: float = 120.0,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.cpus = discover() if cpus is None else cpus
        self.shards = plan_shards(self.cpus, workers)
        self.notes: tuple[str, ...] = ()
        """What did not go as asked and is no error: workers that run unpinned."""
        self._crew = Crew(self.shards, command=command, idle=idle, job_timeout_s=job_timeout_s)
        self._command = tuple(command)
        self._loaded: dict[str, Loaded] = {}
        self._idle: dict[tuple[Cpus, int], TokenizerPool] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every worker process, those of `idle_beside` too. Idempotent."""
        self._crew.close()
        for pool in self._idle.values():
            pool.close()

    def idle_beside(self, cpus: Cpus, workers: int) -> TokenizerPool:
        """A pool of `workers` at the lowest priority on `cpus`, made once, which ends with this one.

        It may be driven by another thread than this one is.
        """
        if (cpus, workers) not in self._idle:
            self._idle[cpus, workers] = TokenizerPool(
                workers=workers, cpus=cpus, idle=True, command=self._command
            )
        return self._idle[cpus, workers]

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run."""
        return [place.worker.pid for place in self._crew.places if place.worker is not None]

    @property
    def threads_per_worker(self) -> int:
        """Library threads of the largest worker."""
        return max(shard.threads for shard in self.shards)

    def load(
        self,
        source: TokenizerSource,
        *,
        backend: BackendChoice = "auto",
        warmup_timeout_s: float = 25.0,
        prompts: Sequence[str] = (),
    ) -> Tokenizer:
        """Load a tokenizer in every worker and prove its back end, also on a sample of `prompts`.

        One that is loaded already is neither loaded nor proven again. Raises `TokensError`, naming the tokenizer and
        the pool worker, where one cannot load it or does not finish within `warmup_timeout_s` seconds.
        """
        key = f"{source.digest}:{backend}"
        if key not in self._loaded:
            task = Load(
                key=key,
                file=source.file,
                format=source.format,
                backend=backend,
                prompts=sample_prompts(prompts),
            )
            self._loaded[key] = self._load(Loading(task, source.name, warmup_timeout_s))
        # Of the source's own: the same vocabulary may lie beside another chat template.
        return Tokenizer(self, source, self._loaded[key])

    def _load(self, loading: Loading) -> Loaded:
        self._crew.revive()
        self._crew.fill()
        for place in self._crew.places:
            self._crew.warm(place, loading)
        loaded = [answer for answer in self._warm_up(loading.name) if answer.key == loading.task.key]
        if len({answer.backend for answer in loaded}) != 1:
            raise TokensError(f"tokenizer {loading.name}: pool workers chose different back ends: {loaded}")
        self._crew.loadings.append(loading)
        self.notes = tuple(sorted({answer.note for answer in loaded if answer.note is not None}))
        return loaded[0]

    def _warm_up(self, name: str) -> Iterator[Loaded]:
        """Wait until every worker has loaded all it was told to. Raises `TokensError` for the first that fails."""
        while any(place.loads for place in self._crew.places):
            for event in self._crew.turn():
                match event.answer:
                    case Loaded():
                        yield event.answer
                    case Failed(message):
                        self._crew.close()
                        raise TokensError(f"tokenizer {name}: pool worker {event.place.number}: {message}")
                    case None if isinstance(event.job.task, Load):
                        self._crew.close()
                        raise TokensError(f"tokenizer {name}: {event.reason}: nothing can be counted with it")
                    case _:
                        pass  # an answer to a job that was abandoned earlier

    def run(
        self, tasks: Iterable[tuple[Tag, Task]], *, give_up: Callable[[], bool] = _never
    ) -> Iterator[tuple[Tag, Answer]]:
        """Carry out tasks and yield each tag with its answer, in the order in which they finish.

        Tasks are taken from the iterable as workers become free. Those that a worker held when it died are
        tried once more, alone on a worker, and then answered `Failed`. Once `give_up`, which is asked several
        times a second, says so, the iteration ends with the rest unanswered.
        """
        return Dispatch(self._crew, tasks, give_up).answers()
