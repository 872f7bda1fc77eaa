"""Maps the index of a request to its sample: a pure function, so that every load worker gets the same answer.

Every `count` requests use every sample once, and each pass over the samples has a new order. The order is a keyed
permutation without a table: a Feistel network over the next even number of bits, with cycle walking for values out of
range (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). Few samples are shuffled in a table instead
(Fisher and Yates), because networks of a few bits produce some orders more often than others. The hash
is splitmix64's finaliser (Steele, Lea and Flood, 2014).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from pytest_bench.workload import SampleOrder

_MASK = (1 << 64) - 1
_ROUNDS = 4
_FEW = 64


def sample_function(order: SampleOrder) -> Callable[[int], int]:
    """Return a function from i ≥ 0 to the sample of the i-th request. Raises `ValueError` if there is no sample."""
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
"""Maps (count, key) to a permutation of range(count)."""


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
    # A round maps half the bits of a value, so its few results are cached.
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
