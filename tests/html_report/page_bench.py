"""A folder of suites that has every kind of point, hostile answers, and failures; and sessions of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "{{ 7*7 }} \u2028 \x1b[31mred\x1b]0;owned\x07 \u202eevil #### 99"
)
BUDGET = (
    "budget: {achieved_share: 0.01, vacancy: 1, vacancy_p99: 1, schedule_lateness_ms: 5000, cpu_share: 1.0}"
)

LOAD = f"""
suite: load
deployment:
  api: openai-chat
  model: simulated
  endpoint: ${{ENDPOINT:-}}
  simulator: {{ttft_ms: TTFT, itl_ms: 20, output_tokens: 3}}
  metrics_interval_s: 0.1
datasets:
  prompts: {{path: data/prompts.jsonl}}
perf:
  steady:
    dataset: prompts
    load: {{pattern: concurrency, requests: 24}}
    sweep: {{concurrency: [1, 2]}}
    warmup: {{requests: 4}}
    {BUDGET}
    bounds: {{request_latency.p99: "<= 60s"}}
audit:
  caching:
    test: output-caching
    dataset: prompts
    load: {{pattern: concurrency, concurrency: 2, requests: 6}}
    threshold: 0.99
    {BUDGET}
"""

BROKEN = f"""
suite: broken
deployment:
  api: openai-chat
  model: simulated
  endpoint: ${{ENDPOINT:-}}
  simulator: {{ttft_ms: 1, itl_ms: 0.1, output_tokens: 4, fault: {{http_500: 0.5}}}}
datasets:
  prompts: {{path: data/prompts.jsonl}}
perf:
  failing:
    dataset: prompts
    load: {{pattern: concurrency, concurrency: 2, requests: 16}}
    {BUDGET}
    bounds: {{error_rate: "<= 0%"}}
"""

SUMS = """
suite: sums
deployment:
  api: openai-completions
  model: simulated
  endpoint: ${ENDPOINT:-}
  simulator: {answers: data/answers.jsonl, ttft_ms: 1, itl_ms: 0.1}
datasets: {sums: {path: data/sums.jsonl}}
eval:
  sums:
    preset: gsm8k
    dataset: sums
    id_column: id
    generation: {max_tokens: 64, stream: false}
    sweep: {concurrency: [1, 2]}
    retry: {attempts: 2, on: [5xx], backoff_s: 0.01}
"""

TEST = """
import pytest


@pytest.mark.points({kind!r})
def test_{kind}(run_load):
    run_load().require()
"""

ANSWERS = {
    "sum-0": {"content": "#### 0"},
    "sum-1": {"content": HOSTILE},
    "sum-2": {"content": "Twice", "finish_reason": "length"},
    "sum-3": {"content": "#### 6", "fault": "http_503", "fault_requests": 1},
    "sum-4": {"content": "#### 8"},
}


def write_suites(root, *, ttft_ms, answers):
    data = root / "bench" / "data"
    data.mkdir(parents=True, exist_ok=True)
    (root / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider -p no:hypothesispytest\n")
    for name, text in (("load", LOAD.replace("TTFT", str(ttft_ms))), ("broken", BROKEN), ("sums", SUMS)):
        (root / "bench" / f"{name}.yaml").write_text(text)
    for kind in ("perf", "audit", "eval"):
        (root / "bench" / f"test_{kind}.py").write_text(TEST.format(kind=kind))
    prompts = (json.dumps({"prompt": f"Tell me about number {number}."}) for number in range(200))
    (data / "prompts.jsonl").write_text("\n".join(prompts))
    rows = [
        {"id": item, "question": f"What is twice {item[4:]}?", "answer": f"#### {2 * int(item[4:])}"}
        for item in answers
    ]
    given = [{"item": row["id"], "prompt": row["question"], **answers[row["id"]]} for row in rows]
    for name, lines in (("sums", rows), ("answers", given)):
        (data / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def run_session(root, name, *words, **environment):
    """Run the suites, of which one fails; the folder and what was printed."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "GITHUB_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "bench", "--endpoint=simulator", f"--results={name}", *words],
        cwd=root,
        env={**kept, "PYTEST_BENCH_LEASES": str(root / "leases"), "COLUMNS": "200", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return root / name, done.stdout
