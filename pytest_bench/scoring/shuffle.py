"""Choices of a multiple-choice item in an order of its own, the same on every machine and in every release."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def shuffled_choices(seed: int, item_id: str, choices: Sequence[str], answer: int) -> tuple[list[str], int]:
    """`choices` in the order of sha256(seed, id, position), and the new index of the right one.

    The order reproduces neither lm-eval's shuffle nor InferenceX's, which depend on the order of items.
    """

    def rank(position: int) -> bytes:
        return hashlib.sha256(f"{seed}\0{item_id}\0{position}".encode(errors="surrogatepass")).digest()

    order = sorted(range(len(choices)), key=rank)
    return [choices[position] for position in order], order.index(answer)
