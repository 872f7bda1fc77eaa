"""What the server logs counts for audits and evals as it does for performance points."""

import json
import subprocess
from types import SimpleNamespace

import pytest
from container_suites import command
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
    assert log["failures"] > 0
    assert (log["requests"] == 0) == (kind == "command")


def test_verify_judges_the_logs_of_every_kind_again(noisy):
    assert verify_session(noisy.folder / "results").problems == ()
    for kind, point in POINTS.items():
        log = noisy.folder / "results/points" / point / "server_log.json"
        whole = log.read_text()
        log.write_text(whole.replace('"failures"', '"Failures"'))
        assert verify_session(noisy.folder / "results").problems, kind
        log.write_text(whole)
