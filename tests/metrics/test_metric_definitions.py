import pytest

from pytest_bench.errors import UsageError
from pytest_bench.metrics import formulas, gap_metrics
from pytest_bench.metrics.definitions import DEFINITIONS
from pytest_bench.metrics.names import all_names, interval_method, open_loop_name, slo_unit_of, unit_of


def test_every_name_that_is_offered_has_a_unit():
    assert all(unit_of(name) for name in all_names())


def test_every_definition_has_exactly_one_formula():
    tables = [
        *formulas.PER_REQUEST,
        *formulas.PER_ISSUE,
        *formulas.SCALARS,
        *gap_metrics.POOLED,
    ]
    assert sorted(tables) == sorted(DEFINITIONS)


def test_every_formula_states_its_source():
    functions = [*formulas.PER_REQUEST.values(), *formulas.PER_ISSUE.values(), *formulas.SCALARS.values()]
    assert [function.__name__ for function in functions if not function.__doc__] == []


def test_a_percentile_is_in_the_unit_of_its_metric():
    assert unit_of("time_to_first_token.p99.9") == "ns"
    assert unit_of("output_token_throughput_per_user.p1") == "tokens/s"


def test_an_early_stopping_estimate_may_be_bounded():
    assert unit_of("request_latency.early_stopping_p90") == "ns"


def test_pooled_gaps_have_no_early_stopping_estimate_since_they_are_not_requests():
    with pytest.raises(UsageError, match="early_stopping_p90"):
        unit_of("inter_chunk_latency.early_stopping_p90")


def test_a_common_abbreviation_is_answered_with_the_full_name_of_the_metric():
    with pytest.raises(UsageError, match="did you mean 'time_per_output_token'"):
        unit_of("TPOT.p50")


def test_a_misspelt_metric_names_the_nearest_one():
    with pytest.raises(UsageError, match="did you mean 'time_to_first_token'"):
        unit_of("time_to_frist_token.p99")


def test_a_distribution_without_a_statistic_is_refused_with_an_example():
    with pytest.raises(UsageError, match=r"a statistic must follow.*request_latency\.p99"):
        unit_of("request_latency")


def test_an_unknown_statistic_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match=r"no statistic 'p98'.*p97, p99"):
        unit_of("request_latency.p98")


def test_a_scalar_with_a_statistic_is_refused():
    with pytest.raises(UsageError, match="single number"):
        unit_of("request_throughput.p99")


def test_only_metrics_of_single_requests_may_be_an_slo():
    assert slo_unit_of("time_per_output_token") == "ns"
    with pytest.raises(UsageError, match="cannot limit a single request"):
        slo_unit_of("request_throughput")


def test_in_open_loop_a_bound_on_a_latency_judges_it_from_the_scheduled_time():
    assert open_loop_name("time_to_first_token.p99.9") == "scheduled_time_to_first_token.p99.9"
    assert open_loop_name("request_latency.mean") == "scheduled_request_latency.mean"
    assert open_loop_name("time_per_output_token.p99") == "time_per_output_token.p99"
    assert open_loop_name("request_throughput") == "request_throughput"
    assert all(unit_of(open_loop_name(name)) == unit_of(name) for name in all_names())


def test_intervals_exist_for_metrics_of_requests_and_for_shares_and_rates_of_requests():
    methods = {name: interval_method(name) for name in all_names()}
    assert methods["request_latency.p99.9"] == "order statistics"
    assert methods["output_tokens.mean"] == "batch means"
    assert {name for name, method in methods.items() if method == "Wilson"} == {
        "error_rate",
        "good_request_fraction",
    }
    assert {name for name, method in methods.items() if method == "batch means of counts"} == {
        "request_throughput",
        "goodput",
    }
    for name in ("request_latency.stddev", "inter_chunk_latency.p99", "schedule_lateness.mean", "unheard_of"):
        assert interval_method(name) is None
