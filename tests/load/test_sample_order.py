import math
from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.load.order import sample_function
from pytest_bench.workload import SampleOrder

COUNTS = st.integers(1, 300)
SEEDS = st.integers(0, 2**63)


@given(COUNTS, SEEDS, st.integers(0, 50), st.integers(0, 9))
def test_without_replacement_every_pass_uses_every_sample_once(count, seed, number, first):
    sample = sample_function(SampleOrder(count=count, first=first, seed=seed))
    drawn = sorted(sample(index) for index in range(number * count, (number + 1) * count))
    assert drawn == list(range(first, first + count))


@given(st.integers(20, 300), SEEDS)
def test_without_replacement_each_pass_has_a_new_order(count, seed):
    sample = sample_function(SampleOrder(count=count, seed=seed))
    passes = [tuple(sample(start + index) for index in range(count)) for start in (0, count, 2 * count)]
    assert len({*passes, tuple(range(count))}) == 4


@given(COUNTS, SEEDS, st.sampled_from(["without_replacement", "with_replacement"]))
def test_a_seed_fixes_the_order_and_another_gives_another(count, seed, order):
    def drawn(seed):
        sample = sample_function(SampleOrder(order=order, count=count, seed=seed))
        return [sample(index) for index in range(3 * count)]

    assert drawn(seed) == drawn(seed)
    if count > 20:
        assert drawn(seed) != drawn(seed + 1)


@pytest.mark.parametrize(
    ("order", "count", "drawn"),
    [
        ("without_replacement", 10, [7, 4, 1, 8, 5, 3, 0, 2, 6, 9, 1, 5]),
        ("without_replacement", 70, [36, 8, 1, 22, 19, 16, 13, 32, 46, 52, 48, 64]),
        ("with_replacement", 70, [21, 45, 21, 43, 34, 60, 53, 14, 54, 22, 3, 51]),
    ],
)
def test_a_seed_means_the_same_samples_in_every_release(order, count, drawn):
    sample = sample_function(SampleOrder(order=order, count=count, seed=7))
    assert [sample(index) for index in range(12)] == drawn


@given(COUNTS, SEEDS, st.lists(st.integers(0, 2000), max_size=20))
def test_the_sample_depends_on_the_index_alone(count, seed, indices):
    order = SampleOrder(count=count, seed=seed)
    together, alone = sample_function(order), [sample_function(order)(index) for index in indices]
    assert [together(index) for index in indices] == alone


def chi_squared(observed, expected):
    return sum((count - expected) ** 2 / expected for count in observed)


def limit(freedom):
    """Wilson and Hilferty's approximation of the 99.99 % quantile."""
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + 3.72 * math.sqrt(spread)) ** 3


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_shuffles_of_few_samples_are_equally_likely(count):
    seen = Counter(
        tuple(sample_function(SampleOrder(count=count, seed=seed))(index) for index in range(count))
        for seed in range(6000)
    )
    kinds = math.factorial(count)
    assert set(seen) == set(permutations(range(count)))
    assert chi_squared([seen[kind] for kind in permutations(range(count))], 6000 / kinds) < limit(kinds - 1)


@pytest.mark.parametrize("count", [10, 65, 100, 1000])
def test_any_sample_may_have_any_position(count):
    places = (0, 1, count // 2, count - 1)
    for place in places:
        seen = Counter(
            sample_function(SampleOrder(count=count, seed=seed))(place) for seed in range(20 * count)
        )
        assert chi_squared([seen[sample] for sample in range(count)], 20) < limit(count - 1)


def test_with_replacement_draws_evenly():
    sample = sample_function(SampleOrder(order="with_replacement", count=50, seed=3))
    seen = Counter(sample(index) for index in range(10_000))
    assert chi_squared([seen[number] for number in range(50)], 200) < limit(49)


@given(COUNTS, st.integers(0, 99), st.integers(0, 10**6))
def test_sequential_goes_round_and_single_stays(count, first, index):
    assert (
        sample_function(SampleOrder(order="sequential", count=count, first=first))(index)
        == first + index % count
    )
    assert sample_function(SampleOrder(order="single", count=count, first=first, index=5))(index) == 5


@pytest.mark.parametrize(
    ("order", "what"),
    [
        (SampleOrder(count=0), "at least one sample"),
        (SampleOrder(order="single", count=3), "needs the index"),
    ],
)
def test_an_order_that_names_no_sample_is_refused(order, what):
    with pytest.raises(ValueError, match=what):
        sample_function(order)
