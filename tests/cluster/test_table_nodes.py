"""Points whose results are tables that a tool leaves on several nodes of a real Slurm cluster."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slurm_folder import INI, RUN, Ran, wait_until

SUITE = """
suite: wide
deployment: {api: openai-chat, model: m}
eval:
"""

POINT = """
  %s:
    command: [%s, tool.py, %s, "{output}", "{rank}", "{nodes}", "{first_node}", "{job}"]
    nodes: %s
    tables: {paths: ["shared-%s.csv", "%s/{job}/*.csv"], wait_s: %s, combine: {%s}%s}
"""

TEST = """
import pytest


@pytest.mark.points("eval")
def test_eval(run_load):
    run_load().require()
"""

TOOL = """
import os, sys, time
from pathlib import Path

what, output, rank, nodes, first, job = sys.argv[1:]
own, number = Path(output) / "perf.csv", int(rank)


def write(path, throughput, latency=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = f"chat,{throughput},throughput\\nchat,{latency},latency\\n"
    path.with_suffix(".new").write_text("model,performance,metric\\n" + rows)
    path.with_suffix(".new").replace(path)


print("on", nodes, first, job, flush=True)
if what in ("all", "differing"):
    write(own, 100 + number, 2 + number)
elif what == "first" and number == 0:
    write(own, 100)
elif what == "shared" and number == 0:
    write(Path("shared-shared.csv"), 100)
elif what == "somewhere" and number == 1:
    write(Path(os.environ["TMPDIR"]) / "launcher" / job / "perf.csv", 77)
    write(Path(os.environ["TMPDIR"]) / "launcher" / "0" / "perf.csv", 99)
elif what == "empty":
    own.write_text("")
elif what == "half-empty":
    own.write_text("") if number == 0 else write(own, 100)
elif what == "failing":
    write(own, 100)
    while number == 1 and not Path("begun-0").exists():
        time.sleep(0.05)
    if number == 1:
        sys.exit(3)
    Path(f"begun-{rank}").write_text(str(os.getpid()))
    time.sleep(600)
elif what == "waiting":
    write(own, 100)
    Path(f"begun-{rank}").write_text(str(os.getpid()))
    time.sleep(600)
"""

SUMMED = "throughput: sum, latency: mean"
CASES = {
    # name: nodes, wait_s, combine, outcome, what a reason says
    "all": (3, 5, SUMMED, "pass", ""),
    "first": (2, 0.5, "", "pass", ""),
    "shared": (2, 0.5, "throughput: sum", "error", "chat throughput: rank 1 has no measured value"),
    "somewhere": (2, 0.5, "", "pass", ""),
    "differing": (
        2,
        5,
        "throughput: equal",
        "fail",
        "chat throughput: expected the same value of every node",
    ),
    "empty": (2, 0.5, "", "error", "the tables of all 2 nodes have no row"),
    "half-empty": (2, 0.5, "", "pass", ""),
    "failing": (2, 5, "", "error", "rank 1 (n1) ended with status 3 while running the command"),
    "too-many": (4, 5, "", "error", "needs 4 nodes, and job"),
}


class Folder:
    """A folder with a suite of such points, and pytest started on it inside an allocation."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bench = root / "bench"
        (root / "tmp").mkdir()
        self.bench.mkdir()
        (root / "pytest.ini").write_text(INI)
        (self.bench / "test_eval.py").write_text(TEST)
        (self.bench / "tool.py").write_text(TOOL)

    @property
    def results(self) -> Path:
        return self.root / "results/session"

    def write(self, **points: tuple) -> None:
        """`points`: number of nodes, wait, and combinations, by name."""
        texts = [
            POINT % (name, sys.executable, name, nodes, name, self.root / "tmp/launcher", wait_s, combine, "")
            for name, (nodes, wait_s, combine) in points.items()
        ]
        (self.bench / "wide.yaml").write_text(SUITE + "".join(texts))

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        return {
            **kept,
            "COLUMNS": "200",
            "PYTEST_BENCH_LEASES": f"{self.root}/leases",
            "TMPDIR": f"{self.root}/tmp",
        }

    def start(self, *args: str, nodes: str = "n0,n1,n2") -> subprocess.Popen:
        count = len(nodes.split(","))
        return subprocess.Popen(
            [
                *("salloc", "--quiet", f"--nodelist={nodes}", f"--nodes={count}", "--no-kill"),
                *(sys.executable, "-m", "pytest", "bench", *args, "--results", str(self.results)),
            ],
            cwd=self.root,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self, running: subprocess.Popen) -> Ran:
        output, _ = running.communicate(timeout=240)
        return Ran(running.returncode, output, self.results)

    def verify(self) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, *RUN[:2], "verify", str(self.results)],
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def processes(self) -> dict[int, str]:
        """Command lines of all processes with the environment of this folder's session, or of its commands."""
        marks = (f"PYTEST_BENCH_LEASES={self.root}/leases".encode(), f"TMPDIR={self.root}/tmp".encode())
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended
                environ = (path / "environ").read_bytes()
                if any(mark in environ for mark in marks):
                    found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def require_no_process(self) -> None:
        limit = time.monotonic() + 60
        while left := self.processes():
            assert time.monotonic() < limit, left
            time.sleep(0.05)

    def evidence(self, name: str) -> Path:
        return self.results / f"points/wide/eval/{name}"

    def detail(self, name: str) -> dict:
        return json.loads((self.evidence(name) / "summary.json").read_text())["detail"]

    def values(self, name: str) -> dict[str, float]:
        summary = json.loads((self.evidence(name) / "summary.json").read_text())
        return {name: metric.get("value") for name, metric in summary["measurement"]["metrics"].items()}


