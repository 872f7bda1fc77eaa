"""The client's share of a phase's numbers, from its records alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.load.client_share import ClientShare, vacancy_by_second
from pytest_bench.load.health import client_health
from pytest_bench.load.windows import high
from pytest_bench.records import RequestRecord, WorkerReport
from pytest_bench.workload import HealthBudget, Load

MS = 1_000_000
CLOSED = Load(pattern="concurrency", concurrency=4, requests=100)
OPEN = Load(pattern="poisson", rate=100.0, requests=100)


def request(
    sent_ms,
    ended_ms,
    *,
    turnaround_ms=None,
    scheduled_ms=None,
    free_ms=None,
    outcome="succeeded",
    unsent=False,
):
    return RequestRecord(
        seq=0,
        request_id="",
        index=0,
        sample_index=0,
        scheduled_ns=None if scheduled_ms is None else round(scheduled_ms * MS),
        place_free_ns=None if free_ms is None else round(free_ms * MS),
        send_start_ns=round(sent_ms * MS),
        request_sent_ns=None if unsent else round(sent_ms * MS),
        turnaround_ns=None if turnaround_ms is None else round(turnaround_ms * MS),
        end_ns=round(ended_ms * MS),
        outcome=outcome,
    )


def report_of(records, *, paced=False, capped=False):
    share, report = (
        ClientShare(capped=capped),
        WorkerReport(worker=0, issued=len(records), succeeded=len(records)),
    )
    for record in records:
        share.add(record, paced=paced)
    share.report(report)
    return report


def slots(share, answered_ms, gap_ms, from_ms, until_ms):
    """Requests of `share` slots that take `answered_ms`, with `gap_ms` before the next of each."""
    for slot in range(share):
        at, turnaround = from_ms + slot, None
        while at < until_ms:
            yield request(at, at + answered_ms, turnaround_ms=turnaround)
            at, turnaround = at + answered_ms + gap_ms, gap_ms


def arrivals(gaps_ms, late_ms, from_ms=0):
    due = from_ms
    for gap, late in zip(gaps_ms, late_ms, strict=True):
        due += gap
        yield request(due + late, due + late + 1, scheduled_ms=due)


def closed_health(records):
    return client_health(CLOSED, [report_of(list(records))], HealthBudget())


def test_vacancy_is_the_share_of_turnaround_in_turnaround_and_latency():
    report = report_of([request(0, 90), request(100, 190, turnaround_ms=10), request(1000, 1010)])
    assert (report.vacant_ns, report.busy_ns) == (10 * MS, 190 * MS)
    assert report.turnaround_ms.max == 10


def test_failed_and_interrupted_requests_do_not_count_as_served():
    records = [request(0, 90, outcome=outcome) for outcome in ("failed", "interrupted")]
    assert report_of(records).busy_ns == 0


def test_seconds_in_which_places_were_empty_show_in_the_vacancy():
    found = closed_health([*slots(4, 995, 5, 0, 200_000), *slots(4, 500, 500, 200_000, 205_000)])
    assert found.vacancy < 0.02
    assert 0.3 < found.vacancy_p99 < 0.6
    [sentence] = found.violations
    assert "at p99 of the phase's seconds" in sentence


def test_the_single_worst_second_is_left_out():
    stalled = [*slots(4, 99, 1, 0, 20_000), request(30_000, 30_001, turnaround_ms=900)]
    [*others, worst] = vacancy_by_second([report_of(stalled)])
    assert worst > 0.8
    assert high([*others, worst]) == others[-1] < 0.02


def test_a_ramp_and_the_drain_of_stages_are_not_a_shortfall():
    found = closed_health([*slots(8, 250, 0, 0, 5_000), *slots(2, 250, 0, 9_000, 14_000)])
    assert found.vacancy_p99 in {None, 0.0}


def test_a_phase_of_less_than_two_seconds_is_judged_as_a_whole():
    found = closed_health(slots(2, 300, 300, 0, 1_500))
    assert found.vacancy == found.vacancy_p99
    assert vacancy_by_second([]) == []


def test_a_second_is_that_of_all_load_workers_together():
    calm = report_of([*slots(3, 99, 1, 0, 5_000)])
    busy = report_of([*slots(1, 50, 50, 0, 5_000)])
    assert all(share == pytest.approx(0.13, abs=0.01) for share in vacancy_by_second([calm, busy])[:-1])


RECORDS = st.lists(
    st.builds(
        lambda sent, latency, turnaround: request(sent, sent + latency, turnaround_ms=turnaround),
        st.integers(0, 9_000),
        st.integers(0, 3_000),
        st.none() | st.integers(0, 2_000),
    ),
    max_size=20,
)


@given(RECORDS, st.randoms(use_true_random=False))
def test_records_give_the_same_report_in_any_order(records, random):
    first = report_of(records)
    random.shuffle(records)
    assert report_of(records) == first


@given(RECORDS)
def test_the_seconds_add_up_to_the_phase(records):
    report = report_of(records)
    assert sum(vacant for _, vacant, _ in report.seconds) == report.vacant_ns
    assert report.vacant_ns == sum(record.turnaround_ns or 0 for record in records)
    assert report.busy_ns == sum(record.end_ns - record.send_start_ns for record in records)
    if report.vacant_ns:
        assert sum(busy for _, _, busy in report.seconds) == report.busy_ns
    shares = vacancy_by_second([report])
    assert all(0 <= share <= 1 for share in shares)
    assert len(shares) != 1


@given(st.lists(st.integers(0, 3000), min_size=10, max_size=40), st.integers(0, 20))
def test_a_client_that_keeps_up_with_irregular_arrivals_has_no_shortfall(gaps_ms, late_ms):
    report = report_of([*arrivals(gaps_ms, [late_ms] * len(gaps_ms))], paced=True)
    assert report.achieved_share_p1 is None or report.achieved_share_p1 >= 0.97
    assert report.schedule_lateness_ms.p50 == late_ms


def test_a_stage_whose_rate_is_not_reached_shows_beside_stages_that_reach_theirs():
    records = [
        *arrivals([500] * 40, [0] * 40),
        *arrivals([10] * 400, range(0, 4000, 10), from_ms=20_000),  # 100/s asked for, 50/s issued
        *arrivals([500] * 40, [0] * 40, from_ms=29_000),
    ]
    assert report_of(records, paced=True).achieved_share_p1 == pytest.approx(0.5, abs=0.02)


def test_lateness_is_that_of_sending_and_a_request_that_was_never_sent_has_none():
    records = [
        request(30, 40, scheduled_ms=10),
        request(50, 60, scheduled_ms=20, unsent=True, outcome="failed"),
    ]
    report = report_of(records, paced=True)
    assert (report.schedule_lateness_ms.max, report.last_scheduled_ns) == (20, 10 * MS)
    assert report_of(records[1:], paced=True).schedule_lateness_ms is None


def test_the_rate_counts_from_the_first_arrival_to_the_last():
    found = client_health(OPEN, [report_of([*arrivals([10] * 101, [0] * 101)], paced=True)], HealthBudget())
    assert (found.asked, found.achieved) == (pytest.approx(100.0), pytest.approx(100.0))
    single = client_health(OPEN, [report_of([*arrivals([10], [0])], paced=True)], HealthBudget())
    assert (single.asked, single.achieved) == (None, None)


def held_back(late_ms):
    """One place, arrivals every 10 ms and answers that take 100 ms; the client is `late_ms` late for each place."""
    free = None
    for number in range(200):
        sent = number * 10 if free is None else free + late_ms
        turnaround = None if free is None else late_ms
        yield request(sent, sent + 100, scheduled_ms=number * 10, free_ms=free, turnaround_ms=turnaround)
        free = sent + 100


def capped_health(records):
    load = Load(pattern="constant", rate=100.0, requests=200, max_concurrency=1)
    return client_health(load, [report_of(list(records), paced=True, capped=True)], HealthBudget())


def test_a_client_is_not_late_while_a_request_waits_for_a_place():
    found = capped_health(held_back(1))
    assert found.schedule_lateness_ms.max == 1
    assert (found.asked, round(found.achieved, 1), found.held) == (100, 9.9, 199)
    assert found.vacancy == pytest.approx(0.01, rel=0.02)
    assert found.violations == ()


def test_a_client_that_leaves_a_free_place_unused_is_late():
    lateness, vacancy = capped_health(held_back(50)).violations
    assert "requests left 50.0 ms late at p99" in lateness
    assert "33.2% of the concurrency was missing" in vacancy
    # Though each is sent within the budget of lateness, a twentieth of the places is not used.
    [sentence] = capped_health(held_back(6)).violations
    assert "5.6% of the concurrency was missing" in sentence
