"""What a performance point makes of its declaration, before and after it is driven."""

from types import SimpleNamespace

import pytest

from pytest_bench.bounds import parse_bound
from pytest_bench.errors import UsageError
from pytest_bench.perf.point import bounds_of, phases_of, require_own_rows
from pytest_bench.perf.remeasure import shortfalls
from pytest_bench.records import WARMUP
from pytest_bench.running.samples import share_out
from pytest_bench.suite.plan import Point, Warmup
from pytest_bench.workload import Load, SampleOrder

CLOSED = Load(pattern="concurrency", concurrency=1, requests=4)
OPEN = Load(pattern="poisson", rate=1.0, requests=4)


def point(load, **fields):
    return Point(
        id="s/perf/p",
        suite="s",
        kind="perf",
        name="p",
        origin="s.yaml:7:3",
        dataset="prompts",
        load=load,
        bounds=(parse_bound("time_to_first_token.p99", "<= 1s", "ns"),),
        **fields,
    )


def stages(*parts):
    return Load(pattern="stages", stages=parts)


@pytest.mark.parametrize(
    ("load", "judged"),
    [
        (OPEN, "scheduled_time_to_first_token.p99"),
        (CLOSED, "time_to_first_token.p99"),
        (stages(OPEN, OPEN), "scheduled_time_to_first_token.p99"),
        (stages(OPEN, CLOSED), "time_to_first_token.p99"),
        (stages(CLOSED), "time_to_first_token.p99"),
    ],
)
def test_bounds_count_from_the_scheduled_time_where_all_of_the_load_is_open_loop(load, judged):
    assert [bound.metric for bound in bounds_of(point(load))] == [judged]


def test_a_warm_up_before_a_single_sample_is_driven_with_other_rows():
    single = point(CLOSED, samples=SampleOrder(order="single", count=0, index=1), warmup=Warmup(load=CLOSED))
    warmup, measured = phases_of(single, share_out([single], 10)[single.id])
    assert (warmup.label, warmup.samples.first, warmup.samples.count) == (WARMUP, 2, 4)
    assert measured.samples.index == 1


def test_a_warm_up_that_cannot_have_rows_of_its_own_is_refused_with_what_would_help():
    alone = point(CLOSED, warmup=Warmup(load=CLOSED))
    with pytest.raises(UsageError) as caught:
        require_own_rows(alone, share_out([alone], 1)[alone.id], 1)
    assert str(caught.value) == (
        "s.yaml:7:3: the warm-up of s/perf/p needs samples of its own, but the dataset 'prompts' has 1 row; "
        "expected 2 rows or more, or `samples: salted` in the warm-up"
    )
    salted = point(CLOSED, warmup=Warmup(load=CLOSED, samples="salted"))
    require_own_rows(salted, share_out([salted], 1)[salted.id], 1)


def ended(*, issued, peak=8):
    """What `shortfalls` reads of the result of a phase."""
    return SimpleNamespace(issued=issued, peak_in_flight=peak)


def test_a_phase_that_time_ended_before_its_count_issued_enough():
    either = Load(pattern="concurrency", concurrency=8, requests=1000, duration_s=2.0)
    assert list(shortfalls(point(either), ended(issued=400))) == []
    assert list(shortfalls(point(either), ended(issued=1001))) == [
        "issued is 1001, and at most 1000 requests were asked for"
    ]


def test_a_phase_that_only_its_count_ends_issues_exactly_so_many():
    counted = Load(pattern="concurrency", concurrency=8, requests=1000)
    assert list(shortfalls(point(counted), ended(issued=999))) == [
        "issued is 999, and 1000 requests were asked for"
    ]


def test_more_requests_than_the_count_are_held_in_flight_where_a_duration_must_be_reached_too():
    both = Load(pattern="concurrency", concurrency=1000, requests=100, duration_s=60.0, stop="and")
    assert list(shortfalls(point(both), ended(issued=5000, peak=1000))) == []
    [sentence] = shortfalls(point(both), ended(issued=5000, peak=100))
    assert sentence == "peak_in_flight is 100, and a concurrency of 1000 was asked for"


def test_more_requests_in_flight_than_the_cap_of_an_open_loop_are_a_contradiction():
    capped = Load(pattern="poisson", rate=1.0, requests=400, max_concurrency=8)
    assert list(shortfalls(point(capped), ended(issued=400, peak=3))) == []
    [sentence] = shortfalls(point(capped), ended(issued=400, peak=9))
    assert sentence == "peak_in_flight is 9, and at most 8 were asked for"
