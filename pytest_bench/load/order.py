"""Which sample the i-th request takes: a pure function of i, so that any load worker can ask it.

Shuffling is a keyed permutation that needs no table (a four-round Feistel network over the next even
number of bits, walking in cycles past values that are out of range; Black and Rogaway, "Ciphers with
Arbitrary Finite Domains", 2002). Every `count` requests use every sample once; each pass over the samples
is shuffled anew. Mixing is splitmix64's finaliser (Steele, Lea and Flood, 2014).
"""

from __future__ import annotations

from collections.abc import Callable

from pytest_bench.workload import SampleOrder

_MASK = (1 << 64) - 1
_ROUNDS = 4


def sample_function(order: SampleOrder) -> Callable[[int], int]:
    """The sample of the i-th request, i ≥ 0. Raises `ValueError` for an order that names no sample."""
    first, count, seed = order.first, order.count, order.seed
    if count < 1:
        raise ValueError("an order needs at least one sample")
    match order.order:
        case "sequential":
            return lambda i: first + i % count
        case "with_replacement":
            return lambda i: first + _mix(_mix(seed) ^ i) % count
        case "single":
            if order.index is None:
                raise ValueError("the order `single` needs the index of its sample")
            index = order.index
            return lambda _: index
        case "without_replacement":
            return _shuffled(first, count, _mix(seed))


def _shuffled(first: int, count: int, seed: int) -> Callable[[int], int]:
    keys: list[int] = []
    keys_of = -1

    def sample(i: int) -> int:
        nonlocal keys, keys_of
        turn, place = divmod(i, count)
        if turn != keys_of:
            keys_of = turn
            keys = [_mix((seed + turn) * _ROUNDS + number) for number in range(_ROUNDS)]
        return first + _permute(place, count, keys)

    return sample


def _permute(value: int, count: int, keys: list[int]) -> int:
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = value >> half, value & mask
        for round_key in keys:
            left, right = right, left ^ (_mix(right ^ round_key) & mask)
        value = left << half | right
        if value < count:
            return value


def _mix(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & _MASK
    return value ^ value >> 31
