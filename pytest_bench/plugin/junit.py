"""JUnit XML: red from the start, and in the end exactly what the verdict says.

pytest's own writer cannot set class names, calls an error in the call a failure, and knows nothing of points
that were never run. So its finished file is read, every point's case is put right, and it is replaced
atomically. Cases of other tests stay as they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from pytest_bench.errors import BenchError
from pytest_bench.files import write_atomic
from pytest_bench.plugin.markers import JUDGES, READS
from pytest_bench.running.summary import read_summary
from pytest_bench.suite.plan import Point
from pytest_bench.verdict.judge import show
from pytest_bench.verdict.outcome import Outcome, Reason
from pytest_bench.verdict.verdict import PointVerdict, Verdict

if TYPE_CHECKING:
    from pytest_bench.plugin.session import Session

HEADLINES = (
    "request_throughput",
    "output_token_throughput",
    "time_to_first_token.p50",
    "time_to_first_token.p99",
    "time_per_output_token.p50",
    "request_latency.p99",
    "goodput",
    "failed_requests",
)
"""Metrics that every point's case carries as properties, where they are known."""

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def path_of(config: pytest.Config) -> Path:
    """Where this call's JUnit file lies, as pytest understands the option."""
    given = os.path.expanduser(os.path.expandvars(config.option.xmlpath))  # noqa: PTH111 # as pytest does
    return Path(os.path.normpath(config.invocation_params.dir / given))


def write_red(path: Path, point_ids: Iterable[str], why: str) -> None:
    """A file that says that nothing was reported: what is left when a session dies, or is refused."""
    suite = ET.Element("testsuite", name="inference-bench")
    for name in point_ids:
        case = ET.SubElement(suite, "testcase", classname=_class_name(name), name=name, time="0")
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
        if session.config.option.xmlpath is not None:
            names = [point.id for point in self._session.plan.points]
            write_red(path_of(session.config), names, "this call only shows what would run")


def rewrite(path: Path, verdict: Verdict, session: Session) -> None:
    """Make pytest's finished file agree with the verdict."""
    suite = _written_by_pytest(path)
    cases = _cases_of_points(suite, [point.id for point in session.plan.points])
    for point in verdict.points:
        case = cases.get(point.id)
        if case is None:
            case = ET.SubElement(suite, "testcase", time="0")
        _put_right(case, point, session)
    if verdict.faults:
        case = ET.SubElement(suite, "testcase", classname="session", name="integrity", time="0")
        _add_outcome(case, "error", verdict.faults)
    _write(path, suite)


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
    case.set("classname", _class_name(point.id))
    case.set("name", point.id)
    properties = ET.Element("properties")
    for name, value in _properties(point, session):
        ET.SubElement(properties, "property", name=name, value=_clean(value))
    case.insert(0, properties)
    match point.outcome:
        case Outcome.PASS:
            return
        case Outcome.FAIL | Outcome.INCONCLUSIVE:
            _add_outcome(case, "failure", point.reasons, _footer(point, session))
        case Outcome.ERROR | Outcome.MISSING:
            _add_outcome(case, "error", point.reasons, _footer(point, session))


def _properties(point: PointVerdict, session: Session) -> Iterator[tuple[str, str]]:
    yield "point", point.id
    yield "outcome", point.outcome
    yield "declared_at", point.origin
    if point.labels:
        yield "labels", " ".join(point.labels)
    if point.evidence:
        yield "evidence", point.evidence
    if point.evidence_digest:
        yield "evidence_sha256", point.evidence_digest
    for judged in point.bounds:
        yield f"bound {judged.bound.metric}", f"{judged.state}: {judged.sentence}"
    try:
        measurement = read_summary(session.point_folder(point.id)).measurement
    except BenchError:
        return
    if measurement is None:
        return
    for name in HEADLINES:
        if name.partition(".")[0] in measurement.metrics:
            value = measurement.value(name)
            if value is not None:
                yield name, show(value, measurement.unit(name))


def _footer(point: PointVerdict, session: Session) -> list[str]:
    lines = [f"declared at {point.origin}"] if point.origin else []
    lines += [judged.sentence for judged in point.bounds if judged.state == "met"]
    if point.evidence:
        lines.append(f"evidence: {session.results / point.evidence}")
    known: Point | None = next((item for item in session.plan.points if item.id == point.id), None)
    return [*lines, f"again: {session.rerun(known)}"] if known else lines


def _add_outcome(case: ET.Element, tag: str, reasons: Iterable[Reason], footer: Iterable[str] = ()) -> None:
    sentences = [reason.sentence for reason in reasons]
    element = ET.SubElement(case, tag, message=_clean(sentences[0] if sentences else tag))
    element.text = _clean("\n".join([*sentences, *footer]))


def _class_name(point_id: str) -> str:
    suite, kind, *_ = [*point_id.split("/"), "", ""]
    return f"{suite}.{kind}" if kind else suite


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


def _clean(text: str) -> str:
    """Without characters that XML cannot hold: a model's output never breaks the file."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
