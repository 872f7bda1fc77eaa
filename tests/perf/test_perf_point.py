"""What a performance point makes of its declaration, before and after it is driven."""

import pytest

from pytest_bench.bounds import parse_bound
from pytest_bench.errors import UsageError
from pytest_bench.perf.point import WARMUP, bounds_of, phases_of, require_own_rows
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
