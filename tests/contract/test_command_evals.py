"""Evals that another tool runs: its exit status, its files and what they state decide, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_bench.results.plan_file import read_plan

SUITE = """
suite: tiny
deployment:
  api: openai-chat
  model: simulated
  endpoint: ${ENDPOINT:-}
  ready_timeout_s: 5
datasets: {}
eval:
  sums:
    command: [%s, tool.py, "{endpoint}", "{model}", "{concurrency}", "{output}"]
    environment: {DECLARED: yes please, SOME_KEY: {from_env: TOOL_KEY}}
    tasks: [sums]
    thresholds: {sums: 0.7}
    time_limit_s: %s%s
    sweep: {concurrency: [%s]}
"""

TEST_EVAL = """
import pytest


@pytest.mark.points("eval")
def test_eval(run_load):
    run_load().require()
"""

BAD = {
    2: ("error", "holds no results*.json: the eval left no result"),
    3: ("error", "the command ended with status 7; expected 0"),
    4: ("fail", "num_concurrent: is 1; the file should be of concurrency 4"),
    5: ("fail", "model_name: is 'another'; 'simulated' was requested"),
    6: ("fail", "2 result files: m/results_2026-01-02T03-04-00.000001.json, m/results_"),
    7: ("fail", "results.sums.exact_match,none: is 0.5, below 0.7"),
    8: ("fail", "2 of 4 items were evaluated, but no limit was declared"),
    9: ("fail", "the file is of an earlier run"),
    10: ("fail", "conc: is 9; 10 was requested"),
    11: ("error", "does not state its concurrency, and the server had at most 0 requests in flight at"),
}
"""What the tool does badly at each concurrency, and why its point is red. At 1 all is well. At 99 it hangs while there
is a file `hang` beside the suite."""

TOOL = """
import json, os, sys, threading, time, urllib.request
from pathlib import Path

def ask():
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
    request = urllib.request.Request(
        f"{endpoint}/v1/chat/completions", json.dumps(body).encode(), {"X-Sim-Ttft-Ms": "1500"}
    )
    urllib.request.urlopen(request).read()


endpoint, model, concurrency, output = sys.argv[1:]
concurrency, output = int(concurrency), Path(output)
print("tool at", endpoint, sorted(os.environ), os.environ["SOME_KEY"], flush=True)
(output / "half.txt").write_text("kept")
if concurrency == 2:
    sys.exit(0)
if concurrency == 3:
    sys.exit(7)
if concurrency == 99 and Path("hang").exists():
    print("hanging", os.getpid(), flush=True)
    time.sleep(600)
named = "another" if concurrency == 5 else model
value = {"exact_match,none": 0.5 if concurrency == 7 else 0.75, "exact_match_stderr,none": 0.1, "alias": "sums"}
result = {
    "results": {"sums": value},
    "n-samples": {"sums": {"original": 4, "effective": 2 if concurrency == 8 else 4}},
    "higher_is_better": {"sums": {"exact_match": True}},
    "group_subtasks": {"sums": []},
    "config": {
        "model_args": {"model": named, "num_concurrent": 1 if concurrency == 4 else concurrency}, "limit": None
    },
    "model_name": named,
    "date": time.time() - (86400 if concurrency == 9 else 0),
}
if concurrency in (11, 12, 13):
    del result["config"]["model_args"]["num_concurrent"]
