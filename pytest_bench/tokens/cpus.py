"""Which CPUs counting may use, and how pool workers share them. Pure queries: nothing is changed.

Counting may use every CPU that the control group allows, even where the caller's own affinity is narrower:
pool workers set their own. Sources are asked in order, and one that cannot be read gives way to the next.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from pytest_bench.host import control_groups, cpu_quota

_log = logging.getLogger(__name__)

BLOCK = 8
"""CPUs a pool worker should have at least, where the machine has them. Beyond about this many threads one
process of either library no longer gains in proportion; below it a further process only costs memory."""


_CPUSET_NAMES = ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus")


class Cpus(msgspec.Struct, frozen=True, kw_only=True):
    """CPUs that may be used."""

    allowed: tuple[int, ...]
    """Their numbers, ascending."""
    quota: float | None
    """CPU time per wall time that the control group grants; None: no limit."""
    source: str
    """Where `allowed` comes from."""

    @property
    def cores(self) -> int:
        """How many of `allowed` the quota can keep busy; at least one."""
        if self.quota is None:
            return len(self.allowed)
        return max(1, min(len(self.allowed), int(self.quota)))


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One pool worker's share of the machine."""

    cpus: tuple[int, ...]
    """What it may run on; empty: anything."""
    threads: int
    """Cap on the tokenizer library's threads."""


def discover(root: Path = Path("/")) -> Cpus:
    """The CPUs of this process's control group, of the machine, or of its affinity: the first that can be read.

    `root` is where `proc` and `sys` are mounted.
    """
    online = _online(root)
    quota = cpu_quota(root)
    for path in _cpuset_files(root):
        listed = _read_list(path)
        allowed = tuple(cpu for cpu in listed if cpu in online) if online else listed
        if allowed:
            return Cpus(allowed=allowed, quota=quota, source="cgroup")
    if online:
        return Cpus(allowed=online, quota=quota, source="online")
    if hasattr(os, "sched_getaffinity"):
        return Cpus(allowed=tuple(sorted(os.sched_getaffinity(0))), quota=quota, source="affinity")
    return Cpus(allowed=tuple(range(os.cpu_count() or 1)), quota=quota, source="count")


def plan_shards(cpus: Cpus, workers: int | None = None) -> tuple[Shard, ...]:
    """Divide `cpus` among pool workers: one for every full block of `BLOCK` cores, or `workers`, at most one a core.

    Blocks are contiguous and differ by one CPU at most. All of `cpus` belong to one, under a quota too, which
    caps the threads alone: it does not say which CPUs, and every container of a machine would take the first.
    """
    count = min(workers, cpus.cores) if workers is not None else max(1, cpus.cores // BLOCK)
    blocks = _divided(len(cpus.allowed), count)
    starts = itertools.accumulate(blocks, initial=0)
    return tuple(
        Shard(cpus=cpus.allowed[start : start + size], threads=threads)
        for start, size, threads in zip(starts, blocks, _divided(cpus.cores, count), strict=False)
    )


def _divided(total: int, parts: int) -> list[int]:
    small, larger = divmod(total, parts)
    return [small + (part < larger) for part in range(parts)]


def plan_lane(
    cpus: Cpus, mask: Collection[int], *, lane: int, load: int | None
) -> tuple[Cpus, tuple[int, ...]]:
    """Where `lane` live workers count while `load` load workers (None: as many as are needed) run within `mask`.

    Returns their CPUs, and those of `mask` that load workers must leave to them. Outside of `mask` they are in
    nobody's way. Inside they are given CPUs of their own where that takes a quarter at most and leaves one more
    than `load`; else they run anywhere, in the time that nobody else wants.
    """
    outside = tuple(cpu for cpu in cpus.allowed if cpu not in mask)
    if outside:
        return Cpus(allowed=outside, quota=lane, source="outside the caller's affinity"), ()
    inside = sorted(cpu for cpu in cpus.allowed if cpu in mask)
    enough = 4 * lane <= len(inside) and len(inside) - lane > (load or 0)
    if enough and cpus.cores == len(cpus.allowed):
        own = tuple(inside[-lane:])
        return Cpus(allowed=own, quota=None, source="left by the load workers"), own
    return Cpus(allowed=cpus.allowed, quota=lane, source="shared with the load workers"), ()


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """CPU numbers of a kernel list such as `0-3,8,10-11`. Raises `ValueError`."""
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
