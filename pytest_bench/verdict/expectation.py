"""The expectation: the points that must have run, from a source that is independent of the run.

    {"version": 1, "plan_digest": "…", "points": {"chat/perf/steady/c0001": "…", …}}

`pytest-bench plan` writes it. An expectation written by hand may be shorter: `points` may be a list of ids, a digest
may be null, and `plan_digest` may be omitted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.files import digest, read_json
from pytest_bench.verdict.events import Expectation

EXPECTATION_VERSION = 1

_ID = re.compile(r"[a-z0-9][a-z0-9-]*/(?:perf|audit|eval)/[^\s\x00-\x1f]+")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def expectation_json(points: Mapping[str, str | None], plan_digest: str | None) -> dict[str, Any]:
    """Return the content of an expectation file."""
    return {"version": EXPECTATION_VERSION, "plan_digest": plan_digest, "points": dict(points)}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of an expectation."""
    name = {"type": "string", "pattern": f"^{_ID.pattern}$"}
    digest_or_null = {"type": ["string", "null"], "pattern": f"^{_DIGEST.pattern}$"}
    return {
        "title": "Expectation",
        "description": "The points that must have run.",
        "type": "object",
        "additionalProperties": False,
        "required": ["points"],
        "properties": {
            "version": {"const": EXPECTATION_VERSION},
            "plan_digest": digest_or_null,
            "points": {
                "anyOf": [
                    {
                        "type": "object",
                        "minProperties": 1,
                        "propertyNames": name,
                        "additionalProperties": digest_or_null,
                    },
                    {"type": "array", "minItems": 1, "uniqueItems": True, "items": name},
                ]
            },
        },
    }


def read_expectation(path: Path) -> Expectation:
    """Read an expectation file. Raises `UsageError` naming the file and the field."""
    try:
        raw = read_json(path)
    except EvidenceError as error:
        raise UsageError(f"expectation {error}") from error
    problems = _problems(raw)
    if problems:
        raise UsageError("\n".join(f"expectation {path}: {problem}" for problem in problems))
    points = raw["points"]
    return Expectation(
        points=dict.fromkeys(points) if isinstance(points, list) else points,
        plan_digest=raw.get("plan_digest"),
        digest=digest(raw),
    )


def _problems(raw: object) -> list[str]:
    if not isinstance(raw, dict):
        return ["is not a JSON object; expected an object with `points`, as `pytest-bench plan` writes"]
    problems = [
        f"has an unknown key {key!r}" for key in sorted(raw.keys() - {"version", "plan_digest", "points"})
    ]
    version = raw.get("version", EXPECTATION_VERSION)
    if version != EXPECTATION_VERSION or isinstance(version, bool):
        problems.append(f"version is {version!r}; expected {EXPECTATION_VERSION}")
    if raw.get("plan_digest") is not None and not _is_digest(raw["plan_digest"]):
        problems.append(f"plan_digest is {raw['plan_digest']!r}; expected 64 hexadecimal digits, or null")
    return problems + _point_problems(raw.get("points"))


def _point_problems(points: object) -> list[str]:
    if not isinstance(points, dict | list) or not points:
        return ["points is missing or empty; expected at least one point"]
    problems = [
        f"points: {name!r} is not a point id; expected one like 'chat/perf/steady'"
        for name in points
        if not _is_id(name)
    ]
    if isinstance(points, list):
        named = Counter(name for name in points if isinstance(name, str))
        problems += [
            f"points: {name!r} is listed {times} times" for name, times in named.items() if times > 1
        ]
    else:
        problems += [
            f"points.{name} is {value!r}; expected the point's digest (64 hexadecimal digits), or null"
            for name, value in points.items()
            if value is not None and not _is_digest(value)
        ]
    return problems


def _is_id(name: object) -> bool:
    return isinstance(name, str) and _ID.fullmatch(name) is not None


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None
