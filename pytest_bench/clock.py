"""The clocks of the package.

Latencies use CLOCK_MONOTONIC, which is the same for all processes of a machine and is never set back. Leases use
CLOCK_BOOTTIME with the boot id, which is comparable across processes and suspends. Wall-clock time is only for people
and file names.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

monotonic_ns = time.monotonic_ns

SOURCE = "CLOCK_MONOTONIC"


def boottime_ns() -> int:
    """Nanoseconds since boot, including suspends; CLOCK_MONOTONIC if the system has no such clock."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def boot_id() -> str:
    """Identifies this boot of this machine, so that boot times of two machines are never compared."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"boot-{time.time_ns() - boottime_ns() >> 30}"


def utc_now() -> str:
    """Current time for evidence: ISO 8601, UTC, in seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