if concurrency == 12:
    threads = [threading.Thread(target=ask) for _ in range(12)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
if concurrency == 13:
    about = {"conc": 13, "eval_exit_code": 0, "model": model, "of their own": {"kept": [1, None]}}
    (output / "meta_env.json").write_text(json.dumps(about))
    result["of their own"] = {"kept": {"deep": "yes"}}
    result["results"]["sums"]["calibration"] = [0.5, "x"]
if concurrency == 10:
    (output / "meta_env.json").write_text(json.dumps({"conc": 9, "eval_exit_code": 0, "model": model}))
(output / "m").mkdir()
for second in range(2 if concurrency == 6 else 1):
    text = json.dumps({**result, "second": second})
    (output / "m" / f"results_2026-01-02T03-04-0{second}.000001.json").write_text(text)
"""

KEY = "sk-0123456789abcdef"


def point(concurrency):
    return f"tiny/eval/sums/c{concurrency:04}"


@pytest.fixture
def bench(folder):
    (folder.root / "bench/tiny.yaml").unlink()
    (folder.root / "bench/test_perf.py").unlink()
    folder.write("bench/test_eval.py", TEST_EVAL)
    folder.write("bench/tool.py", TOOL)
    folder.environ |= {"TOOL_KEY": KEY, "EVAL_CONC": "64"}

    def make(*concurrencies, time_limit_s=60, fields=""):
        asked = ", ".join(map(str, concurrencies))
        folder.write("bench/tiny.yaml", SUITE % (sys.executable, time_limit_s, fields, asked))
        return folder

    return make


def reasons(ran, concurrency):
    (found,) = [item for item in ran.verdict["points"] if item["id"] == point(concurrency)]
    return "\n".join(reason["sentence"] for reason in found["reasons"])


def verify(folder, ran):
    command = [sys.executable, "-c", "from pytest_bench.cli import main; raise SystemExit(main())", "verify"]
    done = subprocess.run(
        [*command, str(ran.results)],
        cwd=folder.root,
        env=folder.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def evidence(ran, concurrency):
    return ran.results / "points" / point(concurrency)


def test_its_files_are_admitted_and_its_scores_judged(bench):
    folder = bench(1)
    ran = folder.run("--endpoint=simulator")
    assert (ran.status, ran.outcomes) == (0, {point(1): "pass"}), ran.output
    assert ran.junit == {f"tiny.eval::{point(1)}": "pass"}
    summary = json.loads((evidence(ran, 1) / "summary.json").read_text())
    assert summary["measurement"]["metrics"]["sums: exact_match,none"]["value"] == 0.75
    assert {"DECLARED", "SOME_KEY", "PATH"} <= set(summary["detail"]["environment"])
    assert summary["detail"]["status"] == 0
    meta = json.loads((evidence(ran, 1) / "harness/meta_env.json").read_text())
    nonce = json.loads((ran.results / "verdict.json").read_text())["nonce"]
    own = {"pytest_bench": {"nonce": nonce}}
    assert meta == {"conc": 1, "eval_exit_code": 0, "model": "simulated", **own}
    assert read_plan(ran.results).plan.points[0].options["resume"] == "never"
    status, said = verify(folder, ran)
    assert status == 0, said

    printed = (evidence(ran, 1) / "harness.stdout.log").read_text()
    assert "tool at http://127.0.0.1:" in printed
    assert "'DECLARED'" in printed
    assert "EVAL_CONC" not in printed
    assert "***" in printed
    files = [path for path in ran.results.rglob("*") if path.is_file()]
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def test_a_tool_that_does_not_deliver_is_red_everywhere_and_named(bench):
    folder = bench(1, *BAD)
    ran = folder.run("--endpoint=simulator")
    assert ran.status == 1
    outcomes = {point(concurrency): outcome for concurrency, (outcome, _) in BAD.items()}
    assert ran.outcomes == {point(1): "pass", **outcomes}, ran.output
    assert ran.verdict["status"] == "error"
    for concurrency, (outcome, why) in BAD.items():
        assert why in reasons(ran, concurrency)
        assert ran.junit[f"tiny.eval::{point(concurrency)}"] == ("error" if outcome == "error" else "failure")
        assert (evidence(ran, concurrency) / "harness/half.txt").read_text() == "kept"
    status, said = verify(folder, ran)
    assert status == 1
    assert "differs" not in said
    for concurrency, (outcome, why) in BAD.items():
        assert f"{point(concurrency)}: {outcome}" in said
        assert why in said

    (path,) = (evidence(ran, 7) / "harness").glob("m/results_*")
    path.write_text(path.read_text().replace("0.5", "0.9"))
    status, said = verify(folder, ran)
    assert status == 1
    assert f"points/{point(7)}/harness/m/{path.name}" in said


def test_a_concurrency_that_the_files_do_not_state_is_proven_by_the_server_or_allowed_by_the_suite(bench):
    folder = bench(12, 13)
    ran = folder.run("--endpoint=simulator")
    assert ran.outcomes == {point(12): "pass", point(13): "pass"}, ran.output
    proof = json.loads((evidence(ran, 12) / "summary.json").read_text())["detail"]["concurrency"]
    assert (proof["stated"], proof["server"]["peak"]) == (False, 12)
    assert "12 requests in flight are proven by the server's simulator_requests_in_flight" in ran.output
    assert json.loads((evidence(ran, 13) / "summary.json").read_text())["detail"]["own_metadata"] is True
    (written,) = (evidence(ran, 13) / "harness/m").iterdir()
    kept = json.loads(written.read_text())
    assert kept["of their own"] == {"kept": {"deep": "yes"}}
    assert kept["results"]["sums"]["calibration"] == [0.5, "x"]
    about = json.loads((evidence(ran, 13) / "harness/meta_env.json").read_text())
    assert about["of their own"] == {"kept": [1, None]}
    status, said = verify(folder, ran)
    assert status == 0, said
    allowed = bench(11, fields="\n    unproven_concurrency: allowed").run(
        "--endpoint=simulator", "--complete"
    )
    assert "concurrency-unproven" in allowed.verdict["points"][0]["labels"]
    assert allowed.status == 1
    assert "--complete requires a proven concurrency" in allowed.output


def test_at_its_time_limit_it_is_ended_and_its_files_are_kept(bench):
    folder = bench(99, time_limit_s=5)
    folder.write("bench/hang", "")
    ran = folder.run("--endpoint=simulator")
    assert ran.outcomes == {point(99): "error"}, ran.output
    assert "the command was ended at its time limit, 5 s" in reasons(ran, 99)
    assert (evidence(ran, 99) / "harness/half.txt").read_text() == "kept"
    pid = int((evidence(ran, 99) / "harness.stdout.log").read_text().split()[-1])
    assert not Path(f"/proc/{pid}").exists()


def test_an_interrupt_ends_the_tool_and_keeps_its_files_and_resuming_runs_it_anew(bench):
    folder = bench(99)
    folder.write("bench/hang", "")
    results = folder.root / "interrupted"
    log = results / "points" / point(99) / "harness.stdout.log"
    status, said = folder.terminate_when(
        lambda: log.exists() and "hanging" in log.read_text(),
        "--endpoint=simulator",
        results=results,
    )
    assert status == 2, said
    pid = int(log.read_text().split()[-1])
    assert not Path(f"/proc/{pid}").exists()
    assert (log.parent / "harness/half.txt").read_text() == "kept"
    assert json.loads((results / "verdict.json").read_text())["status"] != "pass"

    (folder.root / "bench/hang").unlink()
    again = folder.run("--endpoint=simulator", "--resume", str(results), results=None)
    resumed = folder.read(again.status, again.output, results)
    assert (resumed.status, resumed.outcomes) == (0, {point(99): "pass"}), resumed.output
    (kept,) = results.glob(f"sessions/*/points/{point(99)}/harness/half.txt")
    assert kept.read_text() == "kept"


@pytest.mark.parametrize(
    ("program", "environ", "complaint"),
    [
        ("no-such-tool", {}, "the program 'no-such-tool' of its command is not in any folder of PATH"),
        ("./tool", {}, "bench; install it"),
        (sys.executable, {"TOOL_KEY": ""}, "TOOL_KEY, which its command needs, is not set or is empty"),
    ],
)
def test_what_a_command_needs_is_looked_for_before_anything_starts(bench, program, environ, complaint):
    folder = bench(1)
    folder.edit("bench/tiny.yaml", f"[{sys.executable}, ", f"[{program}, ")
    folder.environ |= environ
    ran = folder.run("--endpoint=simulator")
    assert ran.status == 4
    assert complaint in ran.output
