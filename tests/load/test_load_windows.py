"""What a load worker's seconds say of it: shares in windows, which a phase as a whole would even out."""

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


@pytest.mark.parametrize(("full", "told"), [(0, 0.2), (1, 0.2), (2, 1.0)])
def test_of_up_to_a_hundred_windows_one_may_be_anything_and_no_second(full, told):
    windows = Windows()
    for number in range(1, 51):
        spent = WINDOW_NS // 5 * number + WINDOW_NS * 4 // 5 * max(0, number - (50 - full))
        windows.mark(WINDOW_NS * number, spent)
    assert high(windows.shares(50 * WINDOW_NS, spent)) == pytest.approx(told)
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
    told = account.report
    assert (told.cpu_s / told.wall_s, told.cpu_share_p99) == (pytest.approx(0.154), pytest.approx(1.0))


def beat_until(clock, account, until_ms):
    while clock.wall < until_ms:
        clock.wall += 10
        account.beat(clock.wall * MS)


def closed_leg(clock, account, share, answered_ms, gap_ms, until_ms):
    """Keep `share` requests in flight that take `answered_ms`, with `gap_ms` before the next of each."""
    account.enter(share=share)
    in_flight, vacant_since_ns = 0, None
    account.awaited = 0  # what came before is drained
    while clock.wall < until_ms:
        in_flight += 1
        account.issued(clock.wall * MS, in_flight, in_flight - 1)
        account.sent(clock.wall * MS, vacant_since_ns)
        if in_flight == share:
            beat_until(clock, account, clock.wall + answered_ms)
            account.vacated(clock.wall * MS)
            in_flight = account.awaited = in_flight - 1
            vacant_since_ns = clock.wall * MS
            beat_until(clock, account, clock.wall + gap_ms)
        else:
            beat_until(clock, account, clock.wall + 100)  # a ramp


def open_leg(clock, account, gaps_ms, late_ms):
    """Issue at so many milliseconds after each other, so late."""
    start_ms = clock.wall
    account.enter(start_ns=start_ms * MS)
    due_ms = start_ms
    for gap_ms, late in zip(gaps_ms, late_ms, strict=True):
        due_ms += gap_ms
        beat_until(clock, account, due_ms + late)
        account.issued((due_ms + late) * MS, 1, 0)
        account.lateness_ns.append(late * MS)


def achieved_p1(clock, account):
    clock.wall += 10
    account.beat(clock.wall * MS)
    account.close()
    return account.report.achieved_share_p1


@pytest.fixture
def account(clock):
    account = Tally(0)
    account.begin()
    return account


def vacancy_p99(clock, account):
    achieved_p1(clock, account)
    return account.report.vacancy_p99


def test_seconds_in_which_places_stood_empty_show_in_the_vacancy(clock, account):
    closed_leg(clock, account, share=4, answered_ms=990, gap_ms=10, until_ms=20_000)
    closed_leg(clock, account, share=4, answered_ms=500, gap_ms=500, until_ms=23_000)
    assert vacancy_p99(clock, account) == pytest.approx(0.5 / 4, abs=0.01)


def test_a_ramp_and_the_drain_of_stages_are_no_shortfall(clock, account):
    closed_leg(clock, account, share=8, answered_ms=250, gap_ms=0, until_ms=5_000)
    beat_until(clock, account, 9_000)  # drained
    closed_leg(clock, account, share=2, answered_ms=250, gap_ms=0, until_ms=14_000)
    assert vacancy_p99(clock, account) == pytest.approx(0.0, abs=0.001)


@given(st.lists(st.integers(0, 3000), min_size=10, max_size=40), st.integers(0, 20))
def test_arrivals_that_come_as_they_like_are_no_shortfall_of_who_keeps_up(gaps_ms, late_ms):
    now = SimpleNamespace(wall=0, cpu=0)
    fake = SimpleNamespace(monotonic_ns=lambda: now.wall * MS, process_time_ns=lambda: 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tally, "time", fake)
        account = Tally(0)
        account.begin()
        open_leg(now, account, gaps_ms, [late_ms] * len(gaps_ms))
        share = achieved_p1(now, account)
    assert share is None or share >= 0.97


def test_a_stage_of_a_rate_that_is_not_kept_up_shows_among_calm_ones(clock, account):
    open_leg(clock, account, [500] * 40, [0] * 40)
    open_leg(clock, account, [10] * 400, range(0, 4000, 10))  # 100/s asked for, 50/s issued
    open_leg(clock, account, [500] * 40, [0] * 40)
    assert achieved_p1(clock, account) == pytest.approx(0.5, abs=0.01)


def test_a_phase_of_less_than_two_windows_is_judged_as_a_whole(clock, account):
    closed_leg(clock, account, share=2, answered_ms=300, gap_ms=300, until_ms=1_500)
    assert achieved_p1(clock, account) is None
    assert (account.report.cpu_share_p99, account.report.vacancy_p99) == (None, None)
