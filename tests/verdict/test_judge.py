import msgspec
import pytest

from pytest_bench.bounds import parse_bound
from pytest_bench.errors import UsageError
from pytest_bench.metrics.measurement import Measurement, Metric
from pytest_bench.verdict.judge import judge, show, violations
from pytest_bench.verdict.outcome import Outcome, worst


class Numbers(msgspec.Struct):
    """Something measured, as bounds see it."""

    values: dict[str, float | None]
    units: dict[str, str] = {}
    intervals: dict[tuple[str, float], tuple[float, float]] = {}
    uncertainties: dict[str, float] = {}
    reasons: dict[tuple[str, float], str] = {}

    def value(self, name):
        if name not in self.values:
            raise UsageError(f"no metric {name!r}")
        return self.values[name]

    def reason(self, name):
        return "not streamed" if self.value(name) is None else None

    def unit(self, name):
        self.value(name)
        return self.units.get(name, "requests/s")

    def uncertainty(self, name):
        return self.uncertainties.get(name, 0.0)

    def interval(self, name, confidence):
        return self.intervals.get((name, confidence))

    def interval_reason(self, name, confidence):
        return self.reasons.get((name, confidence))


NAME = "time_to_first_token.p99"


def numbers(value, **fields):
    return Numbers(
        {NAME: value, "failed_requests": 0.0, "error_rate": 0.1, "empty_outputs": 0.0}, {NAME: "ns"}, **fields
    )


def limit(text="<= 200ms", **fields):
    return parse_bound(NAME, text, "ns", origin="suites/a.yaml:12:7", **fields)


def test_a_bound_that_is_met_passes():
    judgement = judge([limit()], numbers(200e6))
    assert judgement.outcome is Outcome.PASS
    assert judgement.reasons == ()
    assert [item.state for item in judgement.bounds] == ["met", "met", "met"]
    assert all(item.is_met() for item in judgement.bounds)


def test_the_reason_of_a_bound_not_met_states_measured_value_requirement_and_origin():
    judgement = judge([limit()], numbers(231.44e6))
    assert judgement.outcome is Outcome.FAIL
    assert judgement.reasons[0].code == "bound-not-met"
    assert judgement.reasons[0].sentence == (
        "time_to_first_token.p99 is 231.4 ms, required <= 200ms (suites/a.yaml:12:7)"
    )


def test_a_value_just_past_its_limit_is_shown_with_enough_digits_to_differ():
    assert "is 200.0001 ms" in judge([limit()], numbers(200.0001e6)).reasons[0].sentence


def test_a_bound_judged_from_the_scheduled_time_is_shown_as_declared():
    name = "scheduled_time_to_first_token.p99"
    measured = Numbers({name: 42e6, "failed_requests": 0.0, "empty_outputs": 0.0}, {name: "ns"})
    bound = parse_bound(name, "<= 20ms", "ns")
    assert judge([bound], measured).reasons[0].sentence == (
        "time_to_first_token.p99, from the scheduled time (open loop), is 42 ms, required <= 20ms"
    )


def test_a_bound_on_a_null_metric_is_an_error_with_its_reason():
    judgement = judge([limit()], numbers(None))
    assert judgement.outcome is Outcome.ERROR
    assert judgement.reasons[0].sentence.startswith("time_to_first_token.p99 is null: not streamed; required")


def test_failed_requests_are_not_tolerated_unless_the_suite_declares_it():
    failing = numbers(1.0)
    failing.values["failed_requests"] = 3.0
    assert judge([limit()], failing).outcome is Outcome.FAIL
    assert "failed_requests is 3 requests/s, required == 0" in judge([limit()], failing).reasons[0].sentence
    tolerant = parse_bound("error_rate", "<= 20%", "fraction")
    assert judge([limit(), tolerant], failing).outcome is Outcome.PASS
    assert judge([parse_bound("failed_requests", "<= 3", "requests")], failing).outcome is Outcome.PASS


def test_empty_outputs_are_not_tolerated_unless_the_suite_declares_it():
    empty = numbers(1.0)
    empty.values["empty_outputs"] = 12.0
    judgement = judge([limit()], empty)
    assert judgement.outcome is Outcome.FAIL
    assert judgement.reasons[0].sentence == "empty_outputs is 12 requests/s, required == 0"
    assert judge([], empty).outcome is Outcome.FAIL
    assert judge([parse_bound("error_rate", "<= 20%", "fraction")], empty).outcome is Outcome.FAIL
    assert judge([parse_bound("empty_outputs", "<= 12", "requests")], empty).outcome is Outcome.PASS


