"""How long the loop takes to wake up bounds when the bytes arrived that woke it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.load.wake_delay import WakeDelay

MS = 1_000_000
BLOCK = 256


class Known(WakeDelay):
    """A wake delay whose waits for a CPU are known."""

    without_ns = 0

    def without_cpu_ns(self):
        return self.without_ns


def turn(wake, *, begun=0, woken, due=None, without=0):
    wake.begun_ns, wake.woken_ns, wake.due_ns = begun, woken, woken if due is None else due
    wake.without_ns = without


def measured(*delays_ns, count=BLOCK):
    """After a block of single events with these delays, the others being 50 us."""
    wake = Known()
    for delay_ns in (*delays_ns, *[50_000] * (count - len(delays_ns))):
        turn(wake, woken=100 * MS)
        wake.arrived(100 * MS - delay_ns)
    return wake


def test_bytes_that_woke_the_loop_arrived_at_most_a_wake_delay_before():
    wake = measured()
    turn(wake, begun=190 * MS, woken=200 * MS)
    assert wake.earliest_ns(200 * MS) == 200 * MS - 50_000


def test_the_time_without_a_cpu_is_part_of_the_delay_but_not_of_its_measurement():
    wake = Known()
    for _ in range(BLOCK):
        turn(wake, woken=100 * MS, without=3 * MS)
        wake.arrived(97 * MS - 50_000)
    turn(wake, begun=190 * MS, woken=200 * MS, without=2 * MS)
    assert wake.earliest_ns(200 * MS) == 198 * MS - 50_000


def test_no_bound_is_known_before_enough_wakes_were_measured():
    wake = measured(count=BLOCK - 1)
    turn(wake, begun=190 * MS, woken=200 * MS)
    assert wake.earliest_ns(200 * MS) <= 0


def test_the_single_longest_delay_of_a_block_does_not_count_and_the_second_does():
    for delays_ns, bound_ns in (((9 * MS,), 50_000), ((9 * MS, 4 * MS), 4 * MS)):
        wake = measured(*delays_ns)
        turn(wake, begun=150 * MS, woken=200 * MS)
        assert wake.earliest_ns(200 * MS) == 200 * MS - bound_ns


def test_late_wakes_of_the_current_block_count_at_once():
    wake = measured()
    for _ in range(2):
        turn(wake, woken=100 * MS)
        wake.arrived(93 * MS)
    turn(wake, begun=150 * MS, woken=200 * MS)
    assert wake.earliest_ns(200 * MS) == 193 * MS


def test_a_poll_that_may_have_returned_at_once_bounds_nothing():
    """It took as long as the thread was without a CPU: the bytes may have been there before it began."""
    wake = measured()
    turn(wake, begun=195 * MS, woken=200 * MS, without=5 * MS - 50_000)
    assert wake.earliest_ns(200 * MS) == 0


@pytest.mark.parametrize(("due_ns", "stamp_ns"), [(150 * MS, 200 * MS), (200 * MS, 150 * MS)])
def test_a_wake_that_was_later_than_its_bound_bounds_nothing(due_ns, stamp_ns):
    """A stopped process waits for no CPU. That it overslept shows in a timer, or in the kernel's stamp."""
    wake = measured()
    turn(wake, begun=100 * MS, woken=200 * MS, due=due_ns)
    assert wake.earliest_ns(stamp_ns) == 0


def test_bytes_that_arrived_after_the_timer_that_woke_the_loop_measure_nothing():
    wake = Known()
    for _ in range(2 * BLOCK):
        turn(wake, woken=100 * MS, due=99 * MS)
        wake.arrived(100 * MS - 1)
    turn(wake, begun=150 * MS, woken=200 * MS)
    assert wake.earliest_ns(200 * MS) <= 0


@given(st.lists(st.integers(0, 20 * MS), min_size=BLOCK, max_size=3 * BLOCK))
def test_at_most_one_in_a_hundred_of_a_block_took_longer_than_the_bound_after_it(delays_ns):
    wake = Known()
    for delay_ns in delays_ns:
        turn(wake, woken=100 * MS)
        wake.arrived(100 * MS - delay_ns)
    turn(wake, begun=100 * MS, woken=200 * MS)
    bound_ns = 200 * MS - wake.earliest_ns(200 * MS)
    last = delays_ns[-(len(delays_ns) % BLOCK) - BLOCK :]
    assert sum(delay_ns > bound_ns for delay_ns in last) <= 2


def test_the_kernel_counts_how_long_a_thread_waits_for_a_cpu():
    """Every wake waits a little. The answer is that of the turn, however often it is asked for."""
    wake = WakeDelay()
    wake.open()
    while wake.without_cpu_ns() == 0:
        time.sleep(0.001)
        wake.begun_ns += 1
    asked = wake.without_cpu_ns()
    time.sleep(0.001)
    assert wake.without_cpu_ns() == asked
    wake.close()


def test_no_bound_is_known_without_the_waits_for_a_cpu():
    wake = WakeDelay()
    wake.woken_ns = wake.due_ns = 100 * MS
    for number in range(2 * BLOCK):
        wake.begun_ns = number
        wake.arrived(99 * MS)
    assert wake.earliest_ns(100 * MS) == 0
