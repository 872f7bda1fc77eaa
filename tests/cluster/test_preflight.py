"""What is checked on every node before a session, and what is never touched."""

import sys
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touched import touched

from pytest_bench.cluster.allocation import Allocation, read_allocation
from pytest_bench.cluster.preflight import (
    LEAST_FREE_BYTES,
    Node,
    Report,
    Request,
    clock_offset_s,
    problems,
)
from pytest_bench.errors import UsageError
from pytest_bench.running.node_report import report, versions

REQUEST = Request(
    token="t", folder="/shared/bench", results="/shared/results", nonce="1", needs_docker=False, gpus={}
)
OWN = {"Python": "3.11.7", "pytest-inference-bench": "0.1.0"}
GOOD = Report(
    host="host2",
    versions=OWN,
    has_folder=True,
    results_problem=None,
    free_bytes={"/tmp": LEAST_FREE_BYTES},
    gpus=None,
    problems=(),
)


def found(clock_offset_s=0.0, **changes):
    changed = Report(**{name: changes.get(name, getattr(GOOD, name)) for name in GOOD.__struct_fields__})
    return list(problems({"n2": Node(report=changed, clock_offset_s=clock_offset_s)}, OWN, "head", REQUEST))


def test_a_node_that_has_everything_has_no_problem():
    assert found() == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"versions": {**OWN, "pytest-inference-bench": "0.2"}},
            "has pytest-inference-bench 0.2, but head has",
        ),
        ({"versions": {"Python": "3.11.7"}}, "has pytest-inference-bench none, but head has 0.1.0"),
        ({"has_folder": False}, "the working folder /shared/bench does not exist there"),
        (
            {"results_problem": "it is empty"},
            "the results folder /shared/results is not that of head: it is empty",
        ),
        ({"free_bytes": {"/tmp": LEAST_FREE_BYTES - 1}}, "/tmp has 1023 MiB free, expected 1024 MiB or more"),
        (
            {"clock_offset_s": -1.5},
            "its clock differs from that of head by 1.5 s or more, expected at most 1 s",
        ),
        ({"problems": ("the Docker engine does not answer",)}, "the Docker engine does not answer"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_problem_names_the_node_its_host_and_the_value(changes, told):
    (problem,) = found(**changes)
    assert problem.startswith("n2 (host host2): ")
    assert told in problem


def test_a_node_that_does_not_answer_is_named_with_both_hosts():
    (problem,) = problems({"n2": Node(report=None, silence="no such file")}, OWN, "head", REQUEST)
    assert f"n2: {sys.executable}, which runs on head, does not run on n2: no such file" in problem


@given(
    offset_ns=st.integers(-(10**10), 10**10), there_ns=st.integers(0, 10**9), back_ns=st.integers(0, 10**9)
)
def test_the_offset_of_a_clock_is_never_overstated(offset_ns, there_ns, back_ns):
    sent = 10**18
    offset_s = clock_offset_s(sent, sent + there_ns + offset_ns, sent + there_ns + back_ns)
    assert abs(offset_s) <= abs(offset_ns) / 1e9
    assert offset_s * offset_ns >= 0
    assert abs(offset_s) >= (abs(offset_ns) - there_ns - back_ns) / 1e9 - 1e-9


def test_an_engine_that_a_container_needs_and_a_gpu_outside_of_the_allocation_are_problems(tmp_path):
    request = Request(
        token="t",
        folder=str(tmp_path),
        results=str(tmp_path),
        nonce="1",
        needs_docker=True,
        gpus={"a.yaml:3:5": ("7",), "b.yaml:3:5": "all"},
    )
    environ = {
        "DOCKER_HOST": "tcp://127.0.0.1:1",
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_GPUS": "0-3",
    }
    answer = report(request, environ)
    engine, gpu = answer.problems
    assert "tcp://127.0.0.1:1 does not answer" in engine
    assert gpu.startswith("a.yaml:3:5: the container asks for GPU 7")
    assert (answer.has_folder, answer.versions) == (True, versions())
    assert "events" in answer.results_problem


@pytest.mark.parametrize("missing", ["SLURM_JOB_ID", "SLURM_JOB_NODELIST"])
def test_outside_of_an_allocation_the_error_names_the_variable_and_the_remedy(missing):
    environ = {"SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "n0"}
    with pytest.raises(UsageError, match=f"{missing}: not set.*salloc"):
        read_allocation({**environ, missing: ""})


def test_a_list_that_scontrol_refuses_is_an_error(slurm):
    with pytest.raises(UsageError, match=r"SLURM_JOB_NODELIST=n\[0-: expected a list of nodes"):
        read_allocation({"SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "n[0-"})


def test_a_list_of_nodes_is_expanded(slurm):
    environ = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2],gpu03"}
    assert read_allocation(environ) == Allocation(job_id="7", nodes=("n1", "n2", "gpu03"))


@pytest.mark.parametrize("shows", ["--version", "--help", "--collect-only"])
def test_calls_that_only_show_start_and_write_nothing(folder, shows):
    unwanted = touched(folder, "-m", "pytest", "suites", "--slurm", shows)
    # pytest captures output in temporary files without a name.
    assert [line for line in unwanted if not line.startswith(f"open ('{tempfile.gettempdir()}")] == []
    assert not folder.results.parent.exists()


def test_the_watch_sees_processes_and_files(folder):
    """The control of the test above."""
    program = (
        "import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', '']); open('made', 'w').close()"
    )
    seen = touched(folder, "-c", program)
    assert any(line.startswith("subprocess.Popen") for line in seen)
    assert "open ('made',)" in seen


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("-n2 --max-worker-restart=1", "remove -n, --max-worker-restart"),
        ("-p no:xdist", "remove -p no:xdist"),
    ],
)
def test_options_that_choose_other_workers_are_refused_beside_slurm(folder, given, told):
    folder.environ |= {"SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "n[0-2]"}
    ran = folder.run("--slurm", *given.split(), nodes="")
    assert (ran.status, f"--slurm runs one xdist worker on every node; {told}" in ran.output) == (4, True), (
        ran.output
    )
