from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.tokens.cpus import Cpus, discover, parse_cpu_list, plan_lane, plan_shards


def machine(cpus, quota=None):
    return Cpus(allowed=tuple(cpus), quota=quota, source="test")


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


ONLINE = {"sys/devices/system/cpu/online": "0-15\n"}


@pytest.mark.parametrize(("cpus", "blocks"), [(1, 1), (2, 1), (6, 1), (10, 1), (16, 2), (20, 2), (64, 8)])
def test_cpus_are_shared_out_in_blocks_of_eight_at_least(cpus, blocks):
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


def test_a_quota_caps_processes_and_threads_and_leaves_the_choice_of_cpus():
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


@given(st.sets(st.integers(0, 500), min_size=1))
def test_a_kernel_list_of_cpus_is_read(numbers):
    listed = ",".join(f"{number}-{number + 1}" for number in sorted(numbers))
    assert parse_cpu_list(listed + "\n") == tuple(sorted(numbers | {number + 1 for number in numbers}))


def test_version_2_groups_give_the_cpuset_and_the_narrowest_quota_above(tmp_path):
    root = write(
        tmp_path,
        ONLINE
        | {
            "proc/self/cgroup": "0::/job/step\n",
            "sys/fs/cgroup/job/cpuset.cpus.effective": "2-9,20\n",
            "sys/fs/cgroup/job/step/cpu.max": "max 100000\n",
            "sys/fs/cgroup/job/cpu.max": "350000 100000\n",
        },
    )
    assert discover(root) == Cpus(allowed=(2, 3, 4, 5, 6, 7, 8, 9), quota=3.5, source="cgroup")
    assert discover(root).cores == 3


def test_version_1_groups_give_the_cpuset_and_the_quota(tmp_path):
    root = write(
        tmp_path,
        ONLINE
        | {
            "proc/self/cgroup": "3:cpuset:/job\n1:cpu,cpuacct:/job\n",
            "sys/fs/cgroup/cpuset/job/cpuset.effective_cpus": "4-7\n",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "200000\n",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        },
    )
    assert discover(root) == Cpus(allowed=(4, 5, 6, 7), quota=2.0, source="cgroup")


def test_in_a_container_the_mount_itself_is_the_group(tmp_path):
    root = write(
        tmp_path,
        ONLINE
        | {
            "proc/self/cgroup": "0::/docker/0123\n",
            "sys/fs/cgroup/cpuset.cpus.effective": "0-3\n",
            "sys/fs/cgroup/cpu.max": "150000 100000\n",
        },
    )
    assert discover(root) == Cpus(allowed=(0, 1, 2, 3), quota=1.5, source="cgroup")


def test_an_unreadable_source_gives_way_to_the_next_with_a_log_line(tmp_path, caplog):
    caplog.set_level("INFO")
    root = write(tmp_path, ONLINE | {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "garbage\n"})
    assert discover(root) == Cpus(allowed=tuple(range(16)), quota=None, source="online")
    assert "cpu.max cannot be read" in caplog.text


def test_a_system_that_tells_nothing_leaves_the_affinity(tmp_path, caplog):
    caplog.set_level("INFO")
    assert discover(tmp_path).allowed == tuple(sorted(os.sched_getaffinity(0)))
    assert "asking the next source" in caplog.text


def test_discovery_changes_nothing():
    before = os.sched_getaffinity(0)
    assert discover().cores
    assert os.sched_getaffinity(0) == before


def test_a_quota_below_one_cpu_still_leaves_one():
    assert machine([3, 4], quota=0.5).cores == 1


def lane(cpus, mask, lane, load=None, quota=None):
    planned, left = plan_lane(machine(range(cpus), quota), set(mask), lane=lane, load=load)
    return planned.allowed, planned.cores, left


def test_the_live_lane_counts_outside_of_the_load_workers_affinity_where_it_can():
    assert lane(8, range(6), 1) == ((6, 7), 1, ())


def test_the_live_lane_is_left_cpus_of_its_own_where_there_are_enough():
    assert lane(8, range(8), 2) == ((6, 7), 2, (6, 7))
    assert lane(4, range(4), 1, load=2) == ((3,), 1, (3,))


@pytest.mark.parametrize(
    ("cpus", "wanted", "load", "quota"),
    [(2, 1, None, None), (8, 3, None, None), (4, 1, 3, None), (8, 1, None, 4.0)],
)
def test_where_cpus_are_few_the_live_lane_shares_them_with_no_more_threads_than_asked_for(
    cpus, wanted, load, quota
):
    assert lane(cpus, range(cpus), wanted, load, quota) == (tuple(range(cpus)), wanted, ())
