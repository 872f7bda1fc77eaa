"""The fixture `barrier`, for tests that run on several nodes at once, one pytest on each."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Protocol

import pytest

from pytest_bench.errors import UsageError

if TYPE_CHECKING:
    from pytest_bench.cluster.rendezvous import Rendezvous

_FAILURE = pytest.StashKey[str]()

DEFAULT_TIMEOUT_S = 600.0


class Barrier(Protocol):
    def __call__(self, name: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None: ...


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_FAILURE] = f"{item.nodeid} failed"
    return report


@pytest.fixture(scope="session")
def _rendezvous(request: pytest.FixtureRequest) -> Iterator[Rendezvous]:
    if hasattr(request.config, "workerinput"):
        raise UsageError(
            "the fixture `barrier` cannot be used on xdist workers, which run different tests at the same time: start "
            "one pytest on every node, without -n and --slurm"
        )
    from pytest_bench.cluster.endpoint import meet  # noqa: PLC0415 # most sessions have no barrier
    from pytest_bench.cluster.place import read_place, read_secret  # noqa: PLC0415 # as above

    place = read_place(os.environ)
    with meet(place, read_secret(os.environ) if place.size > 1 else b"") as rendezvous:
        yield rendezvous


@pytest.fixture
def barrier(request: pytest.FixtureRequest, _rendezvous: Rendezvous) -> Iterator[Barrier]:
    """A function that waits until this test has called it with the same name on every node of the job.

    If the test fails on one node, it ends on the others within seconds, and they name that node.
    """
    _rendezvous.phase(f"running {request.node.nodeid}")

    def wait(name: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        _rendezvous.barrier(f"{request.node.nodeid}: {name}", timeout_s=timeout_s)

    yield wait
    failure = request.node.stash.get(_FAILURE, None)
    if failure is not None:
        _rendezvous.abort(failure)
    _rendezvous.phase(f"after {request.node.nodeid}")
