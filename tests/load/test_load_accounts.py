"""What load workers share and count: bodies, the counters, cursors, tallies, health."""

import os
import threading
from array import array
from contextlib import ExitStack
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.cpus import Cpus
from pytest_bench.load import engine
from pytest_bench.load.bodies import Bodies, write
from pytest_bench.load.client_share import quantiles_ms
from pytest_bench.load.counters import Cell, SharedCounters, anonymous_file
from pytest_bench.load.health import client_health
from pytest_bench.load.tally import Tally, Thinned
from pytest_bench.records import Quantiles, RequestRecord, WorkerReport
from pytest_bench.workload import HealthBudget, Load, PhaseSpec, RunSpec, SampleOrder


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=20))
def test_every_body_is_read_back_behind_its_own_length(tmp_path_factory, payloads):
    path = tmp_path_factory.mktemp("bodies") / "bodies"
    assert write(path, iter(payloads)) == len(payloads)
    with path.open("rb") as stream:
        bodies = Bodies(stream.fileno())
    assert bodies.count == len(payloads)
    for index, payload in enumerate(payloads):
        assert bodies[index] == b"Content-Length: %d\r\n\r\n%b" % (len(payload), payload)


def test_a_file_that_holds_no_bodies_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"something else entirely")
    with (
        (tmp_path / "x").open("rb") as stream,
        pytest.raises(ValueError, match="not a file of request bodies"),
    ):
        Bodies(stream.fileno())


def test_shared_counters_do_not_overlap():
    with ExitStack() as stack:
        fd, counters = SharedCounters.create(stages=2, workers=3, phases=2)
        stack.callback(os.close, fd)
        stack.callback(counters.close)
        other = SharedCounters(fd, stages=2, workers=3, phases=2)
        stack.callback(other.close)
        places = [(w, p, cell) for w in range(3) for p in range(2) for cell in Cell]
        for value, place in enumerate(places):
            counters.set(*place, value)
        counters.set_stage_start(1, 71)
        for worker in range(3):
            counters.beat(worker, 90 + worker)
        assert [other.get(*place) for place in places] == list(range(len(places)))
        assert (other.stage_start(0), other.stage_start(1)) == (0, 71)
        assert [other.last_beat(worker) for worker in range(3)] == [90, 91, 92]
        assert other.total(1, Cell.FAILED) == sum(counters.get(worker, 1, Cell.FAILED) for worker in range(3))


