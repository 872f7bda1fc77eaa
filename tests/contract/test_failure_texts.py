"""The text of a failed point says why it failed and how to run it again."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

HARD = '">= 1h"'


def spaced(folder):
    """The same suites in a folder whose name a shell would take apart; every point fails; one name begins as
    another does."""
    folder.points = ("one", "one-more")
    folder.__post_init__()
    folder.edit("bench/tiny.yaml", '"<= 60s"', HARD)
    (folder.root / "bench").rename(folder.root / "my 'bench'")
    return folder


def test_the_rerun_command_runs_only_that_point(folder, workers, tmp_path):
    spaced(folder)
    ran = folder.run("my 'bench'", workers, "--endpoint", folder.endpoint, "--load-seed=7")
    ran.require(1, "fail", **{"one": "fail", "one-more": "fail"})
    first, second = re.findall(r"again: (.*?)<", ran.junit_text)
    assert f"again: {first}\n" in ran.output
    assert f"again: {second}\n" in ran.output
    folder.endpoint = ""  # from here on only the command knows it
    done = subprocess.run(
        f"{first} --results again",
        shell=True,
        cwd=folder.root,
        env=folder.environment() | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    result = folder.read(done.returncode, done.stdout + done.stderr, tmp_path / "again")
    result.require(1, "fail", one="fail")
    assert result.verdict["coverage"]["left_out"] == ["tiny/perf/one-more"]
    assert "--load-seed=7" in result.verdict["invocation"]["command_line"]


def test_terminal_and_junit_state_measured_value_requirement_origin_and_evidence(folder, workers):
    folder.edit("bench/tiny.yaml", '"<= 60s"', HARD)
    ran = folder.run(workers, "-k", "one")
    ran.require(1, "fail", one="fail")
    for text in (ran.output, unescape(ran.junit_text)):
        assert re.search(
            r"request_latency\.p99 is [\d.]+ [mu]?s( ± \S+ \w+)?, required >= 1h \(bench/tiny\.yaml:\d+:\d+\)",
            text,
        )
        assert "declared at bench/tiny.yaml:13:3" in text
        assert f"evidence: {ran.results}/points/tiny/perf/one" in text
        assert "again: pytest bench -k tiny/perf/one" in text
    shown = dict(re.findall(r'<property name="([^"]*)" value="([^"]*)"', ran.junit_text))
    digest = hashlib.sha256((ran.results / "points/tiny/perf/one/evidence.json").read_bytes()).hexdigest()
    assert (shown["outcome"], shown["evidence"]) == ("fail", "points/tiny/perf/one")
    assert shown["evidence_sha256"] == digest == ran.verdict["points"][0]["evidence_digest"]
    assert shown["bound request_latency.p99"].startswith("not-met: request_latency.p99 is ")
    assert shown["request_throughput"].endswith(" requests/s")
    for metric in ("time_to_first_token.p99", "time_per_output_token.p50", "inter_token_latency.p99"):
        assert (f"{metric} uncertainty" in shown) == (metric in shown)
    assert shown["vacancy"].endswith("%")
    (line,) = [line for line in ran.output.splitlines() if line.startswith("FAILED ")]
    assert line.count("tiny/perf/one") == 1, "the name once, then the reason"
    assert " - fail: request_latency.p99 is " in line


@pytest.mark.parametrize("name", ["ci.xml", "deep/er/ci.xml"])
def test_the_last_line_names_the_junit_file_that_was_asked_for(folder, name):
    ran = folder.run("-n0", "-k", "one", f"--junitxml={name}")
    assert f"evidence: results-1 (verdict.json and {name} say the same)" in ran.output
    assert not (ran.results / "junit.xml").exists()


def test_an_error_that_two_points_share_is_shown_once_on_the_terminal_and_in_full_in_junit(folder):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # and does not listen
        folder.endpoint = f"http://127.0.0.1:{holder.getsockname()[1]}"
        ran = folder.run("-n0", "--ready-timeout=0")
    ran.require(1, "error", one="error", two="error")
    assert ran.output.count("nothing listens there") == 3, "once among the errors, once in each summary"
    assert "the same as for tiny/perf/one, above" in ran.output
    assert all("nothing listens there" in case for case in ran.junit_text.split("<testcase ")[1:])
    assert "tiny/perf/one, tiny/perf/two: error: " in ran.output
