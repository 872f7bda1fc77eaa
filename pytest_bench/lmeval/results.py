"""Result files: which there are, which concurrency each is of, and what each says."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.files import LARGEST_JSON, read_json, read_plain
from pytest_bench.lmeval.expected import Expected, is_conc
from pytest_bench.lmeval.report import Problem, listed, show

_SUFFIX = re.compile(r"_conc([1-9][0-9]{0,8})\.json")
_ASKED_CONC = ("num_concurrent", "max_concurrent", "concurrency")
"""Words for the concurrency among the arguments of lm-eval's model."""


class ResultFile(msgspec.Struct, kw_only=True):
    """One result file that could be read."""

    name: str
    conc: int | None
    """By its suffix, or the one that was asked for; None where it says none that was."""
    content: dict[str, Any]
    sha256: str


def find_results(folder: Path, problems: list[Problem]) -> list[str]:
    """Names of the result files of a folder; what cannot be one becomes a problem."""
    names: list[str] = []
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    except (OSError, ValueError) as error:
        problems.append(Problem(".", "", f"cannot be listed: {getattr(error, 'strerror', None) or error}"))
        return []
    for entry in entries:
        if entry.name.startswith("results") and entry.name.endswith(".json"):
            if entry.is_file(follow_symlinks=False):
                names.append(entry.name)
            else:
                problems.append(Problem(_safe(entry.name), "", "is a link or no plain file"))
    return names


def conc_of(name: str) -> int | None:
    """The concurrency in a file's name; None without the suffix. Raises `ValueError` for a malformed one."""
    if "_conc" not in name.lower():
        return None
    match = _SUFFIX.search(name)
    if match is None or name.lower().count("_conc") > 1:
        raise ValueError("its suffix is malformed: expected `_conc<N>.json`, N without leading zeros")
    return int(match[1])


def check_names(names: list[str], expected: Expected, *, batch: bool) -> Iterator[Problem]:
    """Which files there should be, going by their names alone."""
    concs: list[int] = []
    for name in names:
        try:
            conc = conc_of(name)
        except ValueError as error:
            yield Problem(_safe(name), "", str(error))
            continue
        if conc is None and batch:
            yield Problem(
                _safe(name), "", "has no suffix `_conc<N>`: it does not say which concurrency it is of"
            )
        elif conc is not None and not batch:
            yield Problem(_safe(name), "", "has a suffix `_conc<N>`, although one concurrency was asked for")
        elif conc is not None:
            concs.append(conc)
            if conc not in expected.concs:
                yield Problem(_safe(name), "", f"is of concurrency {conc}, which was not asked for")
    if not batch and len(names) != 1:
        found = ", ".join(map(_safe, names)) or "none"
        yield Problem("results*.json", "", f"{len(names)} result files ({found}); expected exactly one")
    if batch:
        for conc, times in Counter(concs).items():
            if times > 1:
                yield Problem(
                    "results*.json", "", f"{times} result files of concurrency {conc}; expected one"
                )
        if missing := set(expected.concs) - set(concs):
            yield Problem("results*.json", "", f"no result file of concurrency {listed(list(missing))}")


def read_result(folder: Path, name: str, conc: int | None, problems: list[Problem]) -> ResultFile | None:
    path = folder / name
    try:
        content = read_json(path)
        sha256 = hashlib.sha256(read_plain(path, LARGEST_JSON)).hexdigest()
    except (EvidenceError, OSError) as error:
        problems.append(Problem(_safe(name), "", str(error).removeprefix(f"{path}: ")))
        return None
    if not isinstance(content, dict):
        problems.append(Problem(_safe(name), "", f"is {show(content)}; expected an object"))
        return None
    return ResultFile(name=_safe(name), conc=conc, content=content, sha256=sha256)


def check_distinct(files: list[ResultFile]) -> Iterator[Problem]:
    """Two runs never write the same bytes: one of such files is a copy."""
    first: dict[str, ResultFile] = {}
    for file in files:
        if (twin := first.setdefault(file.sha256, file)) is not file:
            yield Problem(file.name, "", f"holds the same bytes as {twin.name}: one is a copy of the other")


def check_origin(file: ResultFile, expected: Expected, model: str | None) -> Iterator[Problem]:
    """What the file's own configuration says of concurrency, model and limit; and when it was made."""
    config = file.content.get("config", {})
    if not isinstance(config, dict):
        yield Problem(file.name, "config", f"is {show(config)}; expected an object")
        return
    arguments = _arguments(config.get("model_args"))
    for word in _ASKED_CONC:
        if word in arguments and not _is_number(arguments[word], file.conc):
            yield Problem(
                file.name,
                f"config.model_args.{word}",
                f"is {show(arguments[word])}; expected {file.conc}: the file is of another concurrency",
            )
    said = {"model_name": file.content.get("model_name"), "config.model_args.model": arguments.get("model")}
    for field, name in said.items():
        if name is not None and model is not None and name != model:
            yield Problem(file.name, field, f"is {show(name)}; expected {show(model)}: another model")
    limit = config.get("limit")
    if limit is not None and (limit != expected.limit or isinstance(limit, bool)):
        declared = "none" if expected.limit is None else str(expected.limit)
        yield Problem(file.name, "config.limit", f"is {show(limit)}; the declared limit is {declared}")
    yield from _age(file, expected)


def _age(file: ResultFile, expected: Expected) -> Iterator[Problem]:
    if expected.not_before_s is None:
        return
    made = file.content.get("date")
    if isinstance(made, bool) or not isinstance(made, int | float):
        yield Problem(file.name, "date", f"is {show(made)}; expected when it was made, in seconds since 1970")
    elif made < expected.not_before_s:
        old_h = (expected.not_before_s - made) / 3600 if made > -(2**62) else float("inf")
        yield Problem(file.name, "date", f"is {old_h:.1f} h too old: it is of an earlier run")


def check_sizes(file: ResultFile, tasks: list[str], limit: int | None) -> Iterator[Problem]:
    """Every task saw all its items, or as many as the declared limit allows."""
    samples = file.content.get("n-samples")
    if not isinstance(samples, dict):
        yield Problem(file.name, "n-samples", f"is {show(samples)}; expected the items of each task")
        return
    for task in tasks:
        counts = samples.get(task)
        field = f"n-samples.{_safe(task)}"
        original, effective = (
            (counts.get("original"), counts.get("effective")) if isinstance(counts, dict) else (None, None)
        )
        if not (is_conc(original) and is_conc(effective)):
            yield Problem(file.name, field, "expected `original` and `effective`, positive integers")
            continue
        wanted = original if limit is None else min(original, limit)
        if effective != wanted:
            yield Problem(
                file.name,
                field,
                f"{show(effective)} of {show(original)} items were evaluated; expected {show(wanted)}"
                + ("" if limit is not None else ", as no limit was declared"),
            )


def _arguments(raw: object) -> dict[str, Any]:
    """The arguments of lm-eval's model, which it writes as `a=1,b=2` or as an object."""
    if isinstance(raw, dict):
        return raw
    if not isinstance(raw, str):
        return {}
    pairs = (part.partition("=") for part in raw.split(","))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _is_number(value: object, wanted: int | None) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | str) and str(value)[:20] == str(wanted)


def _safe(name: str) -> str:
    return name if name.isprintable() else ascii(name)