def test_a_cursor_gives_every_ticket_to_exactly_one_process():
    cursor, drawn = anonymous_file(), [[] for _ in range(4)]

    def draw(tickets):
        for _ in range(5000):
            tickets.append(os.lseek(cursor, 1, os.SEEK_CUR) - 1)

    threads = [threading.Thread(target=draw, args=[tickets]) for tickets in drawn]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(cursor)
    assert sorted(chain.from_iterable(drawn)) == list(range(20_000))


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=300))
def test_quantiles_are_values_that_occurred(values):
    quantiles = quantiles_ms(array("q", values))
    ordered = sorted(values)
    assert quantiles.max == ordered[-1] / 1e6
    assert quantiles.p50 == ordered[(len(values) - 1) // 2] / 1e6
    assert quantiles.p99 in [value / 1e6 for value in values]
    assert quantiles.p50 <= quantiles.p99 <= quantiles.max


@given(st.lists(st.lists(st.integers(0, 9), max_size=20), max_size=60))
def test_of_many_numbers_an_even_subsample_is_kept(batches):
    kept = Thinned(most=16)
    for batch in batches:
        kept.extend(batch)
    every = [value for batch in batches for value in batch]
    assert len(kept.values) <= 16
    step = next(step for step in (2**power for power in range(12)) if len(every[::step]) <= 16)
    assert kept.values.tolist() in (every[::step], every[:: 2 * step])


def test_no_values_have_no_quantiles():
    assert quantiles_ms(array("q")) is None


OUTCOMES = st.sampled_from(
    [("succeeded", None), ("failed", "reset"), ("failed", "timeout"), ("interrupted", None)]
)


@given(st.lists(OUTCOMES, max_size=30))
def test_a_tally_loses_no_request(outcomes):
    tally = Tally(0)
    for number, _ in enumerate(outcomes):
        tally.issued(number, number + 1, 0)
    for number, (outcome, error) in enumerate(outcomes):
        tally.ended(
            RequestRecord(
                seq=number,
                request_id="",
                index=number,
                sample_index=0,
                send_start_ns=0,
                end_ns=100 + number,
                outcome=outcome,
                error=error,
            ),
            [],
        )
    report = tally.report
    assert report.issued == len(outcomes) == report.succeeded + report.failed + report.interrupted
    assert sum(report.failures.values()) == report.failed
    assert tally.in_flight == 0
    ended = [100 + number for number, (outcome, _) in enumerate(outcomes) if outcome != "interrupted"]
    assert report.last_completion_ns == max(ended, default=None)


def test_mean_concurrency_counts_from_full_load_to_the_last_issue_between_the_stamps_of_each_request():
    tally = Tally(0)
    tally.enter(share=2)
    for now_ns, in_flight in ((0, 1), (10, 2)):
        tally.issued(now_ns, in_flight, in_flight - 1)
        tally.sent(now_ns)
    tally.vacated(30)
    tally.issued(40, 2, 1)
    tally.sent(40)
    assert tally.report.in_flight_ns == 2 * 20 + 1 * 10
    tally.vacated(35)  # of another place: it had ended before the last issue, and is read only now
    assert tally.report.in_flight_ns == 2 * 20 + 1 * 5
    tally.vacated(1000)
    assert tally.report.in_flight_ns == 2 * 20 + 1 * 5


def test_full_load_waits_for_the_requests_of_the_phase_before_to_end():
    tally = Tally(0)
    tally.enter(share=2)
    tally.issued(0, 2, 1)  # beside one of the phase before
    assert tally.report.full_load_ns is None
    tally.issued(10, 2, 1)
    assert (tally.report.full_load_ns, tally.report.peak_in_flight) == (10, 2)


def report(**fields):
    fine = Quantiles(p50=0.1, p99=1.0, max=500.0)
    return WorkerReport(
        **{
            "worker": 0,
            "issued": 100,
            "succeeded": 100,
            "client_lag_ms": fine,
            "cpu_s": 0.5,
            "wall_s": 1.0,
            "first_scheduled_ns": 0,
            "last_scheduled_ns": 990_000_000,
            **fields,
        }
    )


def by_second(*shares):
    """Fields of a report with these vacancies, second by second."""
    seconds = tuple(
        (number, round(100 * share), round(100 * (1 - share))) for number, share in enumerate(shares)
    )
    return {"seconds": seconds, "vacant_from_ns": 0, "vacant_until_ns": len(shares) * 10**9}


CLOSED = Load(pattern="concurrency", concurrency=8, requests=100)
OPEN = Load(pattern="poisson", rate=100.0, requests=100)
STAGES = Load(pattern="stages", stages=(CLOSED, OPEN))
LATE = Quantiles(p50=100.0, p99=400.0, max=500.0)


def health(load, *reports):
    return client_health(load, reports, HealthBudget())


def test_a_client_within_its_budgets_has_no_violation_whatever_its_worst_moment():
    assert health(CLOSED, report()).violations == ()
    on_time = Quantiles(p50=0.1, p99=1.0, max=900.0)
    assert health(OPEN, report(schedule_lateness_ms=on_time)).violations == ()


@pytest.mark.parametrize(
    ("load", "fields", "sentence"),
    [
        (
            CLOSED,
            {"vacant_ns": 3, "busy_ns": 97},
            "3.0% of the concurrency was missing while the client had not sent the next request, over the budget of 2%",
        ),
        (
            CLOSED,
            {"vacant_ns": 1, "busy_ns": 99, **by_second(0.06, 0.07)},
            "next request at p99 of the phase's seconds (1.0% over all of it), over the budget of 5%",
        ),
        (CLOSED, {"cpu_s": 0.99}, "used 99% of a core, over the budget of 95%"),
        (OPEN, {"schedule_lateness_ms": LATE}, "requests left 400.0 ms late at p99"),
        (OPEN, {"schedule_lateness_ms": LATE}, "71.2 of the 100 requests/s asked for were achieved"),
        (
            CLOSED,
            {"cpu_share_p99": 0.98},
            "used 98% of a core at p99 of the phase's seconds (50.0% over all of it), over the budget of 95%",
        ),
        (
            OPEN,
            {"achieved_share_p1": 0.6},
            "60% of what was asked for was achieved at p1 of the phase's seconds",
        ),
        (
            STAGES,
            {"achieved_share_p1": 0.6},
            "60% of what was asked for was achieved at p1 of the phase's seconds",
        ),
    ],
)
def test_each_exceeded_budget_is_reported_with_its_remedy(load, fields, sentence):
    violations = health(load, report(), report(worker=1)).violations
    assert violations == ()
    [violation] = [text for text in health(load, report(**fields)).violations if sentence in text]
    lower = {"poisson": "rate", "stages": "load"}.get(load.pattern, "concurrency")
    assert (
        f"set `workers:` above 1, for fewer requests per load worker, or lower the {lower}; on a machine"
        in violation
    )


def test_requests_that_waited_for_connections_are_told_apart_from_a_client_that_was_late():
    fine = Quantiles(p50=0.1, p99=1.0, max=2.0)
    budget = HealthBudget(achieved_share=0.5)
    late = report(schedule_lateness_ms=LATE, issue_lateness_ms=fine)
    [violation] = client_health(OPEN, [late], budget).violations
    assert "requests left 400.0 ms late at p99" in violation
    assert "they waited for new connections" in violation


def test_with_one_request_in_flight_neither_more_workers_nor_less_load_is_advised():
    one = Load(pattern="concurrency", concurrency=1, requests=100)
    [violation] = health(one, report(vacant_ns=1, busy_ns=1)).violations
    assert violation.endswith("2%: give the client a machine, or cores, that nothing else uses")


def test_the_worst_load_worker_speaks_for_all():
    found = health(CLOSED, report(), report(worker=1, cpu_s=0.9, client_lag_ms=LATE, turnaround_ms=LATE))
    assert (found.workers, found.cpu_share, found.client_lag_ms, found.turnaround_ms) == (2, 0.9, LATE, LATE)


def test_vacancy_is_that_of_all_load_workers_together():
    found = health(CLOSED, report(vacant_ns=10, busy_ns=90), report(worker=1, vacant_ns=0, busy_ns=900))
    assert found.vacancy == 0.01
    assert health(CLOSED, report(busy_ns=900)).vacancy is None


def test_a_point_without_one_success_is_not_client_bound():
    """Requests that are refused at once keep any client busy."""
    busy = {"vacant_ns": 90, "busy_ns": 10, "cpu_s": 1.0}
    assert health(CLOSED, report(**busy)).violations != ()
    assert health(CLOSED, report(**busy, succeeded=0, failed=100)).violations == ()


def test_a_phase_without_windows_is_judged_as_a_whole():
    found = health(CLOSED, report(vacant_ns=1, busy_ns=99))
    assert (found.cpu_share_p99, found.vacancy_p99) == (0.5, 0.01)
    on_time = Quantiles(p50=0.0, p99=0.0, max=0.0)
    assert health(OPEN, report(schedule_lateness_ms=on_time)).achieved_share_p1 == 1.0


def test_windows_are_judged_by_the_worst_load_worker():
    calm = report(cpu_share_p99=0.2, achieved_share_p1=1.0)
    busy = report(cpu_share_p99=0.4, achieved_share_p1=0.96)
    found = health(CLOSED, calm, busy, report(worker=2, cpu_s=0.1))
    assert (found.cpu_share_p99, found.achieved_share_p1) == (0.4, 0.96)
    assert found.violations == ()


def test_a_budget_for_vacancy_that_is_relaxed_relaxes_its_windows_too():
    budget = HealthBudget(vacancy=0.5)
    lazy = report(vacant_ns=40, busy_ns=60, **by_second(0.45, 0.45))
    assert client_health(CLOSED, [lazy], budget).violations == ()
    assert budget.relaxed
    assert not HealthBudget(vacancy=0.01, achieved_share=0.99).relaxed


def test_concurrency_that_ran_out_of_requests_before_it_was_full_is_not_a_shortfall():
    full = {"full_load_ns": 0, "last_issue_ns": 100, "in_flight_ns": 400}
    found = health(CLOSED, report(**full), report(worker=1))
    assert (found.achieved, found.violations) == (None, ())


@pytest.mark.parametrize(
    ("load", "issued", "said"),
    [
        (CLOSED, 100, "never more than 4 requests were in flight, and 8 were asked for"),
        (Load(pattern="concurrency", concurrency=8, duration_s=5.0), 100, "4 requests were in flight, and 8"),
        (Load(pattern="concurrency", concurrency=8, requests=6), 6, "4 requests were in flight, and 6"),
        (Load(pattern="concurrency", concurrency=8, requests=4), 4, None),
        (Load(pattern="concurrency", concurrency=8, duration_s=5.0), 7, None),
        (Load(pattern="concurrency", concurrency=8, requests=100, ramp_s=1.0), 100, None),
        (Load(pattern="burst", concurrency=8, requests=100), 100, None),
        (STAGES, 100, None),
    ],
)
def test_a_concurrency_that_was_never_reached_is_client_bound(load, issued, said):
    starved = report(peak_in_flight=4, issued=issued, over=True), report(worker=1, issued=0, over=True)
    assert [said in text for text in health(load, *starved).violations] == [True] * (said is not None)
    stopped = report(peak_in_flight=4, issued=issued), report(worker=1, issued=0)
    assert health(load, *stopped).violations == ()


def test_headers_do_not_show_where_a_run_is_shown():
    run = RunSpec(
        point="p",
        nonce="n",
        api="a:b",
        streaming=True,
        targets=(),
        bodies="",
        phases=(),
        headers=(("Authorization", "Bearer sesame"),),
    )
    assert "sesame" not in repr(run)
    assert "Authorization" in repr([run])


@pytest.mark.parametrize(
    ("cores", "quota", "load", "asked", "workers"),
    [
        (8, None, Load(pattern="concurrency", concurrency=100, requests=200), None, 1),
        (8, None, Load(pattern="concurrency", concurrency=2000, requests=4000), None, 4),
        (8, None, Load(pattern="concurrency", concurrency=20_000, requests=40_000), None, 7),
        (8, 1.5, Load(pattern="concurrency", concurrency=20_000, requests=40_000), None, 1),
        (1, None, Load(pattern="concurrency", concurrency=2000, requests=4000), None, 1),
        (1, None, Load(pattern="concurrency", concurrency=2000, requests=4000), 3, 3),
        (8, None, Load(pattern="concurrency", concurrency=2, requests=9), 5, 2),
        (8, None, Load(pattern="poisson", rate=5000.0, requests=9), None, 3),
        (8, None, Load(pattern="poisson", rate=5.0, requests=9), 4, 4),
        (8, None, Load(pattern="trace", trace_ns=tuple(range(0, 10**9, 200_000))), None, 3),
    ],
)
def test_load_workers_are_as_many_as_the_load_needs_and_the_machine_has_cores_for(
    monkeypatch, cores, quota, load, asked, workers
):
    usable = Cpus(allowed=tuple(range(cores)), quota=quota, source="test")
    monkeypatch.setattr(engine, "process_cpus", lambda: usable)
    phase = PhaseSpec(label="p", load=load, samples=SampleOrder(count=1), folder="")
    run = RunSpec(
        point="", nonce="", api="", streaming=True, targets=(), bodies="", phases=(phase,), workers=asked
    )
    with ExitStack() as held:
        assert engine._workers(run, list(engine._stages(run, 0, held))) == workers
