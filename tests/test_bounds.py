"""The language of bounds: a limit means exactly what is written."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.bounds import TIME_UNITS, parse_bound
from pytest_bench.errors import UsageError


@pytest.mark.parametrize("percent", [35, 41, 47, 57, 69, 70, 82, 83, 94, 95])
def test_a_percentage_equals_the_share_that_a_count_gives(percent):
    bound = parse_bound("good_request_fraction", f">= {percent}%", "fraction")
    assert bound.limit == percent / 100
    assert bound.holds(percent / 100)


def test_a_decimal_percentage_equals_the_share_that_a_count_gives():
    assert parse_bound("error_rate", "<= 0.7%", "fraction").holds(7 / 1000)


def test_a_decimal_time_is_a_whole_number_of_nanoseconds():
    assert parse_bound("request_latency.p99", "<= 1.001s", "ns").limit == 1_001_000_000.0


@given(
    digits=st.from_regex(r"[0-9]{1,20}(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,2})?", fullmatch=True),
    unit=st.sampled_from([*TIME_UNITS, "%"]),
)
def test_a_limit_is_the_float_nearest_to_the_exact_product(digits, unit):
    exact = Fraction(digits) * (Fraction(1, 100) if unit == "%" else TIME_UNITS[unit])
    bound = parse_bound("m", f"<= {digits}{unit}", "fraction" if unit == "%" else "ns")
    assert bound.limit == float(exact)


@pytest.mark.parametrize("text", ["<= 1e999s", "<= 1e308s", "<= 1e99999999999999999999s"])
def test_a_limit_out_of_range_is_refused(text):
    with pytest.raises(UsageError, match="finite"):
        parse_bound("request_latency.p99", text, "ns")


@pytest.mark.parametrize(
    ("text", "unit"),
    [("<= 1", "ns"), ("<= 1%", "ns"), ("<= 1ms", "fraction"), ("1%", "fraction"), ("", "ns")],
)
def test_a_limit_without_its_unit_or_comparison_is_refused(text, unit):
    with pytest.raises(UsageError, match=r"expected|needs|write"):
        parse_bound("m", text, unit)
