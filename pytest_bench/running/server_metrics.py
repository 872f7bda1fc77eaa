"""Reads the servers' own metrics before and after every phase, and during it if the suite asks for that."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from pytest_bench.endpoints.scrape import MetricsLog
from pytest_bench.errors import LoadError
from pytest_bench.running.deployment import Deployment


class ServerMetrics:
    """Reads the metrics of every endpoint through the phases of the given folders. A context manager.

    Each endpoint has a thread in this process, so that it does not cost a load worker's time.
    """

    def __init__(self, deployment: Deployment, folders: Sequence[Path], *, nonce: str) -> None:
        endpoints = 0 if deployment.plan.metrics_path is None else len(deployment.targets)
        self._followers = [_Follower(deployment, endpoint, folders, nonce) for endpoint in range(endpoints)]

    def __enter__(self) -> Self:
        """Return once the reading before the first phase is done."""
        for follower in self._followers:
            follower.start()
        self.enter(0, wait=True)
        return self

    def enter(self, phase: int, *, wait: bool) -> None:
        """End the phases before `phase`. With `wait`, return once the readings between them and it are done."""
        for follower in self._followers:
            follower.enter(phase)
        for follower in self._followers if wait else ():
            follower.begun[phase].wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Read a last time. Raises `LoadError` if readings could not be written, unless another error is raised."""
        for follower in self._followers:
            follower.leave()
        for follower in self._followers:
            follower.join()
            if error is None and follower.failure is not None:
                raise follower.failure


class _Follower(threading.Thread):
    """Reads the metrics of one endpoint, phase by phase."""

    def __init__(self, deployment: Deployment, endpoint: int, folders: Sequence[Path], nonce: str) -> None:
        super().__init__(name=f"metrics of endpoint {endpoint}", daemon=True)
        self.begun = [threading.Event() for _ in folders]
        """Set once the phase's first reading is done or has failed."""
        self.failure: LoadError | None = None
        self._over = [threading.Event() for _ in folders]
        self._deployment = deployment
        self._endpoint = endpoint
        self._folders = folders
        self._nonce = nonce
        self._phase = 0

    def enter(self, phase: int) -> None:
        self._phase = phase
        for over in self._over[:phase]:
            over.set()

    def leave(self) -> None:
        self._over[self._phase].set()

    def run(self) -> None:
        plan, target = self._deployment.plan, self._deployment.targets[self._endpoint]
        try:
            for number, folder in enumerate(self._folders):
                if number > self._phase:
                    return
                with MetricsLog(
                    target.url,
                    plan.metrics_path or "",
                    folder,
                    endpoint=self._endpoint,
                    headers=self._deployment.headers,
                    nonce=self._nonce,
                ) as log:
                    log.follow(self._over[number], plan.metrics_interval_s, self.begun[number].set)
        except OSError as error:
            self.failure = LoadError(
                f"{self._folders[0].parent}: the server's metrics cannot be written: {error.strerror or error}; "
                "give the results a folder with room"
            )
        finally:
            for begun in self.begun:
                begun.set()
