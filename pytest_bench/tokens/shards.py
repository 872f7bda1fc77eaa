"""Divides the CPUs among pool workers, and between load workers and live counting."""

from __future__ import annotations

import itertools
from collections.abc import Collection

import msgspec

from pytest_bench.cpus import Cpus

BLOCK = 8
"""Lower bound on the CPUs of a pool worker, if the machine has that many. With more threads than this, one process of
either library scales worse than linearly; with fewer, another process only costs memory."""


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One pool worker's share of the machine."""

    cpus: tuple[int, ...]
    """CPUs that it may run on; empty means any."""
    threads: int
    """Upper bound on the threads of the tokenizer library."""


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

    Returns the CPUs of the live workers, and those of `mask` that are left to load workers. CPUs outside `mask` are
    preferred, because no load worker uses them. Inside `mask`, live workers get CPUs of their own if these are at most
    a quarter of it and leave more than `load` CPUs. Otherwise they share all CPUs at the lowest priority.
    """
    outside = tuple(cpu for cpu in cpus.allowed if cpu not in mask)
    if outside:
        return Cpus(allowed=outside, quota=lane, source="outside the caller's affinity"), tuple(sorted(mask))
    inside = sorted(cpu for cpu in cpus.allowed if cpu in mask)
    enough = 4 * lane <= len(inside) and len(inside) - lane > (load or 0)
    if enough and cpus.cores == len(cpus.allowed):
        own = tuple(inside[-lane:])
        left = tuple(sorted(set(mask).difference(own)))
        return Cpus(allowed=own, quota=None, source="left by the load workers"), left
    return Cpus(allowed=cpus.allowed, quota=lane, source="shared with the load workers"), tuple(sorted(mask))
