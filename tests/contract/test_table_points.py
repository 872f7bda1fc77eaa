"""Points whose results are tables that another tool leaves on this host. No endpoint is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
suite: tiny
deployment: {api: openai-chat, model: chat-model}
eval:
"""

POINT = """
  %s:
    command: [%s, tool.py, %s, "{output}", "{model}", "{rank}/{nodes}"]
    environment: {SOME_KEY: {from_env: TOOL_KEY}, JOB: "{job}"}
    tables: {paths: ["%s.csv", "results_dir/%s/*.csv"], wait_s: %s%s}
    time_limit_s: %s
    bounds: {"chat throughput": ">= 100"}
"""

TEST_EVAL = """
import pytest


@pytest.mark.points("eval")
def test_eval(run_load):
    run_load().require()
"""

TOOL = """
import os, subprocess, sys, time
from pathlib import Path

what, output, model, place = sys.argv[1:]
print("tool", place, model, sorted(os.environ), os.environ["SOME_KEY"], os.environ["JOB"], flush=True)
GOOD = "model,performance,metric\\nchat,120,throughput\\nchat,3.5,latency\\n"
own = Path(f"results_dir/{what}")
own.mkdir(parents=True)
if what == "good":
    odd = GOOD.replace("model,performance", "\\ufeffMODEL , Performance").replace("3.5", " 3.5 ")
    (own / "perf.csv").write_text(odd)
    (own / "half.csv").write_text("model,performance,metric\\nchat,N/A,throughput\\n")
    (Path(output) / "kept.txt").write_text("kept")
elif what == "own":
    (Path(output) / "deep").mkdir()
    (Path(output) / "deep/perf.csv").write_text(GOOD)
elif what == "late":
    code = f"import time; time.sleep(2); open({str(own / 'perf.csv')!r}, 'w').write({GOOD!r})"
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
elif what == "slow":
    (own / "perf.csv").write_text(GOOD.replace("120", "99"))
elif what == "lacking":
    (own / "perf.csv").write_text(GOOD)
elif what == "empty":
    (own / "perf.csv").write_text("")
elif what == "header":
    (own / "perf.csv").write_text("model,performance,metric\\n")
elif what == "unmeasured":
    (own / "perf.csv").write_text(GOOD.replace("120", "nan"))
elif what == "another":
    (own / "perf.csv").write_text("name,value\\nchat,120\\n")
elif what == "failing":
    (own / "perf.csv").write_text(GOOD)
    sys.exit(7)
elif what == "appending":
    with open("appending.csv", "a") as file:
        file.write("chat,4,latency\\n")
elif what == "hanging" and Path("hang").exists():
    (own / "perf.csv").write_text(GOOD)
    print("hanging", os.getpid(), flush=True)
    time.sleep(600)
elif what == "hanging":
    (own / "perf.csv").write_text(GOOD)
"""

GREEN = ("good", "own", "late")
RED = {
    "slow": ("fail", "chat throughput is 99, required >= 100"),
    "lacking": ("fail", "chat memory: expected by expect_rows, and in no table"),
    "empty": ("error", "the node's table has no row"),
    "header": ("error", "the node's table has no row"),
    "unmeasured": ("error", "chat throughput: not measured"),
    "another": ("error", "no table of this job could be picked"),
    "nothing": ("error", "no table of this job could be picked"),
    "stale": ("error", "no table of this job could be picked"),
    "appending": ("error", "no table of this job could be picked"),
    "failing": ("error", "ended with status 7 while running the command"),
    "hanging": (
        "error",
        "ended with status 124 while running the command: it was ended at its time limit, 4 s",
    ),
}
"""What the tool does, and why its point is red."""

WHY_REFUSED = {
    "another": "expected the columns model, performance, metric, each once",
    "stale": "is older than the start of the job",
    "appending": "was there before the command was started, which appended to it",
}
TABLE = "model,performance,metric\nchat,120,throughput\n"
KEY = "sk-0123456789abcdef"


