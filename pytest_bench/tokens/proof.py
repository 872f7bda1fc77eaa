"""Whether the fast back end counts as the authority does.

At warm-up both encode a probe set and must give the same ids; after a phase a random sample of its texts is
counted again. Where they differ, the message shows the text and the place.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from pytest_bench.errors import TokensError
from pytest_bench.tokens.backends import Backend, TokenizersBackend, load_authority, load_fast
from pytest_bench.tokens.messages import Load
from pytest_bench.tokens.probes import excerpt, probe_set


class Prepared(msgspec.Struct, frozen=True):
    """A tokenizer as a pool worker holds it."""

    authority: TokenizersBackend
    backend: Backend
    """What counts; the authority itself where the fast one was not wanted or not equal."""
    reason: str
    probes: int


def prepare(task: Load) -> Prepared:
    """Load a tokenizer and choose its back end. Raises `TokensError`.

    `auto` takes `fastokens` where it loads the tokenizer and agrees on every probe. A back end that was
    asked for by name is used or refused.
    """
    authority = load_authority(Path(task.file), task.format)
    if task.backend == "tokenizers":
        return Prepared(authority, authority, "asked for", 0)
    probes = probe_set(authority.added_tokens, task.texts)
    try:
        fast = _equal_fast(authority, probes)
    except TokensError as error:
        if task.backend == "fastokens":
            raise
        return Prepared(authority, authority, str(error), len(probes))
    reason = "asked for" if task.backend == "fastokens" else "equal to `tokenizers` on the probe set"
    return Prepared(authority, fast, reason, len(probes))


def _equal_fast(authority: TokenizersBackend, probes: list[str]) -> Backend:
    fast = load_fast(authority)
    disagreements = compare(probes, authority, fast)
    if disagreements:
        raise TokensError(
            f"`fastokens` and `tokenizers` disagree on {len(disagreements)} of {len(probes)} probes: {disagreements[0]}"
        )
    return fast


def compare(texts: list[str], authority: TokenizersBackend, other: Backend) -> list[str]:
    """A description of every text that `other` encodes differently from `authority`. Raises `TokensError`."""
    try:
        theirs = other.encode(texts)
    except BaseException as error:  # a panic of native code derives from it
        raise TokensError(f"`{other.name}` fails on the probe set: {error}") from error
    return [
        describe_difference(text, ours, found, authority)
        for text, ours, found in zip(texts, authority.encode(texts), theirs, strict=True)
        if ours != found
    ]


def describe_difference(
    text: str, authority_ids: list[int], other_ids: list[int], authority: TokenizersBackend
) -> str:
    """Both counts, the place where the ids part, and the text."""
    pairs = zip(authority_ids, other_ids, strict=False)
    same = next((place for place, (ours, theirs) in enumerate(pairs) if ours != theirs), len(authority_ids))
    before = len(authority.decode(authority_ids[:same]))
    around = text[max(0, before - 40) : before + 80]
    return (
        f"{len(authority_ids)} tokens by `tokenizers`, {len(other_ids)} by `fastokens`, which part near {around!r} "
        f"of the text {excerpt(text)}"
    )
