"""What was asked for, by another road than the folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.files import read_json

_CONC = re.compile(r"[1-9][0-9]{0,8}")
_EVAL_POINT = re.compile(r"[^/]+/eval/(?P<eval>.+)/c(?P<conc>[0-9]+)")
_KEYS = frozenset({"version", "concs", "model", "limit"})


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What an eval was asked for."""

    concs: tuple[int, ...]
    """Distinct, at least one."""
    model: str | None = None
    """Name of the served model; None: as `model` in the metadata."""
    limit: int | None = None
    """Items to which the eval was limited on purpose."""
    not_before_s: float | None = None
    """Results from before this moment (seconds since the epoch) are somebody else's."""


def parse_concs(text: str) -> tuple[int, ...]:
    """Read "1 2 4". Raises `UsageError` for anything but distinct positive integers, and for none."""
    words = text.split()
    problems = [f"{word[:40]!r} is no concurrency" for word in words if not _CONC.fullmatch(word)]
    problems += [f"{word[:40]!r} stands twice" for word in sorted({w for w in words if words.count(w) > 1})]
    if not words:
        problems.append("is empty")
    if problems:
        raise UsageError(
            f"--expected-concs {text[:80]!r}: {'; '.join(problems)}; expected distinct positive integers as in '1 2 4'"
        )
    return tuple(map(int, words))


def read_expected(path: Path) -> Expected:
    """Read a file of `{"concs": [1, 2, 4], "model": …, "limit": …}`, or the expectation of a plan whose points
    are one eval at several concurrencies. Raises `UsageError` naming the file and the field.
    """
    try:
        raw = read_json(path)
    except EvidenceError as error:
        raise UsageError(f"expectation {error}") from error
    if isinstance(raw, dict) and "points" in raw:
        return Expected(concs=_concs_of_points(path, raw["points"]))
    problems = list(_problems(raw))
    if problems:
        raise UsageError("\n".join(f"expectation {path}: {problem}" for problem in problems))
    return Expected(concs=tuple(raw["concs"]), model=raw.get("model"), limit=raw.get("limit"))


def is_conc(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def are_concs(value: object) -> bool:
    """Whether a value is a list of distinct positive integers, possibly empty."""
    return isinstance(value, list) and all(map(is_conc, value)) and len(set(value)) == len(value)


def _problems(raw: Any) -> list[str]:
    if not isinstance(raw, dict):
        return ['is no JSON object; expected {"concs": [1, 2, 4]}']
    problems = [f"has an unknown key {key!r}" for key in sorted(raw.keys() - _KEYS)]
    concs = raw.get("concs")
    if not are_concs(concs) or not concs:
        problems.append("concs is no list of distinct positive integers, or is empty")
    if not isinstance(raw.get("model", ""), str):
        problems.append("model is no text")
    if raw.get("limit") is not None and not is_conc(raw["limit"]):
        problems.append("limit is no positive integer")
    return problems


def _concs_of_points(path: Path, points: object) -> tuple[int, ...]:
    names = [name for name in points if isinstance(name, str)] if isinstance(points, list | dict) else []
    found = [match for name in names if (match := _EVAL_POINT.fullmatch(name))]
    concs = tuple(int(match["conc"][:9]) for match in found)
    one_eval = len({match.string.rpartition("/")[0] for match in found}) == 1
    if (
        not found
        or len(found) != len(names)
        or not one_eval
        or not all(concs)
        or len(set(concs)) < len(concs)
    ):
        raise UsageError(
            f"expectation {path}: points: expected one eval at distinct concurrencies, as in "
            "'suite/eval/gsm8k/c0008', to hold a folder of lm-eval against"
        )
    return concs
