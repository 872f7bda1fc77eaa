"""Audits by id: those shipped here, and those of third parties."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from pytest_bench.audits.accuracy_in_performance import AccuracyInPerformance
from pytest_bench.audits.accuracy_in_performance_full import AccuracyInPerformanceFull
from pytest_bench.audits.contract import AuditTest
from pytest_bench.audits.output_caching import OutputCaching
from pytest_bench.audits.output_consistency import OutputConsistency
from pytest_bench.audits.output_length import OutputLength
from pytest_bench.audits.vbench import VBench
from pytest_bench.errors import UsageError
from pytest_bench.suite.vocabulary import AuditWords
from pytest_bench.wording import did_you_mean, one_of

SHIPPED: tuple[AuditTest, ...] = (
    OutputCaching(),
    AccuracyInPerformance(),
    OutputConsistency(),
    AccuracyInPerformanceFull(),
    OutputLength(),
    VBench(),
)


_MEMBERS = ("id", "artifact", "fields", "patterns", "plan", "validate", "verify")


class Registry:
    """Audits by id."""

    def __init__(self) -> None:
        self._audits: dict[str, AuditTest] = {}

    def register(self, audit: AuditTest) -> None:
        """Add an audit. Raises `UsageError` if it lacks members, or if its id or artifact name is already taken."""
        if lacking := [name for name in _MEMBERS if not hasattr(audit, name)]:
            raise UsageError(f"{audit!r:.80} is not an audit: it lacks {', '.join(lacking)}")
        for known in self._audits.values():
            if audit.id == known.id or audit.artifact == known.artifact:
                raise UsageError(
                    f"two audits are called {audit.id!r} or write the files of {audit.artifact!r}: "
                    f"{type(known).__qualname__} and {type(audit).__qualname__}"
                )
        self._audits[audit.id] = audit

    def find(self, test: str) -> AuditTest:
        """The audit with this id. Raises `UsageError` with the known ids if there is none."""
        if test not in self._audits:
            known = sorted(self._audits)
            raise UsageError(
                f"there is no audit {test!r}; expected one of {one_of(known)}{did_you_mean(test, known)}"
            )
        return self._audits[test]

    def words(self) -> Mapping[str, AuditWords]:
        """What the suite language needs to know about each audit."""
        return MappingProxyType(
            {
                test: AuditWords(fields=audit.fields, patterns=audit.patterns)
                for test, audit in self._audits.items()
            }
        )


def registry(extra: Iterable[AuditTest] = ()) -> Registry:
    """The shipped audits and `extra` ones. Raises `UsageError` if two have the same name."""
    audits = Registry()
    for audit in (*SHIPPED, *extra):
        audits.register(audit)
    return audits