def point(name):
    return f"tiny/eval/{name}"


@pytest.fixture
def bench(folder):
    (folder.root / "bench/test_perf.py").unlink()
    folder.write("bench/test_eval.py", TEST_EVAL)
    folder.write("bench/tool.py", TOOL)
    folder.environ |= {"TOOL_KEY": KEY, "EVAL_CONC": "64"}

    def make(*names):
        points = []
        for name in names:
            wait_s = 60 if name == "late" else 0.5
            expected = ", expect_rows: [{model: chat, metric: memory}]" if name == "lacking" else ""
            limit_s = 4 if name == "hanging" and len(names) > 1 else 60
            points.append(POINT % (name, sys.executable, name, name, name, wait_s, expected, limit_s))
        folder.write("bench/tiny.yaml", SUITE + "".join(points))
        return folder

    return make


def evidence(ran, name):
    return ran.results / "points" / point(name)


def detail(ran, name):
    return json.loads((evidence(ran, name) / "summary.json").read_text())["detail"]


def reasons(ran, name):
    (found,) = [item for item in ran.verdict["points"] if item["id"] == point(name)]
    return "\n".join(reason["sentence"] for reason in found["reasons"])


def call(folder, *words):
    command = [sys.executable, "-c", "from pytest_bench.cli import main; raise SystemExit(main())", *words]
    done = subprocess.run(
        command, cwd=folder.root, env=folder.environment(), capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_the_rows_of_its_tables_are_the_metrics_of_a_point(bench):
    folder = bench(*GREEN)
    ran = folder.run("--complete")
    assert (ran.status, ran.outcomes) == (0, {point(name): "pass" for name in GREEN}), ran.output
    assert ran.junit == {f"tiny.eval::{point(name)}": "pass" for name in GREEN}
    for name in GREEN:
        summary = json.loads((evidence(ran, name) / "summary.json").read_text())
        metrics = {name: metric["value"] for name, metric in summary["measurement"]["metrics"].items()}
        assert metrics == {"chat throughput": 120.0, "chat latency": 3.5}
        assert summary["served"] == []
    found = detail(ran, "good")
    assert found["picked"].endswith("perf.csv")
    assert [(score["measured"], score["rows"], score["refused"]) for score in found["scores"]] == [
        (2, 2, ""),
        (0, 1, ""),
    ]
    copies = sorted(path.name for path in (evidence(ran, "good") / "nodes/0/tables").iterdir())
    assert copies == ["0-half.csv", "1-perf.csv"]
    assert (evidence(ran, "good") / "nodes/0/output/kept.txt").read_text() == "kept"
    status = json.loads((evidence(ran, "good") / "nodes/0/status.json").read_text())
    assert [Path(table["source"]).name for table in status["tables"]] == ["half.csv", "perf.csv"]
    assert "120" in ran.output
    assert "chat throughput" in ran.junit_text
    assert "chat throughput" in (ran.results / "summary.csv").read_text()
    status, said = call(folder, "verify", str(ran.results))
    assert status == 0, said
    status, said = call(folder, "show", str(ran.results))
    assert status == 0, said
    assert "throughput" in said

    printed = (evidence(ran, "good") / "nodes/0/harness.stdout.log").read_text()
    assert printed.startswith("tool 0/1 chat-model ")
    assert "EVAL_CONC" not in printed
    assert "***" in printed
    files = [path for path in ran.results.rglob("*") if path.is_file()]
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("names", [list(RED)[:4], list(RED)[4:8], list(RED)[8:]], ids=" ".join)
def test_a_tool_that_leaves_no_good_table_is_red_everywhere_and_named(bench, names):
    folder = bench(*names)
    folder.write("bench/hang", "")
    folder.write("bench/stale.csv", TABLE)
    folder.write("bench/appending.csv", TABLE)
    ran = folder.run()
    assert ran.status == 1
    assert ran.outcomes == {point(name): RED[name][0] for name in names}, ran.output
    for name, (outcome, why) in ((name, RED[name]) for name in names):
        assert why in reasons(ran, name)
        assert ran.junit[f"tiny.eval::{point(name)}"] == ("error" if outcome == "error" else "failure")
    for name in WHY_REFUSED.keys() & set(names):
        (score,) = detail(ran, name)["scores"]
        assert WHY_REFUSED[name] in score["refused"]
    if "hanging" in names:
        pid = int((evidence(ran, "hanging") / "nodes/0/harness.stdout.log").read_text().split()[-1])
        assert not Path(f"/proc/{pid}").exists()
    status, said = call(folder, "verify", str(ran.results))
    assert status == 1
    assert "differs" not in said
    for name, (outcome, why) in ((name, RED[name]) for name in names):
        assert f"{point(name)}: {outcome}" in said
        assert why in said


def test_a_table_that_was_altered_or_removed_afterwards_is_named_by_verify(bench):
    folder = bench("good", "own")
    ran = folder.run()
    assert ran.status == 0, ran.output
    table = evidence(ran, "good") / "nodes/0/tables/1-perf.csv"
    table.write_text(table.read_text().replace("120", "130"))
    (evidence(ran, "own") / "nodes/0/output/deep/perf.csv").unlink()
    status, said = call(folder, "verify", str(ran.results))
    assert status == 1
    assert f"points/{point('good')}/nodes/0/tables/1-perf.csv" in said
    assert f"points/{point('own')}/nodes/0/output/deep/perf.csv" in said


def test_an_interrupt_ends_the_tool_and_resuming_runs_it_anew(bench):
    folder = bench("hanging")
    folder.write("bench/hang", "")
    results = folder.root / "interrupted"
    log = results / "points" / point("hanging") / "nodes/0/harness.stdout.log"
    status, said = folder.terminate_when(
        lambda: log.exists() and log.read_text().count("\n") == 2,
        results=results,
    )
    assert status == 2, said
    pid = int(log.read_text().split()[-1])
    assert not Path(f"/proc/{pid}").exists()
    status = json.loads((log.parent / "status.json").read_text())
    assert (status["exit_status"], status["stopped"]) == (143, True)
    assert json.loads((results / "verdict.json").read_text())["status"] != "pass"

    (folder.root / "bench/hang").unlink()
    (folder.root / "bench/results_dir/hanging/perf.csv").unlink()
    (folder.root / "bench/results_dir/hanging").rmdir()
    again = folder.run("--resume", str(results), results=None)
    resumed = folder.read(again.status, again.output, results)
    assert (resumed.status, resumed.outcomes) == (0, {point("hanging"): "pass"}), resumed.output
    assert list(results.glob(f"sessions/*/points/{point('hanging')}/nodes/0/status.json"))


def test_several_nodes_without_an_allocation_are_an_error_that_says_how_to_get_one(bench):
    folder = bench("good")
    folder.edit("bench/tiny.yaml", "    time_limit_s", "    nodes: 2\n    time_limit_s")
    folder.environ |= {"SLURM_JOB_ID": "", "SLURM_JOB_NODELIST": ""}
    ran = folder.run()
    assert (ran.status, ran.outcomes) == (1, {point("good"): "error"}), ran.output
    assert "tiny/eval/good needs 2 nodes: SLURM_JOB_ID and SLURM_JOB_NODELIST: not set" in ran.output


def test_a_program_that_is_not_there_is_named_before_anything_starts(bench):
    folder = bench("good")
    folder.edit("bench/tiny.yaml", f"[{sys.executable}, ", "[no-such-tool, ")
    ran = folder.run()
    assert ran.status == 4
    assert "the program 'no-such-tool' of its command is not in any folder of PATH" in ran.output
