"""A session's JUnit file against its verdict: CI systems read the one, people the other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree as ET

from pytest_bench.errors import BenchError, EvidenceError, makes_sense
from pytest_bench.files import read_plain
from pytest_bench.running.junit_case import (
    ELEMENT,
    SESSION_PROPERTIES,
    class_name,
    clean,
    properties,
    session_properties,
)
from pytest_bench.verdict.outcome import Reason
from pytest_bench.verdict.verdict import PointVerdict, Verdict
from pytest_bench.verify.differences import differences

NAME = "junit.xml"

_LARGEST = 64 << 20
_RESULTS = ("failure", "error", "skipped")


def place(results: Path, invocation: Sequence[str]) -> Path | None:
    """Where in `results` a session that was called so left its JUnit file; None: it put it elsewhere."""
    given = _option(invocation, "--junitxml", "--junit-xml")
    if given is None or os.path.lexists(results / NAME):
        return results / NAME
    folder, file = PurePosixPath(_option(invocation, "--results") or results), PurePosixPath(given)
    inside = file.relative_to(folder) if file.is_relative_to(folder) else None
    return None if inside is None or ".." in inside.parts else results / inside


def _option(invocation: Sequence[str], *names: str) -> str | None:
    """The path that the last of these options has."""
    found = None
    for word, following in zip_longest(invocation, invocation[1:]):
        option, equals, value = word.partition("=")
        if option in names:
            found = value if equals else following
    return None if found is None else os.path.normpath(found)


def disagreements(path: Path, verdict: Verdict, results: Path) -> Iterator[str]:
    """In what the JUnit file says other than the verdict, a sentence each. `results` holds the evidence.

    Every point has one case of its outcome, reasons and properties, faults of the session are a case, and the
    suite counts what it holds. Cases of other tests may say what they like.
    """
    try:
        with makes_sense(path.name):
            yield from (f"{path.name}: {sentence}" for sentence in _all(_read(path), verdict, results))
    except BenchError as error:
        yield str(error)


def _read(path: Path) -> ET.Element:
    """The one test suite of a JUnit file. Raises `EvidenceError`; entities are never expanded."""
    if path.is_symlink():
        raise EvidenceError(f"{path}: is a link, which evidence never holds")
    try:
        text = read_plain(path, _LARGEST).decode("utf-8")
        if "<!" in text:
            raise EvidenceError(f"{path}: declares a document type or holds comments: pytest writes neither")
        root = ET.fromstring(text)  # noqa: S314 # declares no entity
    except FileNotFoundError as error:
        raise EvidenceError(
            f"{path}: is missing, and every session writes one; where it went elsewhere, name it with --junit FILE"
        ) from error
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ET.ParseError, ValueError, RecursionError) as error:
        raise EvidenceError(f"{path}: is no XML: {error}") from error
    suites = [root] if root.tag == "testsuite" else root.findall("testsuite")
    if len(suites) != 1:
        raise EvidenceError(f"{path}: holds {len(suites)} test suites; expected one")
    return suites[0]


def _all(suite: ET.Element, verdict: Verdict, results: Path) -> Iterator[str]:
    cases = suite.findall("testcase")
    wanted = {"tests": str(len(cases))}
    for tag, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        wanted[name] = str(sum(case.find(tag) is not None for case in cases))
    yield from differences({name: suite.get(name) for name in wanted}, wanted, "testsuite")
    told = [[name, clean(value)] for name, value in session_properties(verdict)]
    ours = [item for item in _properties(suite) if item[0] in SESSION_PROPERTIES]
    yield from differences(ours, told, "testsuite: properties")
    by_name: dict[str, list[ET.Element]] = {point.id: [] for point in verdict.points}
    for case in cases:
        name = case.get("name", "")
        marked = any(item.get("name") == "point" for item in case.iterfind("properties/property"))
        if name in by_name:
            by_name[name].append(case)
        elif marked:
            yield f"{name}: is a case of no point of the verdict"
    for point in verdict.points:
        yield from _point(point, by_name[point.id], results)
    yield from _integrity(verdict, cases)


def _point(point: PointVerdict, cases: list[ET.Element], results: Path) -> Iterator[str]:
    if len(cases) != 1:
        yield f"{point.id}: has {len(cases)} cases; expected one"
        return
    (case,) = cases
    element = ELEMENT[point.outcome]
    yield from differences(case.get("classname"), class_name(point.id), f"{point.id}: classname")
    yield from differences(_found(case), _expected(element, point.reasons), f"{point.id}: result")
    folder = results / (point.evidence or "")
    known = [[name, clean(value)] for name, value in properties(point, folder)]
    yield from differences(_properties(case), known, f"{point.id}: properties")
    if element is not None:
        text = case.findtext(element) or ""
        sentences = clean("\n".join(reason.sentence for reason in point.reasons))
        if not text.startswith(sentences.replace("\r\n", "\n").replace("\r", "\n")):
            yield f"{point.id}: its {element} does not begin with the reasons of the verdict"


def _integrity(verdict: Verdict, cases: list[ET.Element]) -> Iterator[str]:
    found = [
        _found(case)
        for case in cases
        if (case.get("classname"), case.get("name")) == ("session", "integrity")
    ]
    wanted = [_expected("error", verdict.faults)] if verdict.faults else []
    yield from differences(found, wanted, "session::integrity")


def _properties(element: ET.Element) -> list[list[str | None]]:
    return [[item.get("name"), item.get("value")] for item in element.iterfind("properties/property")]


def _found(case: ET.Element) -> list[list[str | None]]:
    """What a case holds besides properties and output: kind and message."""
    return [[child.tag, child.get("message")] for child in case if child.tag in _RESULTS]


def _expected(element: str | None, reasons: tuple[Reason, ...]) -> list[list[str | None]]:
    if element is None:
        return []
    return [[element, clean(reasons[0].sentence) if reasons else element]]