@pytest.fixture(scope="module")
def ran(slurm, tmp_path_factory):
    """One session with a point for each of `CASES`."""
    folder = Folder(tmp_path_factory.mktemp("wide"))
    folder.write(**{name: case[:3] for name, case in CASES.items()})
    return folder, folder.end(folder.start())


@pytest.mark.parametrize("name", CASES)
def test_what_the_nodes_leave_decides(ran, name):
    _, session = ran
    *_, outcome, why = CASES[name]
    assert session.outcomes[f"wide/eval/{name}"] == outcome, session.output
    assert why in session.reasons(f"wide/eval/{name}")


def test_values_of_several_nodes_become_one_as_declared(ran):
    folder, _ = ran
    assert folder.values("all") == {"chat throughput": 303.0, "chat latency": 3.0}
    found = folder.detail("all")
    assert [status["host"] for status in found["statuses"]] == ["n0", "n1", "n2"]
    assert found["rows"][0]["values"] == {"0": 100.0, "1": 101.0, "2": 102.0}
    assert len(found["scores"]) == 3
    for rank in range(3):
        log = (folder.evidence("all") / f"nodes/{rank}/harness.stdout.log").read_text()
        assert log == f"on 3 n0 {found['job']}\n"


def test_one_table_is_enough_if_no_metric_is_combined(ran):
    folder, _ = ran
    for name in ("first", "half-empty"):
        assert folder.values(name) == {"chat throughput": 100.0, "chat latency": 2.0}


def test_only_the_folder_of_this_job_is_looked_at_where_launchers_leave_results(ran):
    folder, _ = ran
    assert folder.values("somewhere")["chat throughput"] == 77.0
    scores = folder.detail("somewhere")["scores"]
    assert {score["refused"] for score in scores} == {"", "is the same file as that of rank 0"}


def test_a_file_that_several_nodes_see_counts_once(ran):
    folder, _ = ran
    refused = {score["path"]: score["refused"] for score in folder.detail("shared")["scores"]}
    assert list(refused.values()) == ["", "is the same file as that of rank 0"]


def test_the_other_nodes_of_one_that_fails_are_stopped_and_named_after_it(ran):
    folder, session = ran
    reasons = session.reasons("wide/eval/failing")
    assert reasons.index("rank 1 (n1) ended with status 3") < reasons.index("rank 0 (n0)")
    assert "rank 0 (n0) ended with status 143: stopped because of rank 1 (n1)" in reasons
    pid = int((folder.bench / "begun-0").read_text())
    assert not Path(f"/proc/{pid}").exists()


