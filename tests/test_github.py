"""What GitHub Actions is told: a summary of bounded size, and annotations that no text can break out of."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.reports.github import MOST_ANNOTATIONS, error_annotations, step_summary
from pytest_bench.reports.tables import Row
from pytest_bench.verdict.outcome import Outcome, Reason
from pytest_bench.verdict.verdict import Coverage, PointVerdict, Verdict


def verdict_of(*sentences, faults=(), origin="bench/tiny.yaml:7:3"):
    points = tuple(
        PointVerdict(
            id=f"tiny/perf/p{number}",
            outcome=Outcome.FAIL,
            reasons=(Reason("bound-not-met", sentence),),
            origin=origin,
        )
        for number, sentence in enumerate(sentences)
    )
    return Verdict(
        status="fail",
        coverage=Coverage(complete=True),
        nonce="0",
        points=points,
        faults=tuple(Reason("fault", sentence) for sentence in faults),
    )


def rows_of(verdict):
    return [Row(point, None) for point in verdict.points]


def test_an_annotation_is_at_the_line_that_declares_the_point():
    (line,) = error_annotations(verdict_of("too slow"), "/repo/sub", "/repo")
    assert line == "::error file=sub/bench/tiny.yaml,line=7,col=3,title=tiny/perf/p0%3A fail::too slow"


def test_a_fault_of_the_session_is_annotated_without_a_place():
    (line,) = error_annotations(verdict_of(faults=["a worker crashed"]), "/repo", "/repo")
    assert line == "::error title=session::a worker crashed"


@given(st.text(), st.text(alphabet=st.characters(exclude_characters="\0"), min_size=1))
def test_no_text_ends_an_annotation_or_starts_another(sentence, name):
    (line,) = error_annotations(verdict_of(sentence, origin=f"{name}:1:2"), "/repo", "/repo")
    assert len(line.splitlines()) == 1
    properties = re.fullmatch(r"::error (.*?)::.*", line)[1]
    assert [part.partition("=")[0] for part in properties.split(",")] == ["file", "line", "col", "title"]


def test_escapes_are_githubs():
    (line,) = error_annotations(verdict_of("50% slower\nthan 1, 2: 3"), "/repo", "/repo")
    assert line.endswith("::50%25 slower%0Athan 1, 2: 3")


def test_github_shows_ten_errors_so_the_tenth_counts_the_others():
    lines = list(error_annotations(verdict_of(*"abcdefghijklmnop"), "/repo", "/repo"))
    assert len(lines) == MOST_ANNOTATIONS
    assert lines[-1] == "::error title=session::7 more are red"


def test_the_summary_has_the_verdict_the_reasons_and_the_table():
    verdict = verdict_of("too slow")
    text = step_summary(rows_of(verdict), verdict, "results/x")
    assert text.startswith("## fail: at least one bound")
    assert "- tiny/perf/p0: fail: too slow" in text
    assert "| tiny/perf/p0 |" in text
    assert text.endswith("Evidence: results/x\n")


def test_a_summary_that_is_too_long_is_cut_between_lines_and_says_so():
    verdict = verdict_of(*(f"reason {number} " + "x" * 500 for number in range(200)))
    text = step_summary(rows_of(verdict), verdict, "results/x", limit=20_000)
    assert len(text.encode()) < 20_000
    assert text.startswith("## fail")
    cut, whole = map(int, re.search(r"(\d+) of (\d+) lines were cut", text).groups())
    assert len(text.splitlines()) == whole - cut + 2
    kept = [line for line in text.splitlines() if line.startswith("- tiny")]
    assert kept
    assert all(line.endswith("x") for line in kept)


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", "![x](http://evil)", "| a | b |", "`x` \x1b[31m"]
)
def test_text_of_a_server_is_no_markup(hostile):
    verdict = verdict_of(hostile)
    text = step_summary((), verdict, "results/x")
    assert not re.search(r"(?<!\\)[<>`|\[\]!]|\x1b", text.partition("\n")[2])
