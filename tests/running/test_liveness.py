"""A phase ends when its server has ended, or is stuck."""

import pytest

from pytest_bench.errors import EndpointError, LoadError
from pytest_bench.load.supervisor import Progress
from pytest_bench.running.liveness import Liveness
from pytest_bench.suite.container_plan import ContainerPlan

PLAN = ContainerPlan(image="i", no_progress_s=10.0)


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def progress(*, phase=0, ended=0, in_flight=1, events=0):
    return Progress(phase, 0.0, ended + in_flight, ended, 0, in_flight, events)


@pytest.fixture
def clock():
    return Clock()


def nothing():
    pass


@pytest.mark.parametrize(
    "seen", [progress(ended=1), progress(events=1), progress(in_flight=0), progress(phase=1)]
)
def test_progress_of_any_kind_restarts_the_time_limit(clock, seen):
    liveness = Liveness(nothing, PLAN, clock=clock)
    clock.now_s = 9.0
    liveness.check(seen)
    clock.now_s = 18.0
    liveness.check(seen)


def test_requests_without_progress_end_the_phase_with_the_known_facts(clock):
    liveness = Liveness(nothing, PLAN, lambda: " End of its log: stuck", clock=clock)
    clock.now_s = 11.0
    with pytest.raises(LoadError, match=r"for 11 s, with 1 in flight .* End of its log: stuck"):
        liveness.check(progress())


def test_without_a_limit_waiting_is_allowed(clock):
    liveness = Liveness(nothing, clock=clock)
    clock.now_s = 1e6
    liveness.check(progress())


def test_a_server_that_has_ended_ends_the_phase(clock):
    def ended():
        raise EndpointError("ended with exit status 137")

    liveness = Liveness(ended, clock=clock)
    liveness.check(progress())
    clock.now_s = 3.0
    with pytest.raises(LoadError, match="exit status 137"):
        liveness.check(progress())
