import itertools
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_bench.errors import EvidenceError
from pytest_bench.evals.estimates import estimate
from pytest_bench.evals.gates import Gate, correct_sweep, holm, judge_estimate, judge_paired
from pytest_bench.evals.paired import Flip, bounds, compare, exact_mcnemar, require_same_items, statistic
from pytest_bench.metrics.observed import NotDefined
from pytest_bench.verdict.outcome import Outcome

KEY = "exact_match,strict-match"


def gate(kind, limit, **changes):
    return Gate(kind=kind, metric=KEY, limit=limit, **changes)


def share(right, count):
    return estimate({str(place): [float(place < right)] for place in range(count)}, binary=True)


def pairs(both, won, lost, neither):
    """Baseline and candidate with these numbers of items."""
    shape = [(1.0, 1.0)] * both + [(0.0, 1.0)] * won + [(1.0, 0.0)] * lost + [(0.0, 0.0)] * neither
    return tuple({str(place): [pair[side]] for place, pair in enumerate(shape)} for side in (0, 1))


@pytest.mark.parametrize(("right", "outcome"), [(79, Outcome.FAIL), (80, Outcome.PASS), (81, Outcome.PASS)])
def test_a_threshold_compares_the_value_and_equal_passes(right, outcome):
    assert judge_estimate(gate("threshold", 0.8), share(right, 100)).outcome is outcome


@pytest.mark.parametrize(
    ("right", "count", "outcome"),
    [
        (95, 100, Outcome.PASS),
        (85, 100, Outcome.INCONCLUSIVE),
        (850, 1000, Outcome.PASS),
        (75, 100, Outcome.INCONCLUSIVE),
        (70, 100, Outcome.FAIL),
        (100, 100, Outcome.PASS),
        (10, 10, Outcome.INCONCLUSIVE),
    ],
)
def test_a_lower_bound_passes_fails_or_is_not_decided(right, count, outcome):
    result = judge_estimate(gate("lower_bound", 0.8), share(right, count))
    assert result.outcome is outcome
    assert (result.outcome is Outcome.PASS) == (result.bound >= 0.8)


@settings(deadline=None)
@given(st.integers(2, 400), st.data(), st.floats(0.02, 0.98))
def test_the_sample_size_that_would_decide_does_and_one_item_less_does_not(count, data, limit):
    right = data.draw(st.integers(1, count - 1))
    found = share(right, count)
    result = judge_estimate(gate("lower_bound", limit), found)
    if result.needed is None or result.needed > 10**6:
        return

    def outcome(items):
        larger = msgspec.structs.replace(found, items=items, n=items)
        return judge_estimate(gate("lower_bound", limit), larger).outcome

    assert outcome(result.needed + 1) in {Outcome.PASS, Outcome.FAIL}
    assert outcome(result.needed - 1) is Outcome.INCONCLUSIVE


def test_a_score_on_the_limit_is_decided_by_no_number_of_items():
    result = judge_estimate(gate("lower_bound", 0.8), share(80, 100))
    assert (result.outcome, result.needed) == (Outcome.INCONCLUSIVE, None)
    assert "no number of items would decide it" in result.sentence


def test_an_inconclusive_gate_says_how_many_items_would_decide():
    result = judge_estimate(gate("lower_bound", 0.8), share(85, 100))
    assert result.needed > 100
    assert f"about {result.needed} would" in result.sentence


def test_scores_that_are_not_binary_are_judged_by_students_bound():
    values = {str(place): [0.7 + 0.02 * (place % 5)] for place in range(10)}
    found = estimate(values, binary=False)
    result = judge_estimate(gate("lower_bound", 0.7), found)
    assert result.bound == pytest.approx(found.value - 1.833113 * found.stderr, rel=1e-6)
    assert result.outcome is Outcome.PASS
    assert result.p_pass < 0.05


def test_equal_scores_of_few_items_do_not_count_as_certain():
    found = estimate({str(place): [0.5, 0.5] for place in range(4)}, binary=False)
    assert judge_estimate(gate("lower_bound", 0.4), found).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"limit": 1.5}, "limit"),
        ({"limit": math.nan}, "limit"),
        ({"confidence": 0.5}, "confidence"),
        ({"confidence": 1.0}, "confidence"),
    ],
)
def test_a_meaningless_gate_is_refused(changes, what):
    with pytest.raises(ValueError, match=what):
        gate(**{"kind": "lower_bound", "limit": 0.8, **changes})


def test_a_gate_is_judged_by_its_own_kind_of_evidence_only():
    baseline, candidate = pairs(5, 1, 1, 1)
    with pytest.raises(ValueError, match="needs a baseline"):
        judge_estimate(gate("non_inferior", 0.1), share(1, 2))
    with pytest.raises(ValueError, match="takes no baseline"):
        judge_paired(gate("threshold", 0.1), compare(baseline, candidate))


@pytest.mark.parametrize(
    ("won", "lost", "expected"), [(0, 0, 1.0), (1, 0, 1.0), (0, 6, 0.03125), (2, 8, 0.109375), (5, 5, 1.0)]
)
def test_mcnemars_test_is_the_exact_binomial_one(won, lost, expected):
    assert exact_mcnemar(won, lost) == pytest.approx(expected)


def test_a_comparison_lists_what_flipped():
    paired = compare(*pairs(2, 1, 1, 1))
    assert (paired.items, paired.won, paired.lost, paired.difference) == (5, 1, 1, 0)
    assert paired.flips == (Flip("2", 0.0, 1.0), Flip("3", 1.0, 0.0))


