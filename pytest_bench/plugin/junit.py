"""JUnit XML: red from the start, and in the end exactly what the verdict says.

pytest's own writer cannot set class names, calls an error in the call a failure, and knows nothing of points
that were never run. So its finished file is read, every point's case is put right, and it is replaced
atomically. Cases of other tests stay as they are.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from pytest_bench.files import write_atomic
from pytest_bench.plugin.markers import JUDGES, READS
from pytest_bench.plugin.options import junit_path
from pytest_bench.running.junit_case import ELEMENT, class_name, clean, properties, session_properties
from pytest_bench.suite.plan import Point
from pytest_bench.verdict.outcome import Reason
from pytest_bench.verdict.verdict import PointVerdict, Verdict

if TYPE_CHECKING:
    from pytest_bench.plugin.session import Session


def write_red(path: Path, point_ids: Iterable[str], why: str) -> None:
    """A file that says that nothing was reported: what is left when a session dies, or is refused."""
    suite = ET.Element("testsuite", name="inference-bench")
    for name in point_ids:
        case = ET.SubElement(suite, "testcase", classname=class_name(name), name=name, time="0")
        _add_outcome(case, "error", [Reason("unreported", f"{name}: nothing was reported: {why}")])
    case = ET.SubElement(suite, "testcase", classname="session", name="integrity", time="0")
    _add_outcome(case, "error", [Reason("unreported", why)])
    _write(path, suite)


class LeftRed:
    """For a call that only shows what would run: pytest's own JUnit file of it would be green."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        yield
        if session.config.option.xmlpath is not None and (path := junit_path(session.config)).is_file():
            names = [point.id for point in self._session.plan.points]
            write_red(path, names, "this call only shows what would run")


def rewrite(path: Path, verdict: Verdict, session: Session) -> None:
    """Make pytest's file, finished or not, agree with the verdict; again, where that has changed."""
    suite = _written_by_pytest(path)
    _tell_of_the_session(suite, verdict)
    cases = _cases_of_points(suite, [point.id for point in session.plan.points])
    for point in verdict.points:
        case = cases.get(point.id)
        if case is None:
            case = ET.SubElement(suite, "testcase", time="0")
        _put_right(case, point, session)
    for case in suite.findall("testcase[@classname='session'][@name='integrity']"):
        suite.remove(case)  # ours, of before
    if verdict.faults:
        case = ET.SubElement(suite, "testcase", classname="session", name="integrity", time="0")
        _add_outcome(case, "error", verdict.faults)
    _write(path, suite)


def _tell_of_the_session(suite: ET.Element, verdict: Verdict) -> None:
    shown = suite.find("properties")
    if shown is None:
        shown = ET.Element("properties")
        suite.insert(0, shown)
    said = session_properties(verdict)
    for earlier in [item for item in shown if item.get("name") in dict(said)]:
        shown.remove(earlier)
    for name, value in said:
        ET.SubElement(shown, "property", name=name, value=clean(value))


def _written_by_pytest(path: Path) -> ET.Element:
    try:
        root = ET.fromstring(path.read_bytes())  # noqa: S314 # our own process has just written it
    except (OSError, ET.ParseError):
        return ET.Element("testsuite", name="inference-bench")
    found = root if root.tag == "testsuite" else root.find("testsuite")
    return ET.Element("testsuite", name="inference-bench") if found is None else found


def _cases_of_points(suite: ET.Element, point_ids: Iterable[str]) -> dict[str, ET.Element]:
    """The one case of each point that has any.

    Only an item that was torn down carries properties; one that was cut off goes by its name, and may have
    left several cases.
    """
    found: dict[str, ET.Element] = {}
    cut_off: dict[str, list[ET.Element]] = {name: [] for name in point_ids}
    for case in suite.findall("testcase"):
        if case.get("name") is None:  # an item that was set up and never ended: pytest writes it as passed
            suite.remove(case)
            continue
        marks = {item.get("name"): item.get("value") for item in case.iterfind("properties/property")}
        name = case.get("name", "").rpartition("[")[2].rstrip("]")
        if judged := marks.get(JUDGES):
            found[judged] = case
        elif READS not in marks and name in cut_off:
            cut_off[name].append(case)
    for name, cases in cut_off.items():
        for case in cases:
            if found.setdefault(name, case) is not case:
                suite.remove(case)
    return found


def _put_right(case: ET.Element, point: PointVerdict, session: Session) -> None:
    for child in list(case):
        if child.tag in {"failure", "error", "skipped", "properties"}:
            case.remove(child)
    case.set("classname", class_name(point.id))
    case.set("name", point.id)
    shown = ET.Element("properties")
    for name, value in properties(point, session.point_folder(point.id)):
        ET.SubElement(shown, "property", name=name, value=clean(value))
    case.insert(0, shown)
    if (tag := ELEMENT[point.outcome]) is not None:
        _add_outcome(case, tag, point.reasons, _footer(point, session))


def _footer(point: PointVerdict, session: Session) -> list[str]:
    lines = [f"declared at {point.origin}"] if point.origin else []
    lines += [judged.sentence for judged in point.bounds if judged.state == "met"]
    if point.evidence:
        lines.append(f"evidence: {session.results / point.evidence}")
    known: Point | None = next((item for item in session.plan.points if item.id == point.id), None)
    return [*lines, f"again: {session.rerun(known)}"] if known else lines


def _add_outcome(case: ET.Element, tag: str, reasons: Iterable[Reason], footer: Iterable[str] = ()) -> None:
    sentences = [reason.sentence for reason in reasons]
    element = ET.SubElement(case, tag, message=clean(sentences[0] if sentences else tag))
    element.text = clean("\n".join([*sentences, *footer]))


def _write(path: Path, suite: ET.Element) -> None:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for tag, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(name, str(sum(case.find(tag) is not None for case in cases)))
    root = ET.Element("testsuites", name="pytest tests")
    root.append(suite)
    ET.indent(root)
    write_atomic(
        path, b'<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="utf-8") + b"\n"
    )
