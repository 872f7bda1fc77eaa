"""`phase.json`, the engine's result of one phase, in the folder of the phase's logs."""

from __future__ import annotations

from pathlib import Path

from pytest_bench.records import PHASE_VERSION, PhaseFile
from pytest_bench.results.reading import read_versioned

NAME = "phase.json"


def read_phase(folder: Path) -> PhaseFile:
    """Read the result of the phase in `folder`. Raises `EvidenceError`."""
    return read_versioned(folder / NAME, PhaseFile, PHASE_VERSION)


def requests_ns(folder: Path, nonce: str | None) -> tuple[int, int] | None:
    """Return when the session `nonce` sent the first request of a point, and when the last one ended (CLOCK_MONOTONIC).

    `folder` holds the point's evidence, which may have phases of earlier sessions. None if it sent no request. Raises
    `EvidenceError`.
    """
    phases = [read_phase(path.parent) for path in sorted(folder.glob(f"phases/*/{NAME}"))]
    times = [
        time
        for phase in phases
        if phase.nonce == nonce
        for time in (phase.first_issue_ns, phase.last_completion_ns)
        if time is not None
    ]
    return (min(times), max(times)) if times else None
