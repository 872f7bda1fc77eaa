"""Which recorded end counts as the end of the session."""

from __future__ import annotations

import pytest

from pytest_bench.results.event_log import MAIN, RUN
from pytest_bench.results.settle import _contradicting_exit, _session_end
from pytest_bench.verdict.events import Called, Ended
from pytest_bench.verdict.verdict import Coverage, Verdict

CALLED = Called(started="", results="/r", junit="")


def ended(status):
    return [CALLED, Ended(status=status, at="now")]


PASSED = Verdict(status="pass", coverage=Coverage(complete=True), nonce="")
FAILED = Verdict(status="fail", coverage=Coverage(complete=True), nonce="")


@pytest.mark.parametrize(
    ("logs", "status", "faults"),
    [
        ({}, None, []),
        ({MAIN: [CALLED]}, None, []),
        ({MAIN: ended(1)}, 1, []),
        ({RUN: [CALLED]}, None, []),
        ({RUN: [CALLED], MAIN: ended(0)}, None, []),
        ({RUN: ended(1), MAIN: ended(0)}, 0, []),
        ({RUN: ended(0), MAIN: [CALLED]}, 0, ["cut-off"]),
        ({RUN: ended(-9)}, -9, ["cut-off"]),
    ],
)
def test_the_session_ends_with_its_outermost_process_and_the_status_of_pytest_counts(logs, status, faults):
    end, found = _session_end(logs)
    assert (None if end is None else end.status) == status
    assert [fault.code for fault in found] == faults


@pytest.mark.parametrize(
    ("own", "outer", "verdict", "faults"),
    [
        (0, 0, PASSED, []),
        (0, 1, FAILED, []),  # the plugin raised it
        (0, 0, FAILED, []),
        (0, 1, PASSED, ["pytest-exit"]),
        (1, 0, FAILED, ["pytest-exit"]),
        (0, -11, PASSED, ["pytest-exit"]),
        (256, 0, FAILED, []),
    ],
)
def test_a_process_that_ends_with_another_status_than_its_session_is_a_fault(own, outer, verdict, faults):
    found = _contradicting_exit({MAIN: ended(own), RUN: ended(outer)}, verdict)
    assert [fault.code for fault in found] == faults
    assert not _contradicting_exit({MAIN: ended(own)}, verdict)
