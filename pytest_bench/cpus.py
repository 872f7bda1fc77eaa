"""The CPUs that this process may use, and how many of them its quota keeps busy. Nothing here changes an affinity."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pytest_bench.control_groups import control_groups, cpu_quota

_log = logging.getLogger(__name__)

_CPUSET_NAMES = ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus")


class Cpus(msgspec.Struct, frozen=True, kw_only=True):
    """CPUs that may be used."""

    allowed: tuple[int, ...]
    """CPU numbers, ascending."""
    quota: float | None
    """CPU time per wall time that the control group allows; None means no limit."""
    source: str
    """Source of `allowed`."""

    @property
    def limit(self) -> float:
        """How many CPUs can be busy on average: the number of those allowed, or the quota if that is lower."""
        return len(self.allowed) if self.quota is None else min(len(self.allowed), self.quota)

    @property
    def cores(self) -> int:
        """Number of CPUs that can be kept busy, at least one."""
        return max(1, int(self.limit))


def affinity() -> tuple[int, ...] | None:
    """The CPUs that this process may run on, ascending; None if the system does not say."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else None


def process_cpus(root: Path = Path("/")) -> Cpus:
    """The CPUs that this process, and every child that does not change its affinity, may run on."""
    own = affinity()
    if own is None:
        return Cpus(allowed=tuple(range(os.cpu_count() or 1)), quota=cpu_quota(root), source="count")
    return Cpus(allowed=own, quota=cpu_quota(root), source="affinity")


def group_cpus(root: Path = Path("/")) -> Cpus:
    """The CPUs that the control group allows, even if this process's affinity is narrower: a child may set its own.

    Sources are the control group, the CPUs of the machine, and the affinity: the first one that can be read. `root` is
    the folder in which `proc` and `sys` are mounted.
    """
    online = _online(root)
    for path in _cpuset_files(root):
        listed = _read_list(path)
        allowed = tuple(cpu for cpu in listed if cpu in online) if online else listed
        if allowed:
            return Cpus(allowed=allowed, quota=cpu_quota(root), source="cgroup")
    if online:
        return Cpus(allowed=online, quota=cpu_quota(root), source="online")
    return process_cpus(root)


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """Parse a kernel CPU list such as `0-3,8,10-11`. Raises `ValueError` if it is malformed."""
    numbers: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if part:
            numbers.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(numbers))


def _online(root: Path) -> tuple[int, ...]:
    return _read_list(root / "sys/devices/system/cpu/online")


def _cpuset_files(root: Path) -> Iterator[Path]:
    """The innermost file that lists the CPUs of this process's group, for each place where it may be mounted."""
    for levels in control_groups("cpuset", root):
        files = (level / name for level in levels for name in _CPUSET_NAMES)
        yield from itertools.islice((path for path in files if path.is_file()), 1)


def _read_list(path: Path) -> tuple[int, ...]:
    try:
        return parse_cpu_list(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        _log.info("%s cannot be read (%s): asking the next source", path, error)
        return ()
