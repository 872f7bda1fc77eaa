"""Results of phases, of which a test states only what it is about."""

from __future__ import annotations

from pytest_bench.records import ClientHealth, PhaseResult

HEALTH = ClientHealth(
    workers=1,
    client_lag_ms=None,
    turnaround_ms=None,
    schedule_lateness_ms=None,
    cpu_share=0.1,
    cpu_share_p99=0.1,
    vacancy=None,
    vacancy_p99=None,
    asked=None,
    achieved=None,
    achieved_share_p1=None,
)
"""A load worker about which nothing is known, except that it was not busy."""


def phase_result(**fields) -> PhaseResult:
    """A complete phase with one request, which succeeded."""
    values = {
        "label": "main",
        "folder": "",
        "issued": 1,
        "succeeded": 1,
        "failed": 0,
        "interrupted": 0,
        "resent": 0,
        "failures": {},
        "start_ns": 0,
        "first_issue_ns": 0,
        "last_issue_ns": 0,
        "last_completion_ns": 1,
        "full_load_ns": None,
        "peak_in_flight": 1,
        "health": HEALTH,
        "complete": True,
    }
    return PhaseResult(**values | fields)
