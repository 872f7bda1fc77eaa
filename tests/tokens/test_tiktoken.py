from __future__ import annotations

import base64
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.errors import TokensError
from pytest_bench.tokens.tiktoken import ENCODINGS, load_tiktoken

PIECES = [bytes([byte]) for byte in range(256)] + [
    b"he",
    b"ll",
    b"hell",
    b"hello",
    b" w",
    b"or",
    b" wor",
    b"ld",
]
TOY = {len(PIECES): ("toy", ENCODINGS[100256][1])}


def ranks_file(folder, pieces=PIECES):
    path = folder / "toy.tiktoken"
    lines = [base64.b64encode(piece).decode() + f" {rank}" for rank, piece in enumerate(pieces)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return load_tiktoken(ranks_file(tmp_path_factory.mktemp("toy")), TOY)


def by_rank(piece):
    """Tiktoken's own algorithm: merge the pair whose union has the lowest rank, until there is none."""
    ranks = {token: rank for rank, token in enumerate(PIECES)}
    parts = [bytes([byte]) for byte in piece]
    while True:
        pairs = [
            (ranks[a + b], place) for place, (a, b) in enumerate(itertools.pairwise(parts)) if a + b in ranks
        ]
        if not pairs:
            return [ranks[part] for part in parts]
        place = min(pairs)[1]
        parts[place : place + 2] = [parts[place] + parts[place + 1]]


def test_ids_are_ranks_and_the_longest_merge_wins(toy):
    assert [PIECES[rank] for rank in toy.encode("hello world").ids] == [b"hello", b" wor", b"ld"]


@given(st.text("helowrd", max_size=30))
def test_merging_follows_tiktokens_algorithm(toy, word):
    assert toy.encode(word).ids == by_rank(word.encode())


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_text_survives_encoding_and_decoding(toy, text):
    assert toy.decode(toy.encode(text).ids, skip_special_tokens=False) == text


def test_an_encoding_that_is_not_known_is_refused(tmp_path):
    with pytest.raises(TokensError, match=r"264 ranks belong to no known encoding.*cl100k_base \(100256\)"):
        load_tiktoken(ranks_file(tmp_path))


def test_a_file_that_holds_no_ranks_is_refused_with_its_line(tmp_path):
    path = tmp_path / "broken.tiktoken"
    path.write_text("IQ== 0\nnot base64!\n")
    with pytest.raises(TokensError, match=r"broken\.tiktoken:2: neither"):
        load_tiktoken(path)
    path.write_text("")
    with pytest.raises(TokensError, match="is empty"):
        load_tiktoken(path)
