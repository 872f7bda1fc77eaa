"""`Retry-After`, as servers write it, valid or not."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.load.retry_after import retry_after_s


@pytest.mark.parametrize(
    ("value", "seconds"), [(b"0", 0), (b" 120 ", 120), (b"0.5", 0.5), (b"999999999", 999999999)]
)
def test_a_number_is_seconds(value, seconds):
    assert retry_after_s(value) == seconds


def test_a_date_counts_from_now():
    later = retry_after_s(formatdate(time.time() + 3600, usegmt=True).encode())
    assert 0 < later <= 3600


@pytest.mark.parametrize("date", [b"Wed, 21 Oct 2015 07:28:00 GMT", b"Wednesday, 21-Oct-15 07:28:00 GMT"])
def test_a_date_that_has_passed_asks_for_no_wait(date):
    assert retry_after_s(date) == 0


@pytest.mark.parametrize(
    "value", [b"", b"-1", b"soon", b"1e9", b"1" * 40, b"nan", b"\xff", b"5 s", b"Mon, 99 Oct 2015"]
)
def test_any_other_value_is_ignored(value):
    assert retry_after_s(value) is None


@given(st.binary(max_size=120) | st.text(max_size=60).map(str.encode))
def test_no_value_raises_or_gives_a_negative_wait(value):
    seconds = retry_after_s(value)
    assert seconds is None or seconds >= 0
