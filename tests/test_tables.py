"""The table at the end of a session, on any terminal."""

import msgspec
import pytest

from pytest_bench.bounds import Bound
from pytest_bench.metrics.measurement import Measurement, Metric
from pytest_bench.records import ClientHealth, PhaseResult
from pytest_bench.reports.tables import Row, render, tables, together
from pytest_bench.results.details import PerfDetail
from pytest_bench.results.summary import Summary
from pytest_bench.verdict.outcome import JudgedBound, Judgement, Outcome, Reason
from pytest_bench.verdict.verdict import PointVerdict

METRICS = {
    "request_throughput": Metric(unit="requests/s", kind="scalar", value=12.0),
    "request_latency": Metric(unit="ns", kind="distribution", statistics={"p50": 1.5e6, "p99": 2.25e9}),
}


def row(name, outcome=Outcome.PASS, labels=(), *, measured=True):
    summary = Summary(
        point=name,
        point_digest="d",
        nonce="n",
        judgement=Judgement(outcome=outcome),
        measurement=Measurement(metrics=METRICS, issued=48, succeeded=47, failed=1),
        phases=(),
        dataset=None,
        detail=PerfDetail(),
    )
    return Row(PointVerdict(id=name, outcome=outcome, labels=labels), summary if measured else None)


def shown(*rows, width=None):
    return [line for table in tables(rows) for line in render(table, colour=False, width=width)]


def test_a_point_is_one_line_under_headings_with_units_beside_times():
    lines = shown(row("chat/perf/steady", Outcome.FAIL, ("simulator",)))
    assert lines[0] == "perf"
    assert lines[-1].split() == [
        "chat/perf/steady",
        "48",
        "1",
        "12.0",
        "0.00150/2.25",
        "s",
        "-",
        "fail",
        "(simulator)",
    ]


@pytest.mark.parametrize(("uncertainty_ns", "shown_as"), [(20e6, None), (30e6, "±30.0")])
def test_an_uncertainty_of_more_than_a_hundredth_is_shown_beside_its_number(uncertainty_ns, shown_as):
    measured = row("chat/perf/steady")
    latency = msgspec.structs.replace(METRICS["request_latency"], uncertainties={"p99": uncertainty_ns})
    metrics = METRICS | {"request_latency": latency}
    measurement = msgspec.structs.replace(measured.summary.measurement, metrics=metrics)
    lines = shown(Row(measured.point, msgspec.structs.replace(measured.summary, measurement=measurement)))
    found = [word for word in lines[-1].split() if word.startswith("±")]
    assert found == ([shown_as] if shown_as else [])


def swept(concurrency, throughput, outcome=Outcome.PASS, uncertainty=None):
    """A point of a sweep, with this throughput."""
    made = row(f"chat/perf/steady/c{concurrency:04}", outcome)
    rate = Metric(unit="requests/s", kind="scalar", value=throughput, uncertainty=uncertainty)
    measurement = msgspec.structs.replace(
        made.summary.measurement, metrics=METRICS | {"request_throughput": rate}
    )
    return Row(made.point, msgspec.structs.replace(made.summary, measurement=measurement))


def marks(*rows):
    """The mark of each row, in front of the throughput; the latencies of all are equal."""
    table = [line for line in shown(*rows) if line.startswith("chat/")]
    return [line.split()[3] if line.split()[3] in "▲▼" else "" for line in table]


def test_the_best_and_the_worst_point_of_a_sweep_are_marked():
    sweep = [swept(1, 2.0), swept(8, 12.0), swept(32, 9.0)]
    assert marks(*sweep) == ["▼", "▲", ""]
    assert shown(*sweep)[-1].startswith("▲ best and ▼ worst")


def test_of_a_latency_the_lower_value_is_the_better():
    latency = METRICS["request_latency"]
    sweep = [
        Row(
            point,
            msgspec.structs.replace(
                summary,
                measurement=msgspec.structs.replace(
                    summary.measurement,
                    metrics={
                        "request_latency": msgspec.structs.replace(
                            latency, statistics={"p50": 1.0, "p99": p99}
                        )
                    },
                ),
            ),
        )
        for (point, summary), p99 in zip(
            [row(f"chat/perf/steady/c{n}") for n in "123"], (5e9, 7e9, 2e9), strict=True
        )
    ]
    lines = [line for line in shown(*sweep) if line.startswith("chat/")]
    assert [[mark for mark in "▲▼" if mark in line] for line in lines] == [[], ["▼"], ["▲"]]


