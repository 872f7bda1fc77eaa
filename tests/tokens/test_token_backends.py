from __future__ import annotations

import pytest

from pytest_bench.errors import TokensError
from pytest_bench.tokens import proof
from pytest_bench.tokens.backends import load_fast, load_reference
from pytest_bench.tokens.messages import Load
from pytest_bench.tokens.probes import probe_set, sample_prompts


@pytest.fixture(scope="module")
def loaded(bpe_folder):
    return load_reference(bpe_folder / "tokenizer.json", "json")


@pytest.fixture
def load_task(bpe_folder):
    def make(backend, *prompts):
        return Load(
            key="k", file=str(bpe_folder / "tokenizer.json"), format="json", backend=backend, texts=[*prompts]
        )

    return make


class Inflating:
    """Adds a token to every text that speaks of foxes."""

    name = "fastokens"

    def __init__(self, authority):
        self._authority = authority

    def encode(self, texts):
        extra = [[0] if "fox" in text else [] for text in texts]
        return [ids + more for ids, more in zip(self._authority.encode(texts), extra, strict=True)]

    def count(self, texts):
        return [len(ids) for ids in self.encode(texts)]


class Panicking(Inflating):
    def encode(self, texts):
        raise BaseException("index out of bounds")  # noqa: TRY002 # as a panic of native code arrives


def test_both_back_ends_give_the_same_ids_and_counts(loaded, texts):
    fast = load_fast(loaded)
    probes = [*texts, *probe_set(loaded.added_tokens, [])]
    assert fast.encode(probes) == loaded.encode(probes)
    assert fast.count(probes) == loaded.count(probes) == [len(ids) for ids in loaded.encode(probes)]


def test_back_ends_ignore_truncation_and_padding_in_the_file(loaded, bpe_folder):
    assert '"truncation":{' in (bpe_folder / "tokenizer.json").read_text().replace(" ", "").replace("\n", "")
    for backend in (loaded, load_fast(loaded)):
        assert backend.count(["fox " * 50, ""])[0] > 50
        assert backend.count([""]) == [0]


def test_the_probe_set_contains_texts_on_which_tokenizers_differ(loaded):
    probes = probe_set(loaded.added_tokens, ["a prompt of this session"])
    assert {
        "",
        "<|end|>",
        "a<think>b",
        " " * 1000,
        "a\ufffdb\ufffd\ufffd",
        "a prompt of this session",
    } <= set(probes)
    assert any("\x00\x01" in probe for probe in probes)
    assert any("👩‍👩‍👧‍👦" in probe for probe in probes)


def test_a_sample_of_the_prompts_is_bounded():
    sampled = sample_prompts([str(number) + "x" * 100_000 for number in range(1000)])
    assert len(sampled) <= 64
    assert max(map(len, sampled)) <= 20_000
    assert sample_prompts(["a", "b"]) == ["a", "b"]


def test_auto_uses_the_fast_back_end_if_its_ids_are_equal(load_task):
    prepared = proof.prepare(load_task("auto"))
    assert prepared.backend.name == "fastokens"
    assert prepared.probes > 200


def test_auto_uses_the_reference_if_the_fast_back_end_differs_and_gives_the_reason(load_task, monkeypatch):
    monkeypatch.setattr(proof, "load_fast", Inflating)
    prepared = proof.prepare(load_task("auto"))
    assert prepared.backend is prepared.reference
    assert "disagree" in prepared.reason


def test_auto_uses_the_reference_if_the_fast_back_end_panics(load_task, monkeypatch):
    monkeypatch.setattr(proof, "load_fast", Panicking)
    assert "index out of bounds" in proof.prepare(load_task("auto")).reason


def test_a_named_back_end_that_differs_is_refused_with_the_text(load_task, monkeypatch):
    monkeypatch.setattr(proof, "load_fast", Inflating)
    with pytest.raises(TokensError, match=r"disagree on \d+ of \d+ probes: .*The quick brown fox"):
        proof.prepare(load_task("fastokens"))


def test_the_sessions_own_prompts_are_probes(load_task, monkeypatch):
    class OnlyPrompts(Inflating):
        def encode(self, texts):
            return [
                ids + [0] * ("SECRET" in text)
                for ids, text in zip(self._authority.encode(texts), texts, strict=True)
            ]

    monkeypatch.setattr(proof, "load_fast", OnlyPrompts)
    assert proof.prepare(load_task("auto")).backend.name == "fastokens"
    assert proof.prepare(load_task("auto", "SECRET words")).backend.name == "tokenizers"


def test_a_difference_shows_both_counts_and_the_place(loaded):
    text = "The lazy dog sleeps. " * 3 + "HERE it parts"
    ids = loaded.encode([text])[0]
    told = proof.describe_difference(text, ids, [*ids[:-4], 0], loaded)
    assert f"{len(ids)} tokens by `tokenizers`, {len(ids) - 3} by `fastokens`" in told
    assert "parts" in told


def test_a_broken_tokenizer_file_is_refused_by_name(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"model": 1}')
    with pytest.raises(TokensError, match=r"tokenizer\.json: `tokenizers` cannot load it"):
        load_reference(tmp_path / "tokenizer.json", "json")
