"""How CPUs are divided among pool workers, and between load workers and live counting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.cpus import Cpus
from pytest_bench.tokens.shards import plan_lane, plan_shards


def machine(cpus, quota=None):
    return Cpus(allowed=tuple(cpus), quota=quota, source="test")


@pytest.mark.parametrize(("cpus", "blocks"), [(1, 1), (2, 1), (6, 1), (10, 1), (16, 2), (20, 2), (64, 8)])
def test_cpus_are_divided_into_blocks_of_at_least_eight(cpus, blocks):
    shards = plan_shards(machine(range(cpus)))
    assert len(shards) == blocks
    assert sum(shard.threads for shard in shards) == cpus


def test_blocks_are_contiguous_and_their_threads_are_capped_at_their_size():
    first, second = plan_shards(machine(range(100, 117)))
    assert first.cpus == tuple(range(100, 109))
    assert second.cpus == tuple(range(109, 117))
    assert (first.threads, second.threads) == (9, 8)


def test_an_explicit_number_of_workers_is_taken_and_capped_by_the_machine():
    assert len(plan_shards(machine(range(16)), 5)) == 5
    assert len(plan_shards(machine([0, 1]), 5)) == 2


def test_a_quota_limits_processes_and_threads_but_not_the_choice_of_cpus():
    (only,) = plan_shards(machine(range(64), quota=4.0))
    assert (only.cpus, only.threads) == (tuple(range(64)), 4)
    first, second = plan_shards(machine(range(64), quota=17.5))
    assert (first.cpus, first.threads) == (tuple(range(32)), 9)
    assert (second.cpus, second.threads) == (tuple(range(32, 64)), 8)


@given(st.integers(1, 300), st.none() | st.integers(1, 400))
def test_every_cpu_belongs_to_exactly_one_shard(cpus, workers):
    shards = plan_shards(machine(range(cpus)), workers)
    assert [cpu for shard in shards for cpu in shard.cpus] == list(range(cpus))
    assert all(shard.threads == len(shard.cpus) > 0 for shard in shards)


def lane(cpus, mask, lane, load=None, quota=None):
    planned, left = plan_lane(machine(range(cpus), quota), set(mask), lane=lane, load=load)
    return planned.allowed, planned.cores, left


def test_the_live_lane_counts_outside_of_the_load_workers_affinity_if_possible():
    assert lane(8, range(6), 1) == ((6, 7), 1, tuple(range(6)))


def test_the_live_lane_gets_separate_cpus_if_there_are_enough():
    assert lane(8, range(8), 2) == ((6, 7), 2, tuple(range(6)))
    assert lane(4, range(4), 1, load=2) == ((3,), 1, (0, 1, 2))


@pytest.mark.parametrize(
    ("cpus", "wanted", "load", "quota"),
    [(2, 1, None, None), (8, 3, None, None), (4, 1, 3, None), (8, 1, None, 4.0)],
)
def test_with_few_cpus_the_live_lane_shares_them_and_uses_at_most_the_requested_threads(
    cpus, wanted, load, quota
):
    assert lane(cpus, range(cpus), wanted, load, quota) == (tuple(range(cpus)), wanted, tuple(range(cpus)))