@pytest.mark.parametrize(
    "others",
    [
        [swept(8, 12.0)],
        [swept(8, 2.01), swept(32, 2.0)],
        [swept(8, 2.5, uncertainty=0.6), swept(32, 2.2)],
        [row("chat/perf/other"), row("chat/perf/third")],
        [swept(8, 12.0, Outcome.ERROR), swept(32, 9.0)],
    ],
    ids=["two-points", "nearly-equal", "uncertain", "not-of-a-sweep", "not-trustworthy"],
)
def test_nothing_is_marked_that_does_not_stand_out(others):
    sweep = [swept(1, 2.0), *others]
    assert marks(*sweep) == [""] * len(sweep)
    assert "best" not in "".join(shown(*sweep))


def test_columns_that_nothing_fills_are_left_out():
    assert "TTFT" not in "".join(shown(row("chat/perf/steady")))


def test_a_point_without_a_measurement_still_has_its_line():
    lines = shown(row("chat/perf/steady"), row("chat/perf/lost", Outcome.ERROR, measured=False))
    assert lines[-1].split() == ["chat/perf/lost", "-", "-", "-", "-", "-", "error:", "not", "measured"]


def test_an_error_tells_what_was_interrupted_from_what_was_not_trusted():
    interrupted, untrusted = (
        row("chat/perf/steady", Outcome.ERROR)._replace(
            point=PointVerdict(id="chat/perf/steady", outcome=Outcome.ERROR, reasons=(Reason(code, ""),))
        )
        for code in ("interrupted", "client-bound")
    )
    assert shown(interrupted)[-1].endswith("error: interrupted")
    assert shown(untrusted)[-1].endswith("error")


def test_a_point_without_bounds_counts_the_implied_ones_as_such():
    implied = open_loop("chat/perf/steady", "failed_requests", "empty_outputs")
    unbounded = implied._replace(point=msgspec.structs.replace(implied.point, labels=("unbounded",)))
    assert shown(unbounded)[-1].endswith("2/2 implied  pass (unbounded)")
    assert shown(implied)[-1].endswith("2/2  pass")


def test_each_kind_of_point_has_a_table():
    lines = shown(row("chat/perf/steady"), row("chat/audit/caching"))
    assert [line for line in lines if line in ("perf", "audit")] == ["perf", "audit"]


def test_labels_for_which_the_terminal_is_too_narrow_are_below_the_table():
    labels = ("cache-shared", "server-counted")
    points = [row("chat/perf/steady", labels=labels), row("chat/perf/other", Outcome.FAIL, labels)]
    wide = shown(*points)
    lines = shown(*points, width=max(map(len, wide)) - 1)
    assert [line.split()[-1] for line in lines[-3:-1]] == ["pass", "fail"]
    assert lines[-1] == "labels: cache-shared, server-counted"
    other = [*points, row("chat/perf/third", labels=("unbounded",))]
    lines = shown(*other, width=max(map(len, wide)) - 1)
    assert lines[-2:] == [
        "labels of chat/perf/steady, chat/perf/other: cache-shared, server-counted",
        "labels of chat/perf/third: unbounded",
    ]


@pytest.mark.parametrize("width", [40, 60, 70])
def test_what_is_wider_than_the_terminal_becomes_a_paragraph_that_fits(width):
    lines = shown(row("chat/perf/steady", Outcome.PASS, ("cache-shared",)), width=width)
    assert max(map(len, lines)) <= width
    assert lines[1] == "chat/perf/steady: pass (cache-shared)"
    told = " ".join(line.strip() for line in lines[2:])
    assert told == "requests 48, failed 1, req/s 12.0, latency p50/p99 0.00150/2.25 s"


def test_a_paragraph_never_breaks_between_a_heading_and_its_value():
    lines = shown(row("chat/perf/steady"), width=36)
    assert any(line.strip().startswith("latency p50/p99 0.00150/2.25 s") for line in lines)


def test_names_longer_than_any_table_lose_nothing():
    name = "chat/perf/" + "x" * 300
    assert shown(row(name))[-1].startswith(name)