def test_a_point_without_bounds_passes_as_unbounded_if_no_request_failed():
    judgement = judge([], numbers(1.0))
    assert judgement.outcome is Outcome.PASS
    assert judgement.labels == ("unbounded",)
    failing = numbers(1.0)
    failing.values["failed_requests"] = 1.0
    assert judge([], failing).outcome is Outcome.FAIL


def test_a_bound_on_an_unknown_metric_is_a_usage_error():
    with pytest.raises(UsageError, match="no metric"):
        judge([parse_bound("nope", ">= 1", "x")], numbers(1.0))


@pytest.mark.parametrize(
    ("interval", "state"),
    [
        ((150e6, 190e6), "met"),
        ((150e6, 210e6), "inconclusive"),
        ((201e6, 210e6), "not-met"),
        (None, "undefined"),
    ],
)
def test_a_bound_with_a_confidence_judges_the_whole_interval(interval, state):
    measured = numbers(180e6, intervals={(NAME, 0.95): interval} if interval else {})
    judged = judge([limit(confidence=0.95)], measured).bounds[0]
    assert judged.state == state
    assert judged.is_met() == (state == "met")
    assert judged.interval == interval


@pytest.mark.parametrize(
    ("interval", "state"), [((1.0, 1.0), "met"), ((0.5, 1.5), "inconclusive"), ((1.5, 2.0), "not-met")]
)
def test_an_equality_with_a_confidence(interval, state):
    bound = parse_bound("r", "== 1", "requests/s", confidence=0.9)
    judged = judge([bound], Numbers({"r": 1.0}, {}, {("r", 0.9): interval}), implied=()).bounds[0]
    assert judged.state == state


def test_only_a_bound_with_a_confidence_can_be_inconclusive():
    measured = numbers(180e6, intervals={(NAME, 0.95): (150e6, 210e6)})
    assert judge([limit()], measured).outcome is Outcome.PASS
    judgement = judge([limit(confidence=0.95)], measured)
    assert judgement.outcome is Outcome.INCONCLUSIVE
    assert "0.95 interval 150 ms to 210 ms" in judgement.reasons[0].sentence
    assert "measure more requests" in judgement.reasons[0].sentence


def test_violations_equal_the_empty_tuple_if_all_requirements_are_met():
    assert violations(numbers(100e6), f"{NAME} <= 200ms", "error_rate <= 0.1") == ()


def test_violations_state_measured_value_requirement_and_origin():
    found = violations(numbers(300e6), f"{NAME} <= 200ms", f"{NAME} < 1s", origin="test_x.py:7")
    assert found != ()
    assert found.lines() == ["time_to_first_token.p99 is 300 ms, required <= 200ms (test_x.py:7)"]


def test_a_null_metric_is_a_violation():
    assert violations(numbers(None), f"{NAME} <= 200ms").lines()[0].startswith(f"{NAME} is null")


@pytest.mark.parametrize("text", ["fast enough", f"{NAME} <= 200", "nope >= 1"])
def test_a_requirement_that_cannot_be_understood_is_a_usage_error(text):
    with pytest.raises(UsageError):
        violations(numbers(1.0), text)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.5e9, "ns", "2.5 s"),
        (12_345_678, "ns", "12.35 ms"),
        (0, "ns", "0 ns"),
        (0.0512, "fraction", "5.12%"),
        (1_234_567.0, "tokens", "1234567 tokens"),
        (1.23456, "requests/s", "1.235 requests/s"),
    ],
)
def test_numbers_are_shown_in_readable_units(value, unit, text):
    assert show(value, unit) == text


def test_the_worst_outcome_is_an_error_and_none_is_a_pass():
    assert worst([]) is Outcome.PASS
    assert worst([Outcome.PASS, Outcome.INCONCLUSIVE]) is Outcome.INCONCLUSIVE
    assert worst([Outcome.FAIL, Outcome.INCONCLUSIVE]) is Outcome.FAIL
    assert worst([Outcome.MISSING, Outcome.FAIL]) is Outcome.MISSING
    assert worst([Outcome.MISSING, Outcome.ERROR, Outcome.MISSING]) is Outcome.ERROR
    assert Outcome.ERROR.severity == Outcome.MISSING.severity


def test_a_measurement_is_something_that_can_be_judged():
    latency = Metric(unit="ns", kind="distribution", statistics={"p99": 150e6}, count=9)
    none = Metric(unit="requests", kind="scalar", value=0)
    measurement = Measurement(
        metrics={"time_to_first_token": latency, "failed_requests": none, "empty_outputs": none}
    )
    assert judge([limit()], measurement).outcome is Outcome.PASS
    assert violations(measurement, f"{NAME} <= 100ms").lines() == [
        "time_to_first_token.p99 is 150 ms, required <= 100ms"
    ]