@pytest.mark.parametrize(
    ("candidate", "what"),
    [
        ({"a": "1"}, "1 only in the baseline, such as 'b'"),
        ({"a": "1", "b": "2", "c": "3"}, "1 not in the baseline, such as 'c'"),
        ({"a": "1", "b": "9"}, "1 changed since the baseline, such as 'b'"),
    ],
)
def test_a_baseline_of_other_items_is_refused_naming_them(candidate, what):
    require_same_items({"a": "1", "b": "2"}, {"b": "2", "a": "1"})
    with pytest.raises(EvidenceError, match=what):
        require_same_items({"a": "1", "b": "2"}, candidate)


def test_different_items_cannot_be_compared():
    with pytest.raises(NotDefined, match="same scored items"):
        compare({"a": [1.0]}, {"b": [1.0]})


@pytest.mark.parametrize("counts", [(42, 1, 1, 0), (43, 0, 1, 0), (20, 9, 3, 12)])
def test_at_each_bound_of_a_paired_difference_tangos_statistic_is_the_quantile(counts):
    found = compare(*pairs(*counts))
    low, high = bounds(found, 0.975)
    assert statistic(found, low).z == pytest.approx(1.959964, rel=1e-5)
    assert statistic(found, high).z == pytest.approx(-1.959964, rel=1e-5)


def test_bounds_of_as_many_gains_as_losses_are_symmetric():
    low, high = bounds(compare(*pairs(42, 1, 1, 0)), 0.975)
    assert low == pytest.approx(-high)


def test_no_flips_on_few_items_do_not_prove_non_inferiority():
    few, many = compare(*pairs(10, 0, 0, 10)), compare(*pairs(500, 0, 0, 500))
    assert judge_paired(gate("non_inferior", 0.01), few).outcome is Outcome.INCONCLUSIVE
    assert judge_paired(gate("non_inferior", 0.01), many).outcome is Outcome.PASS
    # without flips the bound is z² / (n + z²)
    z2 = 1.644854**2
    assert bounds(few, 0.95)[0] == pytest.approx(-z2 / (20 + z2), rel=1e-5)


def test_a_loss_beyond_the_margin_fails():
    result = judge_paired(gate("non_inferior", 0.02), compare(*pairs(700, 5, 100, 195)))
    assert result.outcome is Outcome.FAIL
    assert result.measured == pytest.approx(-0.095)


def test_repeats_are_compared_by_their_means():
    baseline = {str(item): [1.0, float(item % 2)] for item in range(40)}
    candidate = {str(item): [1.0, float(item % 3 == 0)] for item in range(40)}
    paired = compare(baseline, candidate)
    assert (paired.won, paired.mcnemar_p) == (None, None)
    low, high = bounds(paired, 0.95)
    assert low < paired.difference < high
    assert {flip.item for flip in paired.flips} == {
        str(item) for item in range(40) if (item % 2 == 1) != (item % 3 == 0)
    }


@settings(deadline=None)
@given(*(st.integers(0, 40),) * 4, st.floats(0.6, 0.99))
def test_the_bounds_of_a_difference_enclose_it_and_agree_with_the_statistic(
    both, won, lost, neither, confidence
):
    if both + won + lost + neither < 2:
        return
    paired = compare(*pairs(both, won, lost, neither))
    low, high = bounds(paired, confidence)
    assert -1 <= low <= paired.difference <= high <= 1
    assert statistic(paired, low + 1e-6).z <= statistic(paired, low - 1e-6).z


def test_the_score_bound_errs_about_as_often_as_stated():
    random = np.random.default_rng(3)
    missed = 0
    for _ in range(1000):
        drawn = random.multinomial(150, [0.7, 0.06, 0.1, 0.14])
        low, _ = bounds(compare(*pairs(*drawn)), 0.95)
        missed += low > 0.06 - 0.1
    assert 0.03 < missed / 1000 < 0.07


def test_holms_adjusted_p_values_are_those_of_his_procedure():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holms_p_values_are_never_smaller_and_keep_the_order(p_values):
    adjusted = holm(p_values)
    assert all(before <= after <= 1 for before, after in zip(p_values, adjusted, strict=True))
    for (p, q), (a, b) in zip(
        itertools.combinations(p_values, 2), itertools.combinations(adjusted, 2), strict=True
    ):
        assert (p <= q) <= (a <= b)


def test_a_sweep_of_many_concurrencies_makes_each_decision_harder():
    one = judge_estimate(gate("lower_bound", 0.8), share(87, 100))
    assert one.outcome is Outcome.PASS
    corrected = correct_sweep([one] * 10)
    assert {result.outcome for result in corrected} == {Outcome.INCONCLUSIVE}
    assert "Holm's correction over 10 concurrencies" in corrected[0].sentence
    clear = judge_estimate(gate("lower_bound", 0.8), share(99, 100))
    assert [result.outcome for result in correct_sweep([one, clear])] == [Outcome.PASS, Outcome.PASS]
    assert correct_sweep([one])[0].outcome is Outcome.PASS


def test_thresholds_need_no_correction_and_different_gates_are_not_one_sweep():
    met = judge_estimate(gate("threshold", 0.8), share(80, 100))
    assert correct_sweep([met, met]) == [met, met]
    different = [judge_estimate(gate("lower_bound", 0.8, confidence=c), share(9, 10)) for c in (0.9, 0.95)]
    with pytest.raises(ValueError, match="differ"):
        correct_sweep(different)
