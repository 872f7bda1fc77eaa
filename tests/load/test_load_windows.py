"""Shares of a load worker in windows of a second, which the average over a phase would hide."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.load import tally
from pytest_bench.load.tally import Tally
from pytest_bench.load.windows import WINDOW_NS, Windows, high, low

MS = 1_000_000


@given(st.lists(st.tuples(st.integers(0, 3 * WINDOW_NS), st.floats(0, 1)), max_size=30))
def test_windows_are_whole_and_together_the_phase(steps):
    windows, most, total = Windows(), 0, 0
    for length, share in steps:
        most, total = most + length, total + round(length * share)
        if windows.due(most):
            windows.mark(most, total)
    shares = windows.shares(most, total)
    assert len(shares) <= most // WINDOW_NS
    assert shares == sorted(shares)
    if shares:
        assert shares[0] <= total / most <= shares[-1]
        assert shares[0] <= low(shares) <= high(shares) <= shares[-1] or len(shares) == 2


@pytest.mark.parametrize(("full", "expected"), [(0, 0.2), (1, 0.2), (2, 1.0)])
def test_of_up_to_a_hundred_windows_the_worst_is_excluded_and_the_second_counts(full, expected):
    windows = Windows()
    for number in range(1, 51):
        spent = WINDOW_NS // 5 * number + WINDOW_NS * 4 // 5 * max(0, number - (50 - full))
        windows.mark(WINDOW_NS * number, spent)
    assert high(windows.shares(50 * WINDOW_NS, spent)) == pytest.approx(expected)
    missing = Windows()
    for number in range(1, 51):
        missing.mark(WINDOW_NS * number, WINDOW_NS * min(number, 50 - full))
    shares = missing.shares(50 * WINDOW_NS, WINDOW_NS * (50 - full))
    assert low(shares) == (0.0 if full == 2 else 1.0)


def test_what_is_left_in_the_end_joins_the_last_window_and_less_than_two_are_none():
    windows = Windows()
    windows.mark(WINDOW_NS, 0)
    assert windows.shares(WINDOW_NS * 3 // 2, WINDOW_NS // 2) == []
    windows.mark(WINDOW_NS * 2, WINDOW_NS)
    assert windows.shares(WINDOW_NS * 5 // 2, WINDOW_NS) == [0.0, pytest.approx(2 / 3)]


@pytest.fixture
def clock(monkeypatch):
    """The time and the CPU time of a load worker, in milliseconds after its phase began."""
    now = SimpleNamespace(wall=0, cpu=0)
    monkeypatch.setattr(
        tally,
        "time",
        SimpleNamespace(monotonic_ns=lambda: now.wall * MS, process_time_ns=lambda: now.cpu * MS),
    )
    return now


def test_a_tail_in_which_a_load_worker_was_full_shows_though_its_phase_was_calm(clock):
    account = Tally(0)
    account.begin()
    for beat in range(1, 5001):
        clock.wall, busy = beat * 10, max(0, beat - 4700) * 10
        clock.cpu = beat + busy * 9 // 10
        account.beat(clock.wall * MS)
    account.close()
    report = account.report
    assert (report.cpu_s / report.wall_s, report.cpu_share_p99) == (pytest.approx(0.154), pytest.approx(1.0))


def test_cpu_time_of_less_than_two_windows_is_judged_as_a_whole(clock):
    account = Tally(0)
    account.begin()
    for beat in range(1, 150):
        clock.wall = beat * 10
        account.beat(clock.wall * MS)
    account.close()
    assert account.report.cpu_share_p99 is None
