"""Renders the JUnit file of a session from its verdict and its events.

The case of a point is rendered from the verdict. The cases of other tests are the elements that pytest's writer made.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as ET

from pytest_bench.errors import BenchError, makes_sense
from pytest_bench.labels import Label
from pytest_bench.metrics.names import is_score_name
from pytest_bench.results.layout import point_path
from pytest_bench.results.summary import read_summary
from pytest_bench.verdict.events import Called, Event, JUnitCase, Report, SuiteProperty
from pytest_bench.verdict.judge import show
from pytest_bench.verdict.outcome import Outcome, Reason
from pytest_bench.verdict.verdict import PointVerdict, Verdict

ELEMENT: Mapping[Outcome, Literal["failure", "error"] | None] = {
    Outcome.PASS: None,
    Outcome.FAIL: "failure",
    Outcome.INCONCLUSIVE: "failure",
    Outcome.ERROR: "error",
    Outcome.MISSING: "error",
}
"""The child element of a case for each outcome; None if the case passes."""

HEADLINES = (
    "request_throughput",
    "output_token_throughput",
    "time_to_first_token.p50",
    "time_to_first_token.p99",
    "time_per_output_token.p50",
    "inter_token_latency.p99",
    "request_latency.p99",
    "goodput",
    "failed_requests",
    "empty_outputs",
)
"""Metrics that are written as properties of each point's case, if they have a value."""

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(
    verdict: Verdict,
    events: Sequence[Event] = (),
    results: Path | None = None,
    *,
    called: Called | None = None,
    rerun: Mapping[str, str] | None = None,
) -> bytes:
    """Return the content of the file. `results` contains the evidence; `rerun` maps points to their rerun commands."""
    suite = ET.Element("testsuite", name="inference-bench")
    _add_properties(
        suite,
        [
            *((event.name, event.value) for event in events if isinstance(event, SuiteProperty)),
            *_session_properties(verdict),
        ],
    )
    durations_s: dict[str, float] = defaultdict(float)
    outputs: dict[str, list[ET.Element]] = defaultdict(list)
    for event in events:
        if isinstance(event, Report):
            durations_s[event.point] += event.duration_s
        elif isinstance(event, JUnitCase):
            case = _case(event)
            if event.point is None:
                suite.append(case)
            else:
                outputs[event.point] += [child for child in case if child.tag.startswith("system-")]
    for point in verdict.points:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=class_name(point.id),
            name=clean(point.id),
            time=f"{durations_s[point.id]:.3f}",
        )
        _add_properties(case, _properties(point, None if results is None else results / point_path(point.id)))
        _add_outcome(case, ELEMENT[point.outcome], point.reasons, _footer(point, called, rerun or {}))
        case.extend(outputs[point.id])
    if verdict.faults:
        case = ET.SubElement(suite, "testcase", classname="session", name="integrity", time="0.000")
        _add_outcome(case, "error", verdict.faults)
    return _serialized(suite, verdict)


def _case(event: JUnitCase) -> ET.Element:
    try:
        case = ET.fromstring(event.xml)  # noqa: S314 # the session's own log, made by its own pytest
        if case.tag == "testcase":
            return case
    except ET.ParseError:
        pass
    case = ET.Element("testcase", classname="session", name="unreadable case", time="0.000")
    ET.SubElement(case, "error", message="the event log contains a case that is not XML")
    return case


def class_name(point_id: str) -> str:
    """Return the class name of a point's case: `suite.kind`."""
    suite, kind, *_ = [*point_id.split("/"), "", ""]
    return clean(f"{suite}.{kind}" if kind else suite)


def clean(text: str) -> str:
    """Replace characters that XML does not allow; a model's output may contain some."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def _session_properties(verdict: Verdict) -> Iterator[tuple[str, str]]:
    yield "verdict", verdict.status
    yield "coverage", "complete" if verdict.coverage.complete else "partial"
    if verdict.coverage.left_out:
        yield "left_out", " ".join(verdict.coverage.left_out)
    if verdict.coverage.limited:
        yield str(Label.LIMITED), " ".join(verdict.coverage.limited)


def _properties(point: PointVerdict, folder: Path | None) -> Iterator[tuple[str, str]]:
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
    if folder is not None and point.evidence is not None:
        yield from _headlines(folder)


def _headlines(folder: Path) -> Iterator[tuple[str, str]]:
    try:
        with makes_sense(folder):
            summary = read_summary(folder)
            measurement = summary.measurement
            scores = (
                [name for name in measurement.metrics if is_score_name(name)]
                if measurement is not None
                else []
            )
            for name in (*HEADLINES, *scores) if measurement is not None else ():
                if measurement is not None and name.partition(".")[0] in measurement.metrics:
                    value = measurement.value(name)
                    if value is not None:
                        yield name, show(value, measurement.unit(name))
                        if (uncertainty := measurement.known_uncertainty(name)) is not None:
                            yield f"{name} uncertainty", show(uncertainty, measurement.unit(name), 2)
            if summary.vacancy is not None:
                yield "vacancy", show(summary.vacancy, "fraction", 2)
    except BenchError:
        return  # the verdict's reasons say what is wrong with the evidence


def _footer(point: PointVerdict, called: Called | None, rerun: Mapping[str, str]) -> Iterator[str]:
    if point.origin:
        yield f"declared at {point.origin}"
    yield from (judged.sentence for judged in point.bounds if judged.state == "met")
    if point.evidence and called is not None:
        yield f"evidence: {called.results}/{point.evidence}"
    if point.id in rerun:
        yield f"again: {rerun[point.id]}"


def _add_properties(element: ET.Element, pairs: Iterable[tuple[str, str]]) -> None:
    shown = ET.SubElement(element, "properties")
    for name, value in pairs:
        ET.SubElement(shown, "property", name=clean(name), value=clean(value))


def _add_outcome(
    case: ET.Element, tag: str | None, reasons: Iterable[Reason], footer: Iterable[str] = ()
) -> None:
    if tag is not None:
        sentences = [reason.sentence for reason in reasons]
        element = ET.SubElement(case, tag, message=clean(sentences[0] if sentences else tag))
        element.text = clean("\n".join([*sentences, *footer]))


def _serialized(suite: ET.Element, verdict: Verdict) -> bytes:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for tag, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(name, str(sum(case.find(tag) is not None for case in cases)))
    if verdict.started is not None:
        suite.set("timestamp", verdict.started)
        suite.set("time", f"{_seconds(verdict.started, verdict.finished):.3f}")
    root = ET.Element("testsuites", name="pytest tests")
    root.append(suite)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + text + b"\n"


def _seconds(started: str, finished: str | None) -> float:
    try:
        return (datetime.fromisoformat(finished or started) - datetime.fromisoformat(started)).total_seconds()
    except ValueError:
        return 0.0
