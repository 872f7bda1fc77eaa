"""The CPUs that a process or its control group may use, from the files of the kernel."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.cpus import Cpus, group_cpus, parse_cpu_list, process_cpus


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


ONLINE = {"sys/devices/system/cpu/online": "0-15\n"}


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
    assert group_cpus(root) == Cpus(allowed=(2, 3, 4, 5, 6, 7, 8, 9), quota=3.5, source="cgroup")
    assert group_cpus(root).cores == 3


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
    assert group_cpus(root) == Cpus(allowed=(4, 5, 6, 7), quota=2.0, source="cgroup")


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
    assert group_cpus(root) == Cpus(allowed=(0, 1, 2, 3), quota=1.5, source="cgroup")


def test_an_unreadable_source_gives_way_to_the_next_with_a_log_line(tmp_path, caplog):
    caplog.set_level("INFO")
    root = write(tmp_path, ONLINE | {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "garbage\n"})
    assert group_cpus(root) == Cpus(allowed=tuple(range(16)), quota=None, source="online")
    assert "cpu.max cannot be read" in caplog.text


def test_a_system_without_kernel_files_leaves_the_affinity(tmp_path, caplog):
    caplog.set_level("INFO")
    assert group_cpus(tmp_path).allowed == tuple(sorted(os.sched_getaffinity(0)))
    assert "asking the next source" in caplog.text


def test_reading_changes_nothing():
    before = os.sched_getaffinity(0)
    assert group_cpus().cores
    assert os.sched_getaffinity(0) == before


def test_a_quota_below_one_cpu_still_leaves_one():
    assert Cpus(allowed=(3, 4), quota=0.5, source="test").cores == 1


def test_a_process_may_use_the_cpus_of_its_affinity():
    assert process_cpus().allowed == tuple(sorted(os.sched_getaffinity(0)))
