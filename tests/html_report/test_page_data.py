"""What the page is made of: curves that agree with the metrics, and a bounded choice of samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.comparison.sessions import read_session
from pytest_bench.html_report import samples
from pytest_bench.html_report.content import differences
from pytest_bench.html_report.requests import _edges, _in_flight_integral, distributions, observe, time_line
from pytest_bench.verify import verify_session

POINT = "load/perf/steady/c0002"


@pytest.fixture(scope="module")
def session(first):
    verified = verify_session(first)
    return read_session("first", first, verified.verdict, verified.plan)


@pytest.fixture(scope="module")
def later(second):
    verified = verify_session(second)
    return read_session("second", second, verified.verdict, verified.plan)


@pytest.fixture(scope="module")
def seen(session, tmp_path_factory):
    """The phases of one point, of which the last is measured."""
    (summary,) = (row.summary for row in session.rows if row.point.id == POINT)
    scratch = tmp_path_factory.mktemp("scratch")
    return [observe(session, session.plan.point(POINT), phase, scratch) for phase in summary.phases], summary


def test_a_distribution_passes_through_the_percentiles_of_the_metric(session, seen):
    phases, summary = seen
    for name, rows in distributions(session.plan.point(POINT), phases[-1]):
        metric = {
            "TTFT": "time_to_first_token",
            "TPOT": "time_per_output_token",
            "latency": "request_latency",
        }[name]
        for share, statistic in ((0.5, "p50"), (0.9, "p90"), (1.0, "max")):
            lower = rows[int((len(rows) - 1) * share)]  # percentiles are the lower of two neighbours
            assert lower["ms"] == pytest.approx(
                summary.measurement.value(f"{metric}.{statistic}") / 1e6, rel=1e-4
            )
        assert rows[-1]["share"] == 100


def test_the_time_line_holds_every_request_of_warm_up_and_measurement(seen):
    phases, _ = seen
    line = time_line(phases)
    completed = sum(row["completed"] for row in line.rows) * line.width_s
    assert completed == pytest.approx(sum(int(phase.succeeded.sum()) for phase in phases), rel=1e-3)
    assert line.rows[0]["t"] < 0 < line.rows[-1]["t"]


@given(
    st.lists(st.tuples(st.floats(-50, 50), st.floats(0.001, 50)), min_size=1, max_size=40),
    st.integers(1, 120),
)
def test_the_time_in_flight_is_neither_lost_nor_invented(spans, bins):
    sent = np.array([start for start, _ in spans])
    ended = np.array([start + length for start, length in spans])
    edges = _edges(float(sent.min()), float(ended.max()), bins=bins)
    assert edges[0] <= sent.min() + 1e-9
    assert edges[-1] >= ended.max() - 1e-9
    per_bin = np.diff(_in_flight_integral(edges, sent, ended))
    assert per_bin.sum() == pytest.approx((ended - sent).sum(), rel=1e-6, abs=1e-6)
    assert (per_bin >= -1e-6).all()


def test_a_page_with_little_room_keeps_what_is_noteworthy_and_says_what_it_left_out(session, monkeypatch):
    everything = samples.choose_samples([session])
    assert everything.left_out == []
    requests = [sample for sample in everything.samples if sample["prompt"] is None]
    monkeypatch.setattr(samples, "MOST_SAMPLES", len(requests) + 4)
    chosen = samples.choose_samples([session])
    answers = [sample for sample in chosen.samples if sample["prompt"] is not None]
    assert [sample["name"] for sample in answers if sample["marks"]] == [sample["name"] for sample in answers]
    assert len(answers) == 4
    assert "3 of 5 samples are not shown" in chosen.left_out[0]
    assert "pytest-bench samples" in chosen.left_out[0]


def test_a_long_text_keeps_its_beginning_and_its_end(monkeypatch):
    monkeypatch.setattr(samples, "LONGEST_TEXT", 20)
    cut = samples._cut("a" * 30 + "b" * 30)
    assert cut == "a" * 10 + "\n[... 40 characters are left out ...]\n" + "b" * 10


def test_a_later_session_is_compared_with_the_first_point_by_point(session, later, tmp_path):
    (found,) = differences([session, later], tmp_path)
    assert found.title == "second against first"
    assert {POINT} < {table.title for table in found.tables}
    (table,) = (table for table in found.tables if table.title == POINT)
    rows = {row[0]: row for row in table.rows}
    slower = rows["time_to_first_token.p50"]
    assert slower[3].startswith("+"), "the second server answers after 9 ms, the first after 5 ms"


def test_a_page_of_one_session_has_no_differences(session, tmp_path):
    assert list(differences([session], tmp_path)) == []
