from __future__ import annotations

import shutil

import pytest

from benchmarks import tokens
from benchmarks.figures import Table
from pytest_bench.errors import BenchError
from pytest_bench.tokens.source import resolve


@pytest.fixture
def small(monkeypatch, tmp_path, bpe_folder):
    """The benchmark with little text and the tokenizer trained here."""
    monkeypatch.setattr(tokens, "SHAPES", {"long": (5, 2000), "short": (50, 100)})
    monkeypatch.setattr(tokens, "HOME", tmp_path)
    monkeypatch.setattr(tokens, "SMALLEST_PHASE", 20)
    monkeypatch.setattr(tokens.Corpus, "FILES", "json/*.py")
    shutil.copy(bpe_folder / "tokenizer.json", tmp_path)


def test_every_benchmark_reports_its_figures(small):
    table = Table()
    tokens.measure(table, repeats=1, scale=200, works=["long", "short", "phase"])
    names = {(figure.work, figure.name) for figure in table.figures}
    assert {("long", "fastokens: pool / library"), ("short", "fastokens: pool / two threads")} <= names
    assert {("phase", "20 requests"), ("phase", "200 requests: peak memory")} <= names
    assert all(
        value > 0 for figure in table.figures for value in figure.values if "pending" not in figure.name
    )


def test_different_counts_stop_the_benchmark(small, pool, bpe_folder, tmp_path):
    libraries = tokens.Libraries(tmp_path / "tokenizer.json")
    libraries.two_threads = lambda texts: [0] * len(texts)
    tokenizer = pool.load(resolve(str(bpe_folder)))
    with pytest.raises(BenchError, match=r"long: .* counts differently"):
        tokens.batches(Table(), "long", libraries, tokenizer, tokenizer, 1)
