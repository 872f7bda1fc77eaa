"""Verifies that the fast back end gives the same ids as the reference.

When a tokenizer is loaded, both encode a probe set. After a phase, a random sample of its texts is counted again. If
they differ, the message shows the text and the place.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from pytest_bench.errors import TokensError
from pytest_bench.tokens.backends import Backend, TokenizersBackend, load_fast, load_reference
from pytest_bench.tokens.messages import Load
from pytest_bench.tokens.probes import excerpt, probe_set


class Prepared(msgspec.Struct, frozen=True):
    """A tokenizer loaded in a pool worker."""

    reference: TokenizersBackend
    backend: Backend
    """The back end that counts: the reference itself, if the fast one was not requested or not equal."""
    reason: str
    probes: int


def prepare(task: Load) -> Prepared:
    """Load a tokenizer and choose its back end. Raises `TokensError`.

    `auto` selects `fastokens` if it loads the tokenizer and agrees on every probe. A back end that is requested by name
    is used, or its tokenizer is refused.
    """
    reference = load_reference(Path(task.file), task.format)
    if task.backend == "tokenizers":
        return Prepared(reference, reference, "asked for", 0)
    probes = probe_set(reference.added_tokens, task.texts)
    try:
        fast = _equal_fast(reference, probes)
    except TokensError as error:
        if task.backend == "fastokens":
            raise
        return Prepared(reference, reference, str(error), len(probes))
    reason = "asked for" if task.backend == "fastokens" else "equal to `tokenizers` on the probe set"
    return Prepared(reference, fast, reason, len(probes))


def _equal_fast(reference: TokenizersBackend, probes: list[str]) -> Backend:
    fast = load_fast(reference)
    disagreements = compare(probes, reference, fast)
    if disagreements:
        raise TokensError(
            f"`fastokens` and `tokenizers` disagree on {len(disagreements)} of {len(probes)} probes: {disagreements[0]}"
        )
    return fast


def compare(texts: list[str], reference: TokenizersBackend, other: Backend) -> list[str]:
    """Describe every text that `other` encodes differently from the reference. Raises `TokensError`."""
    try:
        theirs = other.encode(texts)
    except BaseException as error:  # a panic of native code derives from it
        raise TokensError(f"`{other.name}` fails on the probe set: {error}") from error
    return [
        describe_difference(text, ours, found, reference)
        for text, ours, found in zip(texts, reference.encode(texts), theirs, strict=True)
        if ours != found
    ]


def describe_difference(
    text: str, reference_ids: list[int], other_ids: list[int], reference: TokenizersBackend
) -> str:
    """Describe a difference: both counts, the place of the first different id, and the text."""
    pairs = zip(reference_ids, other_ids, strict=False)
    same = next((place for place, (ours, theirs) in enumerate(pairs) if ours != theirs), len(reference_ids))
    before = len(reference.decode(reference_ids[:same]))
    around = text[max(0, before - 40) : before + 80]
    return (
        f"{len(reference_ids)} tokens by `tokenizers`, {len(other_ids)} by `fastokens`, which part near {around!r} "
        f"of the text {excerpt(text)}"
    )
