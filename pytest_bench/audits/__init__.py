"""Audits: a system shows that it earned its numbers.

An audit is data (`contract.AuditTest.plan`: phases) and a pure check (`verify`); `point.run_audit` drives the
one through the ordinary engine and hands the other what came back. Each audit is one module and one line in
`registry.SHIPPED`; third parties add theirs through the same `Registry`. No other room knows one by name.
"""

from pytest_bench.audits.contract import (
    AuditFields,
    AuditPhase,
    AuditPlan,
    AuditResult,
    AuditTest,
    Findings,
    Flight,
    Output,
    Run,
    Setting,
    Undecided,
)
from pytest_bench.audits.registry import Registry, registry

__all__ = [
    "AuditFields",
    "AuditPhase",
    "AuditPlan",
    "AuditResult",
    "AuditTest",
    "Findings",
    "Flight",
    "Output",
    "Registry",
    "Run",
    "Setting",
    "Undecided",
    "registry",
]
