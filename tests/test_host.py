import os
import platform
import subprocess
from importlib.metadata import version

import pytest

from pytest_bench import control_groups, files, host


@pytest.fixture
def machine(tmp_path):
    """A root folder whose kernel files a test writes."""

    def write(path, text):
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    write.root = tmp_path
    return write


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Put an executable on an otherwise empty PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(name, script):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return install


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "suite.yaml").write_text("suite: s\n")
    run = ["git", "-c", "user.name=n", "-c", "user.email=n@example.org", "-C", str(folder)]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*run, *arguments], check=True, capture_output=True)
    return folder


def test_the_description_is_what_this_machine_is(tmp_path):
    described = host.describe(tmp_path)
    assert described.python == platform.python_version()
    assert described.packages["httpx"] == version("httpx")
    assert described.cpu.count == os.cpu_count()
    assert described.kernel == os.uname().release
    assert described.clock == "CLOCK_MONOTONIC"


def test_the_description_can_be_written_as_evidence(tmp_path):
    files.write_json(tmp_path / "environment.json", host.describe(tmp_path))
    assert files.read_json(tmp_path / "environment.json")["python"] == platform.python_version()


def test_a_dependency_that_is_not_installed_is_null(tmp_path):
    packages = host.describe(tmp_path).packages
    assert "pyarrow" in packages
    assert all(found is None or isinstance(found, str) for found in packages.values())


def test_the_first_processors_name_is_the_cpus(machine):
    machine(
        "proc/cpuinfo", "processor\t: 0\nmodel name\t: AMD EPYC 9654\n\nprocessor\t: 1\nmodel name\t: other\n"
    )
    assert host.cpu_model(machine.root) == "AMD EPYC 9654"


def test_a_kernel_that_names_no_processor_leaves_it_unknown(machine):
    machine("proc/cpuinfo", "processor\t: 0\nBogoMIPS\t: 50.00\n")
    assert host.cpu_model(machine.root) is None


def test_the_tightest_quota_of_the_control_groups_holds(machine):
    machine("proc/self/cgroup", "0::/user.slice/job\n")
    machine("sys/fs/cgroup/user.slice/cpu.max", "400000 100000\n")
    machine("sys/fs/cgroup/user.slice/job/cpu.max", "max 100000\n")
    assert control_groups.cpu_quota(machine.root) == 4.0


def test_a_quota_of_version_1_is_read(machine):
    machine("proc/self/cgroup", "4:memory:/job\n1:cpu,cpuacct:/job\n")
    machine("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "150000\n")
    machine("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n")
    machine("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "1073741824\n")
    assert control_groups.cpu_quota(machine.root) == 1.5
    assert control_groups.memory_limit_bytes(machine.root) == 1 << 30


def test_the_quota_of_a_container_that_sees_only_its_own_group_is_read(machine):
    machine("proc/self/cgroup", "0::/docker/7f3a\n")
    machine("sys/fs/cgroup/cpu.max", "200000 100000\n")
    machine("sys/fs/cgroup/memory.max", "4096\n")
    assert control_groups.cpu_quota(machine.root) == 2.0
    assert control_groups.memory_limit_bytes(machine.root) == 4096


def test_no_limit_is_null(machine):
    machine("proc/self/cgroup", "4:memory:/\n1:cpu:/\n0::/\n")
    machine("sys/fs/cgroup/cpu.max", "max 100000\n")
    machine("sys/fs/cgroup/memory.max", "max\n")
    machine("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    machine("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    machine("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert control_groups.cpu_quota(machine.root) is None
    assert control_groups.memory_limit_bytes(machine.root) is None


def test_a_machine_without_control_groups_has_no_known_limit(machine):
    assert control_groups.cpu_quota(machine.root) is None
    assert control_groups.memory_limit_bytes(machine.root) is None


def test_gpus_are_named_by_nvidias_tool(tool):
    tool("nvidia-smi", 'echo "NVIDIA H200"; echo "NVIDIA H200"')
    assert host.gpu_names() == ("NVIDIA H200", "NVIDIA H200")


def test_gpus_are_named_by_amds_tool_in_the_order_of_their_index(tool):
    tool(
        "rocm-smi",
        """echo '{"card10": {"Card Series": "B"}, "card2": {"Card Series": "A"}, "system": {"Driver version": "6"}}'""",
    )
    assert host.gpu_names() == ("A", "B")


@pytest.mark.parametrize("script", ["exit 9", "echo", "exit 0"])
def test_a_gpu_tool_without_an_answer_leaves_the_gpus_unknown(tool, script):
    tool("nvidia-smi", script)
    tool("rocm-smi", script)
    assert host.gpu_names() is None


def test_without_a_gpu_tool_the_gpus_are_unknown(tool):
    assert host.gpu_names() is None


def test_the_commit_of_a_clean_repository_is_named(repository):
    head = subprocess.run(
        ["git", "-C", repository, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    )
    assert host.git_state(repository) == host.Git(commit=head.stdout.strip(), dirty=False)


def test_a_changed_tracked_file_makes_a_repository_dirty(repository):
    (repository / "suite.yaml").write_text("suite: t\n")
    assert host.git_state(repository).dirty is True


def test_results_that_are_not_tracked_leave_a_repository_clean(repository):
    (repository / "results").mkdir()
    (repository / "results" / "verdict.json").write_text("{}")
    assert host.git_state(repository).dirty is False


def test_a_folder_outside_any_repository_has_no_commit(tmp_path):
    assert host.git_state(tmp_path) is None


def test_without_git_there_is_no_commit(repository, tool):
    assert host.git_state(repository) is None
