import pytest

from pytest_bench.evals.concurrency import prove_concurrency
from pytest_bench.load.tally import Tally


@pytest.mark.parametrize(
    ("requests", "peak", "achieved", "short", "problem"),
    [
        (32, 8, 7.84, False, None),
        (32, 8, 7.83, False, "the mean concurrency was 7.83; expected at least 7.84"),
        (32, 8, None, False, "the mean concurrency was unknown"),
        (32, 7, 8.0, False, "at most 7 requests were in flight; 8 were asked for"),
        (32, 9, 8.0, False, "at most 9 requests were in flight; 8 were asked for"),
        (31, 8, 1.0, True, None),
        (31, 8, None, True, None),
        (31, 7, 8.0, True, "at most 7 requests"),
    ],
)
def test_the_peak_and_with_enough_requests_the_mean_prove_the_concurrency(
    requests, peak, achieved, short, problem
):
    proof = prove_concurrency(8, requests, peak, achieved, vacancy=0.02)
    assert proof.short is short
    assert (proof.problem is None) if problem is None else proof.problem.startswith(problem)


def test_a_relaxed_budget_allows_a_larger_share_to_be_missing():
    assert prove_concurrency(8, 32, 8, 4.0, vacancy=0.5).problem is None
    assert prove_concurrency(8, 32, 8, 3.9, vacancy=0.5).problem.startswith("the mean concurrency was 3.90")


def test_a_request_is_in_flight_from_sending_to_the_kernels_stamp_of_its_end_and_while_it_waits():
    """Two places: one request ends at 30 and is read late, one fails, waits and is sent again."""
    tally = Tally(0)
    tally.begin()
    tally.enter(2)
    for sent_ns in (10, 12):
        tally.issued(sent_ns - 1, tally.in_flight + 1, tally.in_flight)
        tally.sent(sent_ns)
    tally.issued(50, 2, 2)  # the place of the first, whose end was stamped at 30, gets its next request
    tally.vacated(30)
    tally.sent(52)
    tally.issued(90, 2, 2)  # the second is sent again after a wait, in the place that it kept
    places = tally.places()
    assert (places.peak, places.full_load_ns, places.last_issue_ns) == (2, 11, 90)
    assert places.place_ns == (30 - 11) + (90 - 52) + (90 - 12)


def test_requests_that_ended_before_the_last_was_sent_are_not_part_of_the_peak():
    tally = Tally(0)
    tally.begin()
    tally.enter(4)
    for number in range(4):
        tally.issued(number, number + 1, number)
        tally.sent(10 * number)
    for end_ns in (9, 19, 29, 45):
        tally.vacated(end_ns)
    assert tally.places().peak == 1
