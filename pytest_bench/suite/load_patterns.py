"""The fields that each load pattern accepts and requires."""

from __future__ import annotations

_LIMITS = frozenset({"requests", "duration_s", "stop"})
_ARRIVALS = _LIMITS | {"rate", "ramp_s", "max_concurrency"}

TAKES: dict[str, frozenset[str]] = {
    "burst": frozenset({"requests", "duration_s", "concurrency"}),
    "concurrency": _LIMITS | {"concurrency", "ramp_s"},
    "constant": _ARRIVALS,
    "poisson": _ARRIVALS,
    "gamma": _ARRIVALS | {"burstiness"},
    "trace": frozenset({"trace", "requests", "duration_s", "max_concurrency"}),
    "stages": frozenset({"stages", "handover"}),
}
"""Fields that a pattern accepts, in addition to `pattern`."""

NEEDS: dict[str, frozenset[str]] = {
    "burst": frozenset({"requests"}),
    "concurrency": frozenset({"concurrency"}),
    "constant": frozenset({"rate"}),
    "poisson": frozenset({"rate"}),
    "gamma": frozenset({"rate"}),
    "trace": frozenset({"trace"}),
    "stages": frozenset({"stages"}),
}
"""Fields that a pattern requires."""
