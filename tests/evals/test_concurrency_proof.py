import pytest

from pytest_bench.evals.concurrency import prove_concurrency


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
    proof = prove_concurrency(8, requests, peak, achieved)
    assert proof.short is short
    assert (proof.problem is None) if problem is None else proof.problem.startswith(problem)