def test_what_the_nodes_are_is_part_of_the_evidence(ran):
    folder, session = ran
    nodes = json.loads((folder.evidence("all") / "nodes.json").read_text())
    assert list(nodes["nodes"]) == ["n0", "n1", "n2"]
    assert nodes["job"] == folder.detail("all")["job"]
    for facts in nodes["nodes"].values():
        assert "pytest-inference-bench" in facts["versions"]
        assert abs(facts["clock_offset_s"]) <= 1
    assert not folder.processes(), session.output


def test_verify_judges_the_same_files_again_and_names_one_that_was_altered(ran):
    folder, _ = ran
    _, said = folder.verify()
    assert "differs" not in said
    for name, (*_, outcome, why) in CASES.items():
        if outcome != "pass":
            assert f"wide/eval/{name}: {outcome}" in said
            assert why in said
    table = folder.evidence("all") / "nodes/1/output/perf.csv"
    before = table.read_text()
    try:
        table.write_text(before.replace("101", "901"))
        _, said = folder.verify()
    finally:
        table.write_text(before)
    assert "points/wide/eval/all/nodes/1/output/perf.csv" in said


@pytest.fixture
def waiting(slurm, tmp_path):
    """A session whose tool runs on two nodes until it is ended: its folder, and its process."""
    folder = Folder(tmp_path)
    folder.write(waiting=(2, 1, ""))
    running = folder.start(nodes="n0,n1")
    try:
        wait_until(lambda: all((folder.bench / f"begun-{rank}").exists() for rank in (0, 1)), running)
        yield folder, running
    finally:
        running.kill()
        running.wait()


def test_a_rank_that_is_killed_is_the_cause_and_the_point_is_an_error(waiting):
    folder, running = waiting
    (task,) = [
        pid
        for pid, words in folder.processes().items()
        if "pytest_bench.evals.node_task" in words
        and "srun" not in words
        and b"SLURMD_NODENAME=n1" in Path(f"/proc/{pid}/environ").read_bytes()
    ]
    os.kill(task, signal.SIGKILL)
    ran = folder.end(running)
    assert ran.outcomes == {"wide/eval/waiting": "error"}, ran.output
    reasons = ran.reasons("wide/eval/waiting")
    assert reasons.startswith("no-report: rank 1 never reported")
    assert "rank 0 (n0) ended with status 143: stopped because of rank 1, which never reported" in reasons
    folder.require_no_process()


def test_scancel_ends_the_tool_on_every_node_and_the_point_is_red(waiting):
    folder, running = waiting
    job = (folder.evidence("waiting") / "nodes/0/harness.stdout.log").read_text().split()[-1]
    subprocess.run(["scancel", job], check=True)
    ran = folder.end(running)
    assert ran.status != 0
    assert ran.verdict["status"] != "pass"
    folder.require_no_process()


def test_the_death_of_the_controller_ends_the_tool_on_every_node(waiting):
    folder, running = waiting
    (controller,) = [
        pid
        for pid, words in folder.processes().items()
        if words.startswith(f"{sys.executable} -m pytest bench")
    ]
    os.kill(controller, signal.SIGKILL)
    ran = folder.end(running)
    folder.require_no_process()
    assert ran.verdict["status"] != "pass"


def test_a_node_without_the_shared_folder_is_named_before_anything_starts(not_on_n3):
    folder = Folder(not_on_n3)
    folder.write(all=(2, 1, ""))
    ran = folder.end(folder.start(nodes="n0,n3"))
    assert ran.outcomes == {"wide/eval/all": "error"}, ran.output
    reasons = ran.reasons("wide/eval/all")
    assert "nothing was started on the nodes of job" in reasons
    assert f"the working folder {folder.bench} does not exist there" in reasons
    assert not list((folder.evidence("all") / "nodes").iterdir())


def test_points_of_several_nodes_are_refused_where_every_node_runs_points_of_its_own(slurm, tmp_path):
    folder = Folder(tmp_path)
    folder.write(all=(2, 1, ""))
    ran = folder.end(folder.start("--slurm", nodes="n0,n1"))
    assert ran.status == 4
    assert (
        "wide/eval/all needs several nodes: run these suites in the allocation without --slurm" in ran.output
    )
