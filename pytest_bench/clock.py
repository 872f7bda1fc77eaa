"""The clocks, named once.

Latencies come from CLOCK_MONOTONIC: one clock for every process of a machine, never set back.
Leases come from CLOCK_BOOTTIME with the boot id, comparable across processes and suspends.
Wall-clock time is for people and file names only.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

monotonic_ns = time.monotonic_ns

SOURCE = "CLOCK_MONOTONIC"


def boottime_ns() -> int:
    """Nanoseconds since boot, suspends included; CLOCK_MONOTONIC where a kernel has no such clock."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def boot_id() -> str:
    """Identifies this boot of this machine, so that boot times of two machines are never compared."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"boot-{time.time_ns() - boottime_ns() >> 30}"


def utc_now() -> str:
    """ISO 8601 in UTC to the second, as written into evidence."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
