import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_bench.metrics import selection, statistics
from pytest_bench.metrics.definitions import PERCENTILES, STATISTICS

values = hnp.arrays(np.float64, st.integers(1, 300), elements=st.integers(0, 10**12).map(float))


@given(values)
def test_percentiles_equal_numpy_with_method_lower(drawn):
    described = statistics.describe(np.sort(drawn))
    for name, share in PERCENTILES.items():
        assert described[name] == np.quantile(drawn, share, method="lower")


@given(values)
def test_percentiles_never_fall_and_lie_between_minimum_and_maximum(drawn):
    described = statistics.describe(np.sort(drawn))
    ladder = [described["min"], *(described[name] for name in PERCENTILES), described["max"]]
    assert ladder == sorted(ladder)


def test_the_statistics_of_four_values_by_hand():
    described = statistics.describe(np.array([1.0, 2.0, 3.0, 6.0]))
    assert described["mean"] == 3.0
    assert described["stddev"] == pytest.approx((14 / 3) ** 0.5)
    assert described["p50"] == 2.0
    assert described["p99"] == 3.0
    assert set(described) == set(STATISTICS)


def test_a_single_value_has_no_standard_deviation():
    assert statistics.describe(np.array([5.0]))["stddev"] is None


def test_loadgen_takes_the_value_at_n_times_p():
    ascending = np.arange(100, dtype=float)
    assert statistics.loadgen_percentile(ascending, 0.90) == 90.0
    assert statistics.percentile(ascending, 0.90) == 89.0


integers = hnp.arrays(
    np.int64,
    st.integers(1, 200),
    elements=st.one_of(st.integers(0, 3), st.integers(0, 10**10), st.integers(-(2**63), 2**63 - 1)),
)


@given(integers, st.integers(1, 5))
def test_selection_over_chunks_equals_sorting_everything(drawn, parts):
    def chunks():
        return np.array_split(drawn, parts)

    seen = selection.moments(chunks)
    ranks = {0, drawn.size // 2, drawn.size - 1}
    found = selection.select(chunks, ranks, seen.low, seen.high)
    ascending = np.sort(drawn)
    assert found == {rank: int(ascending[rank]) for rank in ranks}


@given(hnp.arrays(np.int64, st.integers(2, 200), elements=st.integers(0, 10**11)), st.integers(1, 5))
def test_statistics_over_chunks_equal_those_of_all_values_at_once(drawn, parts):
    count, described = selection.describe(lambda: np.array_split(drawn, parts))
    whole = statistics.describe(np.sort(drawn).astype(float))
    assert count == drawn.size
    assert {name: described[name] for name in PERCENTILES} == {name: whole[name] for name in PERCENTILES}
    assert described["mean"] == pytest.approx(whole["mean"])
    assert described["stddev"] == pytest.approx(whole["stddev"], rel=1e-6, abs=1e-3)


@given(
    st.lists(st.tuples(st.integers(0, 10**11), st.integers(1, 40)), min_size=1, max_size=60),
    st.integers(1, 5),
)
def test_a_value_that_counts_several_times_counts_as_that_many_values(drawn, parts):
    values, times = (np.array(column, dtype=np.int64) for column in zip(*drawn, strict=True))
    count, described = selection.describe(
        lambda: np.array_split(values, parts), lambda: np.array_split(times, parts)
    )
    whole_count, whole = selection.describe(lambda: [np.repeat(values, times)])
    assert count == whole_count
    for name in ("min", "max", *PERCENTILES):
        assert described[name] == whole[name]
    assert described["mean"] == pytest.approx(whole["mean"])
    if count > 1:
        assert described["stddev"] == pytest.approx(whole["stddev"], rel=1e-6, abs=1e-3)


def test_no_values_have_no_statistics():
    assert selection.describe(list) == (0, {})
