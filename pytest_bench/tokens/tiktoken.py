"""Load tiktoken rank files as tokenizers of the `tokenizers` library.

A rank file holds byte sequences and their ranks, but not the pattern that splits text before merging. The pattern
depends on the encoding, which is identified by the number of ranks: it differs between all published encodings. The
patterns are those of `tiktoken_ext/openai_public.py` and of the models' own tokenizer code.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from pytest_bench.errors import TokensError

_GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN = _CL100K.replace(r"\p{N}{1,3}", r"\p{N}")
_O200K_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + _O200K_SUFFIX + "|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + _O200K_SUFFIX + "|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

ENCODINGS: dict[int, tuple[str, str]] = {
    50256: ("r50k_base", _GPT2),
    50280: ("p50k_base", _GPT2),
    100256: ("cl100k_base", _CL100K),
    128000: ("llama3", _CL100K),
    151643: ("qwen", _QWEN),
    199998: ("o200k_base", _O200K),
}
"""Name and split pattern of each encoding, by its number of ranks."""


def load_tiktoken(path: Path, encodings: dict[int, tuple[str, str]] = ENCODINGS) -> Tokenizer:
    """Load a rank file as a tokenizer without special tokens.

    Raises `TokensError` if the file is not a rank file, or if its number of ranks is not in `encodings`.
    """
    ranks = _read_ranks(path)
    if len(ranks) not in encodings:
        known = ", ".join(f"{name} ({count})" for count, (name, _) in sorted(encodings.items()))
        raise TokensError(
            f"{path}: {len(ranks)} ranks belong to no known encoding ({known}), so its split pattern is unknown. "
            f"Convert it to a tokenizer.json"
        )
    names = {token: _printable(token) for token in ranks}
    vocabulary = {names[token]: rank for token, rank in ranks.items()}
    merges = [(names[left], names[right]) for left, right in _merges(ranks)]
    # Like tiktoken: a piece that is itself a token is not split, even if no sequence of merges produces it.
    tokenizer = Tokenizer(BPE(vocabulary, merges, ignore_merges=True))
    pattern = Regex(encodings[len(ranks)][1])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _read_ranks(path: Path) -> dict[bytes, int]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise TokensError(f"{path}: cannot be read: {error.strerror or error}") from error
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(filter(None, lines), 1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise TokensError(
                f"{path}:{number}: neither a tokenizer.json nor a tiktoken file, whose lines are base64 and a rank"
            ) from error
    if not ranks:
        raise TokensError(f"{path}: is empty")
    return ranks


def _merges(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """Return the pairs that merge into a token, by the rank of that token: the order in which tiktoken merges."""
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        pairs = [
            (token[:cut], token[cut:])
            for cut in range(1, len(token))
            if token[:cut] in ranks and token[cut:] in ranks
        ]
        pairs.sort(key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
        merges.extend(pairs)
    return merges


def _byte_characters() -> dict[int, str]:
    """Map each byte to its character in byte-level vocabularies (`bytes_to_unicode` of GPT-2)."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    characters = {byte: chr(byte) for byte in shown}
    for byte in range(256):
        characters.setdefault(byte, chr(256 + len(characters) - len(shown)))
    return characters


_CHARACTERS = _byte_characters()


def _printable(token: bytes) -> str:
    return "".join(map(_CHARACTERS.__getitem__, token))
