"""What a session leaves for others when it has ended: summary files, GitHub's summary and annotations, vLLM's block."""

from __future__ import annotations

import csv
import json

import pytest

from pytest_bench.cli import main


@pytest.fixture(params=["pytest", "pytest-bench run"])
def ran(request, folder):
    """A session with a red and a green point, on GitHub Actions."""
    text = (folder.root / "bench/tiny.yaml").read_text()
    folder.write(
        "bench/tiny.yaml", text.replace('request_latency.p99: "<= 60s"', 'failed_requests: ">= 1"', 1)
    )
    summary = folder.write("step.md", "Text of the step.\n")
    folder.environ |= {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(summary),
        "GITHUB_WORKSPACE": str(folder.root),
    }
    done = folder.run("--summary", "vllm", judged=request.param != "pytest")
    assert done.status == 1, done.output
    return done


def test_the_session_is_summed_up_for_tools_and_for_github(ran, folder, capsys):
    with (ran.results / "summary.csv").open() as stream:
        rows = {row["point"]: row for row in csv.DictReader(stream)}
    summed = json.loads((ran.results / "summary.json").read_text())
    assert {name: row["outcome"] for name, row in rows.items()} == ran.outcomes
    assert [point["outcome"] for point in summed["points"]] == list(ran.outcomes.values())
    assert float(rows["tiny/perf/two"]["request_latency.p99 (ns)"]) > 0
    assert summed["status"] == "fail"

    step = (folder.root / "step.md").read_text()
    assert step.startswith("Text of the step.\n## fail")
    assert step.count("| tiny/perf/one |") == 1
    lines = [line for line in ran.output.splitlines() if line.startswith("::error")]
    assert len(lines) == 1
    assert lines[0].startswith(
        "::error file=bench/tiny.yaml,line=13,col=3,title=tiny/perf/one%3A fail::failed_requests is 0"
    )

    block = ran.output.partition("tiny/perf/one: fail\n")[2].partition("=" * 50 + "\n")[0].splitlines()
    assert block[0] == "============ Serving Benchmark Result ============"
    assert block[1] == "Successful requests:                     2"
    assert any(line.startswith("P99 E2EL (ms):       ") for line in block)

    assert main(["verify", str(ran.results)]) == 1
    assert "altered" not in capsys.readouterr().out
    path = ran.results / "summary.csv"
    path.write_text(path.read_text().replace("fail", "pass"))
    assert main(["verify", str(ran.results)]) == 1
    told = capsys.readouterr()
    assert "summary.csv: is not what a session writes" in told.out + told.err


def test_outside_of_github_nothing_is_annotated_and_an_unknown_summary_is_refused(folder):
    folder.environ |= {"GITHUB_ACTIONS": "", "GITHUB_STEP_SUMMARY": ""}
    refused = folder.run("--summary", "sglang")
    assert (refused.status, "--summary 'sglang': expected vllm" in refused.output) == (4, True)
    assert "::error" not in refused.output
    assert not (refused.results / "summary.csv").exists()
