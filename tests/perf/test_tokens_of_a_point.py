"""Token metrics of a point, end to end: counted after its phase, behind it, and again from the logs."""

import json
import subprocess
import sys

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

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
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words = ["the model answers in words of several lengths"] * 20
    trained.train_from_iterator(words, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))
    trained.save(str(path))
    return path


@pytest.fixture
def session(tmp_path, tokenizer):
    """Run the suite; the results folder."""

    def run(*, live=0, texts="keep"):
        folder = tmp_path / "suites"
        folder.mkdir()
        folder.joinpath("counted.yaml").write_text(SUITE.format(tokenizer=tokenizer, live=live, texts=texts))
        folder.joinpath("test_perf.py").write_text(TEST)
        command = [sys.executable, "-m", "pytest", "suites", "--endpoint=simulator", "--results=results"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        return tmp_path / "results"

    return run


def summary_of(folder):
    return json.loads((folder / "counted/perf/point/summary.json").read_text())


def test_tokens_are_counted_after_the_phase(session):
    metrics = summary_of(session() / "points")["measurement"]["metrics"]
    assert metrics["input_tokens"]["statistics"]["max"] == 30
    assert metrics["output_tokens"]["count"] == 24
    assert metrics["output_token_throughput"]["value"] > 0


def test_a_live_lane_changes_no_count(session):
    results = session(live=1)
    tokens = (results / "points/counted/perf/point/phases/measured/tokens.jsonl").read_text().splitlines()
    end = json.loads(tokens[-1])
    assert (end["counted"], end["pending"]) == (24, 0)


def test_recounting_gives_the_same_and_leaves_the_evidence_as_it_was(session, capsys):
    results = session()
    evidence = (results / "points/counted/perf/point/evidence.json").read_bytes()
    assert main(["recount", str(results)]) == 0
    assert "outcome: pass (before: pass)" in capsys.readouterr().out
    (again,) = (results / "recounts").iterdir()
    before, after = summary_of(results / "points"), summary_of(again)
    assert after["measurement"]["metrics"] == before["measurement"]["metrics"]
    assert (results / "points/counted/perf/point/evidence.json").read_bytes() == evidence


def test_texts_that_are_dropped_are_gone_once_they_are_counted(session, capsys):
    results = session(texts="drop")
    phase = results / "points/counted/perf/point/phases/measured"
    assert list(phase.glob("texts.*")) == []
    assert (phase / "tokens.jsonl").exists()
    assert main(["recount", str(results)]) == 1
    assert "holds no text log" in capsys.readouterr().err
