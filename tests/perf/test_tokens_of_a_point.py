"""Token metrics of a point, end to end: counted after its phase, behind it, and again from the logs."""

import json
import subprocess
import sys

import pytest
from byte_level import train
from tokenizers import Tokenizer, models, pre_tokenizers

from pytest_bench.cli import main

SUITE = """
suite: counted
deployment:
  api: openai-completions
  model: simulated
  generation: {{max_tokens: 12}}
  tokens: {{tokenizer: {tokenizer}, live_workers: {live}}}
  simulator: {{ttft_ms: 5, itl_ms: 2}}
datasets:
  made: {{synthetic: {{rows: 40, input_tokens: 30, output_tokens: 12}}}}
perf:
  point:
    dataset: made
    load: {{pattern: concurrency, concurrency: 4, requests: 24}}
    budget: {{vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1.0, achieved_share: 0.01}}
    texts: {texts}
    bounds: {{"output_tokens.min": ">= 1", "input_tokens.max": "== 30"}}
"""

TEST = """
import pytest

@pytest.mark.points("perf")
def test_perf(run_load):
    run_load().require()
"""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """Byte-level BPE without any merge to speak of: every text has a length, and none is a surprise."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train().save(str(path))
    return path


def run_session(home):
    command = [sys.executable, "-m", "pytest", "suites", "--endpoint=simulator", "--results=results"]
    return subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def session(tmp_path_factory, tokenizer):
    """Run the suite; the results folder."""

    def run(*, live=0, texts="keep"):
        home = tmp_path_factory.mktemp("session")
        folder = home / "suites"
        folder.mkdir()
        folder.joinpath("counted.yaml").write_text(SUITE.format(tokenizer=tokenizer, live=live, texts=texts))
        folder.joinpath("test_perf.py").write_text(TEST)
        done = run_session(home)
        assert done.returncode == 0, done.stdout
        return home / "results"

    return run


@pytest.fixture(scope="module")
def results(session):
    """One session, counted after its phase, texts kept."""
    return session()


def summary_of(folder):
    return json.loads((folder / "counted/perf/point/summary.json").read_text())


def recounted(results, *arguments):
    """The status of counting again, and the folder that came of it."""
    before = set((results / "recounts").glob("*"))
    status = main(["recount", str(results), *arguments])
    (again,) = set((results / "recounts").iterdir()) - before
    return status, again


def test_tokens_are_counted_after_the_phase(results):
    summary = summary_of(results / "points")
    metrics = summary["measurement"]["metrics"]
    assert metrics["input_tokens"]["statistics"]["max"] == 30
    assert metrics["output_tokens"]["count"] == 24
    assert metrics["output_token_throughput"]["value"] > 0
    evidence = summary["tokenizer"]
    assert (evidence["backend"], evidence["outcome"], evidence["counted"]) == ("fastokens", "complete", 24)
    assert evidence["verified"] >= 20
    assert evidence["verify_elapsed_ns"] > 0


def test_a_live_lane_changes_no_count(session):
    results = session(live=1)
    tokens = (results / "points/counted/perf/point/phases/measured/tokens.jsonl").read_text().splitlines()
    end = json.loads(tokens[-1])
    assert (end["counted"], end["pending"]) == (24, 0)


def test_recounting_gives_the_same_and_leaves_the_evidence_as_it_was(results, capsys):
    evidence = (results / "points/counted/perf/point/evidence.json").read_bytes()
    status, again = recounted(results)
    assert status == 0
    assert "outcome: pass (before: pass)" in capsys.readouterr().out
    before, after = summary_of(results / "points"), summary_of(again)
    assert after["measurement"]["metrics"] == before["measurement"]["metrics"]
    assert (results / "points/counted/perf/point/evidence.json").read_bytes() == evidence


@pytest.mark.parametrize(("source", "status"), [("usage", 1), ("tokenizer", 0)])
def test_recounting_takes_tokens_from_the_source_that_count_names(results, source, status):
    """By usage the point fails, because the simulator counts words and the suite wants prompts of 30 tokens."""
    by_tokenizer = summary_of(results / "points")["measurement"]["metrics"]["output_tokens"]["statistics"]
    by_usage = 12  # the suite's max_tokens
    assert by_tokenizer["mean"] > by_usage
    ended, again = recounted(results, "--count", source)
    measurement = summary_of(again)["measurement"]
    assert ended == status
    assert (measurement["token_source"]["output"], measurement["token_source"]["input"]) == (source, source)
    output_tokens = measurement["metrics"]["output_tokens"]["statistics"]["mean"]
    assert output_tokens == (by_usage if source == "usage" else by_tokenizer["mean"])


def test_another_tokenizer_counts_the_prompts_that_were_made_for_the_first(results, tmp_path):
    letters = Tokenizer(models.BPE({chr(33 + n): n for n in range(94)} | {"Ġ": 94}, []))
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters.save(str(tmp_path / "letters.json"))
    status, again = recounted(results, "--tokenizer", str(tmp_path / "letters.json"))
    assert status == 1  # the suite wants prompts of 30 tokens
    before, after = summary_of(results / "points"), summary_of(again)
    assert after["dataset"] == before["dataset"]
    assert after["measurement"]["metrics"]["input_tokens"]["statistics"]["max"] > 30


def test_a_session_whose_tokenizer_is_missing_is_refused_with_exit_status_4(tmp_path):
    (tmp_path / "suites").mkdir()
    text = SUITE.format(tokenizer="models/gone/tokenizer.json", live=0, texts="keep")
    (tmp_path / "suites/counted.yaml").write_text(text)
    (tmp_path / "suites/test_perf.py").write_text(TEST)
    done = run_session(tmp_path)
    assert done.returncode == 4, done.stdout
    output = done.stdout + done.stderr
    assert "suites/counted.yaml:3:1: tokenizer " in output
    assert str(tmp_path / "suites/models/gone/tokenizer.json") in output
    verdict = json.loads((tmp_path / "results/verdict.json").read_text())
    assert (verdict["status"], verdict["refused"]) == ("error", True)
    assert not (tmp_path / "results/points").exists()


def test_texts_that_are_dropped_are_gone_once_they_are_counted(session, capsys):
    results = session(texts="drop")
    phase = results / "points/counted/perf/point/phases/measured"
    assert list(phase.glob("texts.*")) == []
    assert (phase / "tokens.jsonl").exists()
    assert main(["recount", str(results)]) == 1
    assert "holds no text log" in capsys.readouterr().err
