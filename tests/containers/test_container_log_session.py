"""What the server logs counts for audits and evals as it does for performance points."""

import json
import subprocess
from types import SimpleNamespace

import pytest
from container_suites import command, until
from eval_folder import row, write_rows

from pytest_bench.verify import verify_session

SUITE = """
suite: noisy
deployment:
  api: openai-completions
  model: simulated
  tokens: {{count: usage}}
  generation: {{max_tokens: 4}}
  container:
    image: {image}
    entrypoint: [sh, -c, "while :; do echo HIP out of memory; sleep 0.01; done & exec $0 $@", python3]
    command: [-m, pytest_bench.simulator, --host, 0.0.0.0, --port, "8000"]
    stop_timeout_s: 0.1
    log: {{failures: [out of memory]}}
datasets:
  made: {{synthetic: {{rows: 20, input_tokens: 5}}}}
  sums: {{path: sums.jsonl}}
  shots: {{path: shots.jsonl}}
perf:
  point:
    dataset: made
    load: {{pattern: concurrency, concurrency: 2, requests: 20}}
    budget: {{achieved_share: 0.01, vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1.0}}
audit:
  caching: {{test: output-caching, of: point, sample_index: 3}}
eval:
  sums:
    preset: gsm8k
    dataset: sums
    id_column: id
    few_shots: {{dataset: shots, count: 1}}
    generation: {{max_tokens: 4, stream: false}}
    sweep: {{concurrency: [2]}}
  tool:
    command: [sh, -c, "sleep 0.2; exit 3", "{{endpoint}} {{concurrency}} {{model}} {{output}}"]
    tasks: [x]
    min_score: 0.5
    sweep: {{concurrency: [1]}}
"""
TEST = """
import pytest

@pytest.mark.points("{kind}")
def test_{kind}(run_load):
    run_load().require()
"""
POINTS = {
    "perf": "noisy/perf/point",
    "audit": "noisy/audit/caching",
    "eval": "noisy/eval/sums/c0002",
    "command": "noisy/eval/tool/c0001",
}


@pytest.fixture(scope="module")
def noisy(image, tmp_path_factory):
    folder = tmp_path_factory.mktemp("noisy")
    (folder / "suites").mkdir()
    (folder / "suites" / "noisy.yaml").write_text(SUITE.format(image=image))
    for kind in ("perf", "audit", "eval"):
        (folder / "suites" / f"test_{kind}.py").write_text(TEST.format(kind=kind))
    write_rows(folder / "suites" / "sums.jsonl", [row(number) for number in range(4)])
    write_rows(folder / "suites" / "shots.jsonl", [row(100)])
    ran = subprocess.run(**command(folder, "pytest", "suites", "--results=results"), check=False)
    points = json.loads((folder / "results" / "verdict.json").read_text())["points"]
    return SimpleNamespace(folder=folder, output=ran.stdout, points={point["id"]: point for point in points})


@pytest.mark.parametrize("kind", POINTS)
def test_a_failure_in_the_log_fails_a_point_of_every_kind(noisy, kind):
    point = noisy.points[POINTS[kind]]
    assert "log-failure" in [reason["code"] for reason in point["reasons"]], noisy.output
    assert point["outcome"] == ("error" if kind == "command" else "fail")
    log = json.loads((noisy.folder / "results/points" / POINTS[kind] / "server_log.json").read_text())
    (part,) = log["parts"]
    assert part["failures"] > 0
    assert (part["requests"] == 0) == (kind == "command")


def test_verify_judges_the_logs_of_every_kind_again(noisy):
    assert verify_session(noisy.folder / "results").problems == ()
    for kind, point in POINTS.items():
        log = noisy.folder / "results/points" / point / "server_log.json"
        whole = log.read_text()
        log.write_text(whole.replace('"failures"', '"Failures"'))
        assert verify_session(noisy.folder / "results").problems, kind
        log.write_text(whole)


RESUMED = """
suite: resumed
deployment:
  api: openai-completions
  model: simulated
  tokens: {{count: usage}}
  generation: {{max_tokens: 4}}
  container:
    image: {image}
    entrypoint:
      - sh
      - -c
      - if [ -e /state/noisy ]; then while sleep 0.05; do echo HIP out of memory; done & fi; exec $0 $@
      - python3
    command: [-m, pytest_bench.simulator, --host, 0.0.0.0, --port, "8000"]
    arguments: [--ttft-ms, "200"]
    mounts: [{{source: state, target: /state}}]
    stop_timeout_s: 0.1
    log: {{failures: [out of memory], budget: {{lines_per_request: 1000}}}}
datasets:
  sums: {{path: sums.jsonl}}
  shots: {{path: shots.jsonl}}
eval:
  sums:
    preset: gsm8k
    dataset: sums
    id_column: id
    few_shots: {{dataset: shots, count: 1}}
    generation: {{max_tokens: 4, stream: false}}
    budget: {{vacancy: 1}}
    sweep: {{concurrency: [2]}}
"""
RESUMED_POINT = "points/resumed/eval/sums/c0002"


@pytest.fixture
def killed(image, tmp_path):
    """A session of an eval that was killed while its server logged failures. A later one would log none."""
    suites = tmp_path / "suites"
    (suites / "state").mkdir(parents=True)
    (suites / "state" / "noisy").touch()
    (suites / "resumed.yaml").write_text(RESUMED.format(image=image))
    (suites / "test_eval.py").write_text(TEST.format(kind="eval"))
    write_rows(suites / "sums.jsonl", [row(number) for number in range(24)])
    write_rows(suites / "shots.jsonl", [row(100)])
    with (tmp_path / "output").open("w") as output:
        call = command(tmp_path, "pytest", "suites", "--results=results")
        running = subprocess.Popen(**{**call, "stdout": output})
    checkpoint = tmp_path / "results" / RESUMED_POINT / "checkpoint.jsonl"
    until(lambda: running.poll() is not None or len(answered(checkpoint)) >= 4)
    assert running.poll() is None, (tmp_path / "output").read_text()
    running.kill()
    running.wait()
    (suites / "state" / "noisy").unlink()
    return tmp_path


def answered(checkpoint):
    return [line for line in lines(checkpoint) if b'"kind":"result"' in line]


def lines(path):
    try:
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        return []


def resume(folder):
    ran = subprocess.run(**command(folder, "pytest", "suites", "--resume=results"), check=False)
    (point,) = json.loads((folder / "results" / "verdict.json").read_text())["points"]
    return point, ran.stdout


def test_a_resumed_eval_is_judged_by_what_its_server_logged_in_the_session_that_was_killed(killed):
    point, output = resume(killed)
    assert point["outcome"] == "fail", output
    assert [reason["code"] for reason in point["reasons"]] == ["log-failure"]
    first, second = json.loads((killed / "results" / RESUMED_POINT / "server_log.json").read_text())["parts"]
    assert (first["cut_off"], second["cut_off"]) == (True, False)
    assert first["failures"] > 0 == second["failures"]
    assert first["requests"] + second["requests"] >= 24
    assert verify_session(killed / "results").problems == ()


def test_a_resumed_eval_whose_earlier_log_is_missing_is_an_error(killed):
    (killed / "results/deployments/resumed/container.log").unlink()
    point, output = resume(killed)
    assert point["outcome"] == "error", output
    assert "container.log: is missing: what the server logged in session" in point["reasons"][0]["sentence"]
