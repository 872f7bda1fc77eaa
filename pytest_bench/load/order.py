"""Which sample the i-th request takes: a pure function of i, so that any load worker can ask it.

Every `count` requests use every sample once; each pass over the samples is shuffled anew. Shuffling is a
keyed permutation that needs no table (a Feistel network over the next even number of bits, walking in cycles
past values that are out of range; Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). Few
samples are shuffled as a table instead (Fisher and Yates): networks of a few bits reach some orders more
often than others. Mixing is splitmix64's finaliser (Steele, Lea and Flood, 2014).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from pytest_bench.workload import SampleOrder

_MASK = (1 << 64) - 1
_ROUNDS = 4
_FEW = 64


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
            return _shuffled(order, _table if count <= _FEW else _network)


Shuffle = Callable[[int, int], Callable[[int], int]]
"""Of so many values and a key, a bijection."""


def _shuffled(order: SampleOrder, shuffle: Shuffle) -> Callable[[int], int]:
    first, count, key = order.first, order.count, _mix(order.seed)
    current, place = 0, shuffle(count, key)

    def sample(i: int) -> int:
        nonlocal current, place
        number, position = divmod(i, count)
        if number != current:
            current, place = number, shuffle(count, key + number)
        return first + place(position)

    return sample


def _table(count: int, key: int) -> Callable[[int], int]:
    table = list(range(count))
    for last in range(count - 1, 0, -1):
        other = _mix(_mix(key) + last) % (last + 1)
        table[last], table[other] = table[other], table[last]
    return table.__getitem__


def _network(count: int, key: int) -> Callable[[int], int]:
    half = ((count - 1).bit_length() + 1) // 2
    mask = (1 << half) - 1
    keys = [_mix(key * _ROUNDS + number) for number in range(_ROUNDS)]
    # A round sees half the bits of a value: few enough to mix each once, and not at every request.
    rounds = [functools.cache(lambda right, round_key=one: _mix(right ^ round_key) & mask) for one in keys]

    def permute(value: int) -> int:
        while True:
            left, right = value >> half, value & mask
            for mixed in rounds:
                left, right = right, left ^ mixed(right)
            value = left << half | right
            if value < count:
                return value

    return permute


def _mix(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & _MASK
    return value ^ value >> 31
