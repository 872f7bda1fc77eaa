"""Find the CPUs that counting may use, and divide them among pool workers. Nothing here changes an affinity.

Counting may use every CPU that the control group allows, even if the caller's own affinity is narrower, because pool
workers set their own affinity. Sources are read in order; one that cannot be read is skipped.
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
"""Lower bound on the CPUs of a pool worker, if the machine has that many. With more threads than this, one process of
either library scales worse than linearly; with fewer, another process only costs memory."""


_CPUSET_NAMES = ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus")


class Cpus(msgspec.Struct, frozen=True, kw_only=True):
    """The CPUs that may be used."""

    allowed: tuple[int, ...]
    """CPU numbers, ascending."""
    quota: float | None
    """CPU time per wall time that the control group allows; None means no limit."""
    source: str
    """Source of `allowed`."""

    @property
    def cores(self) -> int:
        """Number of CPUs that the quota can keep busy, at least one."""
        if self.quota is None:
            return len(self.allowed)
        return max(1, min(len(self.allowed), int(self.quota)))


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One pool worker's share of the machine."""

    cpus: tuple[int, ...]
    """CPUs that it may run on; empty means any."""
    threads: int
    """Upper bound on the threads of the tokenizer library."""


def discover(root: Path = Path("/")) -> Cpus:
    """Return the CPUs of this process's control group, else those of the machine, else those of its affinity.

    The first source that can be read wins. `root` is the folder in which `proc` and `sys` are mounted.
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
    """Divide `cpus` among `workers` pool workers (at most one per core), by default one per `BLOCK` cores.

    Blocks are contiguous, differ by at most one CPU, and cover all of `cpus`. A quota limits only the number of
    threads: it does not say which CPUs to use, and if each container took the first ones, they would share them.
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
    """Choose CPUs for `lane` live counting workers while `load` load workers (None: not known) run within `mask`.

    Returns the CPUs of the live workers, and the CPUs of `mask` that load workers must not use. CPUs outside `mask` are
    preferred, because no load worker uses them. Inside `mask`, live workers get CPUs of their own if these are at most
    a quarter of it and leave more than `load` CPUs. Otherwise they share all CPUs at the lowest priority.
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
