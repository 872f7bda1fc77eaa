"""Compliance audits: checks that a system earned its numbers.

An audit is data (`AuditTest.plan` returns phases) and a pure check (`AuditTest.verify`). `point.run_audit` drives the
phases through the ordinary engine and passes their results to the check. Each audit is one module and one entry of
`registry.SHIPPED`; third parties register theirs in the same `Registry`. No other package refers to an audit by name.
"""

from pytest_bench.audits.contract import (
    AuditFields,
    AuditPhase,
    AuditPlan,
    AuditTest,
    FailedRequests,
    Findings,
    Output,
    Run,
    Setting,
    Undecided,
)
from pytest_bench.audits.registry import Registry, registry
from pytest_bench.results.details import AuditResult

__all__ = [
    "AuditFields",
    "AuditPhase",
    "AuditPlan",
    "AuditResult",
    "AuditTest",
    "FailedRequests",
    "Findings",
    "Output",
    "Registry",
    "Run",
    "Setting",
    "Undecided",
    "registry",
]
