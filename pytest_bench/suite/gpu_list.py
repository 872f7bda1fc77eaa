"""Lists of GPUs, as Slurm and Docker write them.

>>> expanded("0-2,5")
['0', '1', '2', '5']
"""

from __future__ import annotations

import re

_RANGE = re.compile(r"([0-9]+)-([0-9]+)")


def expanded(text: str) -> list[str]:
    """The items of a list. A range becomes its numbers; other words, such as UUIDs, stay as they are."""
    found: list[str] = []
    for word in text.split(","):
        if bounds := _RANGE.fullmatch(word.strip()):
            found += map(str, range(int(bounds[1]), int(bounds[2]) + 1))
        elif word.strip():
            found.append(word.strip())
    return found
