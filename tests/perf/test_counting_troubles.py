"""Sessions whose counting goes wrong: what they say, what they keep, and what counting again makes of them."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from byte_level import train

from pytest_bench.cli import main
from pytest_bench.tokens.counts import read_outcome

SUITE = """
suite: {name}
deployment:
  api: openai-completions
  model: simulated
  generation: {{max_tokens: 12}}
  tokens: {{tokenizer: {tokenizer}, counting_timeout_s: {timeout}}}
  simulator: {{ttft_ms: 5, itl_ms: 2}}
datasets:
  written: {{path: prompts.jsonl}}
perf:
  point:
    dataset: written
    load: {{pattern: concurrency, concurrency: 4, requests: 24}}
    texts: {texts}
    budget: {{vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1.0, achieved_share: 0.01}}
    bounds: {{"request_latency.p50": "< 10s"}}
"""

TEST = """
import pytest

@pytest.mark.points("perf")
def test_perf(run_load):
    run_load().require()
"""

CONFTEST = """
import sys
from pytest_bench.tokens.pool import TokenizerPool

TokenizerPool.__init__.__kwdefaults__["command"] = (sys.executable, "-P", {worker!r})
"""

WORKER = """
import time
import msgspec
from pytest_bench.tokens.proof import prepare
from pytest_bench.tokens.worker import main

class Troubled:
    def __init__(self, backend, trouble):
        self.name, self.encode = backend.name, backend.encode
        self.inner, self.trouble = backend, trouble

    def count(self, texts):
        if self.trouble == "slow":
            time.sleep(600)
        wrong = self.trouble == "wrong"
        return [count + wrong for count in self.inner.count(texts)]

def prepare_tokenizer(task):
    prepared = prepare(task)
    trouble = task.file.rpartition("/")[2].removesuffix(".json")
    return msgspec.structs.replace(prepared, backend=Troubled(prepared.backend, trouble))

main(prepare_tokenizer)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Suites whose tokenizer is slow, or counts wrong, or is none at all; `sound.json` is a sound one."""
    folder = tmp_path_factory.mktemp("troubles")
    trained = train()
    (folder / "prompts.jsonl").write_text(
        "".join(f'{{"prompt": "say something of {n}"}}\n' for n in range(40))
    )
    for indent, name in enumerate(("sound", "slow", "wrong")):
        (folder / f"{name}.json").write_text(json.dumps(json.loads(trained.to_str()), indent=indent))
    (folder / "broken.json").write_text('{"model": {}}')
    (folder / "worker.py").write_text(WORKER)
    (folder / "conftest.py").write_text(CONFTEST.format(worker=str(folder / "worker.py")))
    (folder / "test_perf.py").write_text(TEST)
    for name, tokenizer, timeout, texts in (
        ("late", "slow", 0.5, "keep"),
        ("late-dropped", "slow", 0.5, "drop"),
        ("wrong", "wrong", 0, "keep"),
        ("broken", "broken", 0, "keep"),
        ("stuck", "slow", 0, "keep"),
    ):
        path = folder / f"{name}.yaml"
        tokenizer_file = folder / f"{tokenizer}.json"
        path.write_text(SUITE.format(name=name, tokenizer=tokenizer_file, timeout=timeout, texts=texts))
    return folder


def command(results, suites):
    return [sys.executable, "-m", "pytest", ".", "--endpoint=simulator", f"--results={results}", "-k", suites]


@pytest.fixture(scope="module")
def results(folder):
    """One session over the suites that come to an end."""
    done = subprocess.run(
        command("results", "late or wrong or broken"), cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout
    return folder / "results", done.stdout


def point_of(results, suite):
    return results / f"points/{suite}/perf/point"


def summary_of(results, suite):
    return json.loads((point_of(results, suite) / "summary.json").read_text())


def test_counting_that_is_late_is_an_error_with_null_tokens_and_every_other_metric(results):
    summary = summary_of(results[0], "late")
    metrics = summary["measurement"]["metrics"]
    assert summary["judgement"]["outcome"] == "error"
    assert "counting tokens ended timeout: 0 requests counted, 24 pending" in results[1]
    assert "value" not in metrics["output_token_throughput"]
    assert metrics["output_token_throughput"]["reason"] == "counting did not finish"
    assert metrics["request_latency"]["count"] == 24
    assert summary["tokenizer"]["outcome"] == "timeout"
    assert summary["tokenizer"]["elapsed_ns"] >= 0.5e9


def test_texts_that_are_not_kept_are_removed_and_no_recount_is_advised(results):
    summary = summary_of(results[0], "late-dropped")
    (reason,) = [r for r in summary["judgement"]["reasons"] if r["code"] == "counting-timeout"]
    assert "`texts: drop` leaves nothing to count again: measure again" in reason["sentence"]
    assert "recount" not in reason["sentence"]
    assert list(point_of(results[0], "late-dropped").glob("phases/*/texts.*")) == []


def test_counts_that_the_reference_does_not_confirm_are_an_error_that_shows_the_text(results):
    summary = summary_of(results[0], "wrong")
    assert summary["judgement"]["outcome"] == "error"
    (reason,) = [r for r in summary["judgement"]["reasons"] if r["code"] == "counting-failed"]
    assert "count differently" in reason["sentence"]
    assert "of the text '" in reason["sentence"]
    assert "value" not in summary["measurement"]["metrics"]["output_token_throughput"]


def test_a_tokenizer_that_cannot_be_loaded_is_an_error_before_any_request(results):
    assert "broken.json" in results[1]
    assert "`tokenizers` cannot load it" in results[1]
    assert list(point_of(results[0], "broken").glob("phases/*")) == []


@pytest.mark.parametrize("suite", ["late", "wrong"])
def test_a_session_whose_counting_failed_is_counted_again_from_its_logs(results, folder, capsys, suite):
    arguments = ["recount", str(results[0]), "--point", f"{suite}/perf/point", "--tokenizer"]
    assert main([*arguments, str(folder / "sound.json")]) == 0
    assert "outcome: pass (before: error)" in capsys.readouterr().out


def children(pid):
    """Processes of whose line `pid` is, youngest last."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            found += [int(stat.parent.name), *children(int(stat.parent.name))]
    return found


def test_a_session_that_is_ended_while_it_counts_leaves_nothing_running_and_can_be_counted_again(
    folder, capsys
):
    session = subprocess.Popen(
        command("ended", "stuck"), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    log = point_of(folder / "ended", "stuck") / "phases/measured/tokens.jsonl"
    limit = time.monotonic() + 300
    while not log.exists():
        assert time.monotonic() < limit, "counting did not begin"
        assert session.poll() is None, session.stdout.read()
        time.sleep(0.02)
    started = children(session.pid)
    assert started
    session.send_signal(signal.SIGTERM)
    said, _ = session.communicate(timeout=120)
    assert session.returncode == 2, said
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)
    assert read_outcome(log) == "interrupted"
    verdict = json.loads((folder / "ended/verdict.json").read_text())
    assert verdict["status"] != "pass"
    assert main(["recount", str(folder / "ended"), "--tokenizer", str(folder / "sound.json")]) == 0
    assert "outcome: pass (before: error)" in capsys.readouterr().out
