"""Which rows of a dataset each point gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.running.samples import share_out
from pytest_bench.suite.plan import Point, Warmup
from pytest_bench.workload import Load, SampleOrder


def load(requests=None):
    """A load that ends by a count, or else by time."""
    duration_s = 1.0 if requests is None else None
    return Load(pattern="concurrency", concurrency=1, requests=requests, duration_s=duration_s)


def point(measured=None, *, name="p", own=False, warmup=None, index=None):
    samples = SampleOrder(count=0) if index is None else SampleOrder(order="single", count=0, index=index)
    return Point(
        id=f"s/perf/{name}",
        suite="s",
        kind="perf",
        name=name,
        origin="s.yaml:1:1",
        dataset="d",
        load=load(measured),
        samples=samples,
        warmup=Warmup(load=load(warmup)) if own else None,
    )


def share_of(one, rows):
    return share_out([one], rows)[one.id]


def warmed(share):
    return range(share.warmup_first, share.warmup_first + share.warmup)


def measured(share):
    return range(share.first, share.first + share.measured)


counts = st.none() | st.integers(1, 40)


@given(index=st.integers(0, 29), more=st.integers(0, 30), warmup=counts, requests=counts)
def test_a_warm_up_never_uses_the_single_row_that_is_measured(index, more, warmup, requests):
    rows = max(2, index + 1 + more)
    share = share_of(point(requests, own=True, warmup=warmup, index=index), rows)
    assert index in measured(share)
    assert index not in warmed(share)
    assert warmed(share)
    assert warmed(share)[0] >= 0
    assert warmed(share)[-1] < rows


def test_a_warm_up_of_a_single_row_point_gets_all_rows_it_needs_if_one_side_has_them():
    assert warmed(share_of(point(5, own=True, warmup=4, index=3), 10)) == range(4, 8)
    assert warmed(share_of(point(5, own=True, warmup=4, index=8), 10)) == range(4)


@given(
    asked=st.lists(st.tuples(counts, st.booleans(), counts), min_size=1, max_size=5), rows=st.integers(2, 60)
)
def test_a_warm_up_has_separate_rows_if_there_are_two_or_more(asked, rows):
    points = [
        point(requests, name=str(number), own=own, warmup=warmup)
        for number, (requests, own, warmup) in enumerate(asked)
    ]
    shares = share_out(points, rows)
    for one in points:
        share = shares[one.id]
        assert measured(share)
        assert measured(share)[-1] < rows
        assert bool(warmed(share)) == (one.warmup is not None)
        assert not set(warmed(share)) & set(measured(share))


@given(
    asked=st.lists(st.tuples(counts, st.booleans(), counts), min_size=1, max_size=5), rows=st.integers(2, 60)
)
def test_points_that_are_not_marked_as_sharing_have_no_row_in_common(asked, rows):
    points = [
        point(requests, name=str(number), own=own, warmup=warmup)
        for number, (requests, own, warmup) in enumerate(asked)
    ]
    shares = share_out(points, rows).values()
    alone = [row for share in shares if not share.shared for row in (*warmed(share), *measured(share))]
    assert len(alone) == len(set(alone))


@pytest.mark.parametrize("requests", [None, 2, 3])
def test_a_timed_warm_up_gets_one_row_of_a_small_dataset(requests):
    share = share_of(point(requests, own=True), 3)
    assert (share.warmup, share.measured) == (1, 2)


@given(requests=counts, warmup=counts, rows=st.integers(2, 60), index=st.none() | st.integers(0, 1))
def test_a_point_alone_shares_no_samples(requests, warmup, rows, index):
    assert not share_of(point(requests, own=True, warmup=warmup, index=index), rows).shared


def test_a_timed_warm_up_gets_a_fifth_of_the_rows_not_used_by_counted_requests():
    share = share_of(point(90, own=True), 100)
    assert (share.warmup, share.measured, share.shared) == (2, 90, False)