@pytest.mark.parametrize(
    ("values", "unit", "text"),
    [
        ([11.6e6, 12e6, None], "ns", "11.6/12.0/- ms"),
        ([None], "ns", "-"),
        ([1234.5], "tokens/s", "1234"),
        ([0.0], "fraction", "0"),
        ([90e9], "ns", "1.50 min"),
    ],
)
def test_numbers_of_one_unit_stand_together(values, unit, text):
    assert together(values, unit) == text


def open_loop(name, *judged):
    """A point under open-loop load, with bounds on these metrics."""
    measured = row(name)
    metrics = METRICS | {
        "scheduled_request_latency": Metric(
            unit="ns", kind="distribution", statistics={"p50": 3e6, "p99": 5e6}
        ),
        "empty_outputs": Metric(unit="requests", kind="scalar", value=0.0),
    }
    bounds = tuple(
        JudgedBound(
            bound=Bound(metric=metric, comparison="<=", limit=1e9, text="<= 1s"),
            measured=1.0,
            state="met",
            sentence="",
        )
        for metric in judged
    )
    return Row(
        msgspec.structs.replace(measured.point, bounds=bounds),
        msgspec.structs.replace(
            measured.summary,
            measurement=msgspec.structs.replace(measured.summary.measurement, metrics=metrics),
        ),
    )


def test_a_latency_that_was_judged_from_the_scheduled_time_is_shown_as_judged():
    lines = shown(open_loop("chat/perf/steady", "scheduled_request_latency.p99"))
    assert "scheduled latency" in "".join(lines)
    assert "3.00/5.00 ms" in lines[-1]
    assert "2.25 s" not in lines[-1]
    assert "scheduled" not in "".join(shown(open_loop("chat/perf/steady", "request_latency.p99")))


def test_a_point_that_was_held_back_shows_both_forms_of_each_latency():
    judged = open_loop("chat/perf/steady", "scheduled_request_latency.p99")
    held_back = Row(msgspec.structs.replace(judged.point, labels=("held-back",)), judged.summary)
    lines = shown(held_back)
    assert "3.00/5.00 ms" in lines[-1]
    assert "2.25 s" in lines[-1]


def test_empty_answers_have_a_column_where_there_are_any():
    full = open_loop("chat/perf/full")
    assert "empty" not in "".join(shown(full))
    metrics = METRICS | {"empty_outputs": Metric(unit="requests", kind="scalar", value=20.0)}
    measurement = msgspec.structs.replace(full.summary.measurement, metrics=metrics)
    hollow = Row(full.point, msgspec.structs.replace(full.summary, measurement=measurement))
    lines = shown(full, hollow)
    assert [line.split()[1:4] for line in lines[-2:]] == [["48", "1", "0"], ["48", "1", "20"]]


def with_vacancy(name, **vacancies):
    """A point whose phases, by label, had these vacancies."""
    made = row(name)
    phases = tuple(
        PhaseResult(
            label=label,
            folder=f"phases/{label}",
            **dict.fromkeys(("issued", "succeeded", "failed", "interrupted", "resent", "start_ns"), 0),
            **dict.fromkeys(("first_issue_ns", "last_issue_ns", "last_completion_ns", "full_load_ns")),
            failures={},
            peak_in_flight=1,
            complete=True,
            health=ClientHealth(
                workers=1,
                vacancy=vacancy,
                vacancy_p99=vacancy,
                **dict.fromkeys(("client_lag_ms", "turnaround_ms", "schedule_lateness_ms")),
                **dict.fromkeys(("cpu_share", "cpu_share_p99", "asked", "achieved", "achieved_share_p1")),
            ),
        )
        for label, vacancy in vacancies.items()
    )
    return Row(made.point, msgspec.structs.replace(made.summary, phases=phases))


def test_the_vacancy_of_a_closed_loop_is_always_shown_without_that_of_its_warm_up():
    closed = with_vacancy("chat/perf/steady", warmup=0.5, measured=0.0043)
    opened = with_vacancy("chat/perf/arrivals", measured=None)
    lines = shown(closed, opened)
    assert "vacancy" in lines[2]
    assert [line.split()[-3] for line in lines[-2:]] == ["0.43%", "-"]
    assert "vacancy" not in "".join(shown(opened))


def test_an_audit_shows_the_higher_vacancy_of_its_phases():
    lines = shown(with_vacancy("chat/audit/caching", performance=0.001, caching=0.012))
    assert lines[-1].split()[1] == "1.20%"
