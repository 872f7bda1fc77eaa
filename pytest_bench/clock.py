"""The clocks of the package.

Latencies and leases use CLOCK_MONOTONIC, which is the same for all processes of a machine and is never set back. Leases
add the boot id, because the clock starts anew with the machine. Wall-clock time is only for people and file names.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

monotonic_ns = time.monotonic_ns

SOURCE = "CLOCK_MONOTONIC"


def boot_id() -> str:
    """Identifies this boot of this machine, so that times of two machines are never compared."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"boot-{time.time_ns() - monotonic_ns() >> 30}"


def utc_now() -> str:
    """Current time for evidence: ISO 8601, UTC, in seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
