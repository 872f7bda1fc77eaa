"""How requests are issued: patterns, stop conditions, order, phases; counted by the server, too."""

import math
import time
from collections import Counter
from itertools import pairwise

import pytest
from driving import SAMPLES, phase, truth_of

from pytest_bench.load import engine
from pytest_bench.load.order import sample_function
from pytest_bench.load.schedule import arrivals_ns
from pytest_bench.workload import Load, SampleOrder, Timeouts

MS = 10**6
SECOND = 10**9
WORKERS = pytest.mark.parametrize("workers", [1, 2, 3])
FEW_OR_MANY = pytest.mark.parametrize("workers", [1, 3])


def closed(concurrency, requests=None, **fields):
    return Load(pattern="concurrency", concurrency=concurrency, requests=requests, **fields)


def peak(truth):
    return max(record.in_flight for record in truth.records)


def overlap(records):
    """Most requests in flight at once, by the records themselves."""
    events = [(record.send_start_ns, 1) for record in records] + [(record.end_ns, -1) for record in records]
    level = most = 0
    for _, step in sorted(events):
        level += step
        most = max(most, level)
    return most


@WORKERS
def test_concurrency_keeps_exactly_n_in_flight_and_never_one_more(simulator, drive, workers):
    run = drive(simulator.url, closed(7, 70), workers=workers, knobs={"ttft_ms": 15})
    truth = truth_of(simulator, run)
    assert peak(truth) == 7
    assert run.result.peak_in_flight == overlap(run.records()) == 7
    assert (run.result.issued, run.result.succeeded, run.result.complete) == (70, 70, True)
    assert run.result.health.workers == workers
    assert 0 < run.result.health.achieved <= 7
    assert sum(record.in_flight == 7 for record in truth.records) >= 5


@WORKERS
@pytest.mark.parametrize("order", ["without_replacement", "with_replacement", "sequential"])
def test_closed_loop_issues_the_same_count_order_and_samples_for_any_number_of_workers(
    simulator, drive, workers, order
):
    samples = SampleOrder(order=order, count=40, first=10, seed=5)
    run = drive(simulator.url, phase(closed(6, 90), samples=samples), workers=workers)
    records = run.records()
    assert sorted(record.index for record in records) == list(range(90))
    sample = sample_function(samples)
    assert all(record.sample_index == sample(record.index) for record in records)
    for ids in run.ids_by_worker():
        own = [record.index for record in records if record.request_id in ids]
        assert own == sorted(own)


def test_uneven_workers_leave_no_tail(simulator, drive):
    """Any free load worker takes the last requests: none has a fixed share of them."""
    run = drive(simulator.url, closed(4, 40), workers=3, knobs={"ttft_ms": 30})
    records = run.records()
    last_issue_ns = records[-1].send_start_ns
    own = [[record for record in records if record.request_id in ids] for ids in run.ids_by_worker()]
    assert sum(map(len, own)) == 40
    # Up to the last issue, each has its share in flight.
    for share, mine in zip((2, 1, 1), own, strict=True):
        assert sum(record.send_start_ns <= last_issue_ns <= record.end_ns for record in mine) >= share - 1


def test_the_order_single_requests_one_sample_every_time(simulator, drive):
    samples = SampleOrder(order="single", count=SAMPLES, index=9)
    run = drive(simulator.url, phase(closed(3, 12), samples=samples))
    assert {record.sample_index for record in run.records()} == {9}


def test_a_ramp_adds_requests_in_flight_evenly(simulator, drive):
    load = closed(10, duration_s=0.6, ramp_s=0.4)
    run = drive(simulator.url, load, workers=2, knobs={"ttft_ms": 4})
    start = run.result.start_ns
    ramp = [
        (record.first_request_byte_ns - start, record.in_flight)
        for record in truth_of(simulator, run).records
    ]
    assert all(level <= 1 + 9 * at / (0.4 * SECOND) + 1e-9 for at, level in ramp)
    assert max(level for at, level in ramp if at < 0.2 * SECOND) <= 5
    assert max(level for _, level in ramp) == 10
    assert (run.result.full_load_ns - start) / SECOND >= 0.4


@FEW_OR_MANY
@pytest.mark.parametrize("before", [[], [phase(closed(8, 16), "warmup", handover="overlap")]])
def test_a_burst_schedules_everything_at_once_within_its_limit_of_connections(
    simulator, drive, workers, before
):
    burst = Load(pattern="burst", requests=60, concurrency=8)
    run = drive(simulator.url, *before, burst, workers=workers, knobs={"ttft_ms": 5})
    truth = truth_of(simulator, run)
    for record in run.records():
        # A load worker that takes over while another draws the first ticket knows only its own start time.
        assert abs(record.scheduled_ns - run.result.start_ns) < (SECOND if before else 1)
        assert record.scheduled_ns <= record.send_start_ns
    assert (run.result.issued, peak(truth)) == (60, 8)
    assert len({record.connection for record in truth.records}) <= 8


@WORKERS
@pytest.mark.parametrize("pattern", ["constant", "poisson", "gamma"])
def test_open_loop_issues_the_same_requests_at_the_same_times_for_any_number_of_workers(
    simulator, drive, workers, pattern
):
    load = Load(pattern=pattern, rate=400.0, requests=80, burstiness=0.5)
    run = drive(simulator.url, phase(load, arrival_seed=3), workers=workers, knobs={"ttft_ms": 30})
    records = sorted(run.records(), key=lambda record: record.index)
    assert [record.index for record in records] == list(range(80))
    wanted = (arrivals_ns(load, 3) + run.result.start_ns).tolist()
    assert [record.scheduled_ns for record in records] == wanted
    assert [record.sample_index for record in records] == [index % SAMPLES for index in range(80)]
    assert all(record.send_start_ns >= record.scheduled_ns for record in records)


def test_open_loop_does_not_wait_for_a_slow_server(simulator, drive):
    load = Load(pattern="constant", rate=100.0, requests=30)
    run = drive(simulator.url, load, knobs={"ttft_ms": 400})
    assert peak(truth_of(simulator, run)) == 30
    assert run.result.peak_in_flight == 30


def test_a_trace_is_replayed_to_the_millisecond(simulator, drive):
    trace = tuple(at * MS for at in (0, 0, 0, 40, 41, 90, 200))
    run = drive(simulator.url, Load(pattern="trace", trace_ns=trace), workers=2)
    records = sorted(run.records(), key=lambda record: record.index)
    assert [record.scheduled_ns - run.result.start_ns for record in records] == list(trace)
    assert all(record.send_start_ns >= record.scheduled_ns for record in records)


def test_arrival_seed_and_sample_seed_are_independent(simulator, drive):
    def driven(arrival_seed, sample_seed):
        samples = SampleOrder(count=SAMPLES, seed=sample_seed)
        load = Load(pattern="poisson", rate=1000.0, requests=30)
        run = drive(simulator.url, phase(load, samples=samples, arrival_seed=arrival_seed))
        records = sorted(run.records(), key=lambda record: record.index)
        times = [record.scheduled_ns - run.result.start_ns for record in records]
        return times, [record.sample_index for record in records]

    times, samples = driven(1, 1)
    assert driven(1, 2) == (times, driven(2, 2)[1])
    assert driven(2, 1)[1] == samples
    assert driven(2, 1)[0] != times


# Open loop with a cap.


def capped(places, rate=400.0, requests=60, **fields):
    return Load(pattern="constant", rate=rate, requests=requests, max_concurrency=places, **fields)


@WORKERS
def test_a_cap_on_an_open_loop_makes_requests_wait_for_one_that_ends(simulator, drive, workers):
    load = capped(7)
    run = drive(simulator.url, load, workers=workers, knobs={"ttft_ms": 60})
    records = sorted(run.records(), key=lambda record: record.index)
    result, health = run.result, run.result.health
    assert peak(truth_of(simulator, run)) == overlap(records) == result.peak_in_flight == 7
    assert [record.index for record in records] == list(range(60))
    wanted = (arrivals_ns(load, 0) + result.start_ns).tolist()
    assert [record.scheduled_ns for record in records] == wanted
    waited = [record for record in records if record.place_free_ns is not None]
    assert health.held == len(waited) >= 40
    assert {record.place_free_ns for record in waited} <= {record.end_ns for record in records}
    assert len({record.place_free_ns for record in waited}) == len(waited)
    assert all(record.scheduled_ns < record.place_free_ns <= record.send_start_ns for record in waited)
    # The client was late by what it added to the wait, not by the wait.
    late_ns = [record.send_start_ns - (record.place_free_ns or record.scheduled_ns) for record in records]
    assert health.schedule_lateness_ms.max == max(late_ns) / MS
    assert health.asked == pytest.approx(400)
    assert health.achieved <= health.possible < 0.95 * health.asked
    assert result.complete


def test_requests_that_wait_for_a_place_are_sent_in_the_order_of_the_schedule(simulator, drive):
    run = drive(simulator.url, capped(3, requests=30), workers=1, knobs={"ttft_ms": 30})
    assert [record.index for record in run.records()] == list(range(30))


def test_a_cap_that_is_never_reached_changes_nothing(simulator, drive):
    run = drive(simulator.url, capped(64, requests=40), workers=2)
    assert not any(record.place_free_ns for record in run.records())
    assert (run.result.health.held, run.result.health.possible, run.result.issued) == (0, None, 40)


@WORKERS
def test_an_overlapping_warm_up_counts_towards_the_cap(simulator, drive, workers):
    warm = phase(capped(5, requests=20), "warmup", handover="overlap")
    run = drive(simulator.url, warm, capped(5, requests=30), workers=workers, knobs={"ttft_ms": 50})
    assert [result.issued for result in run.results] == [20, 30]
    assert peak(truth_of(simulator, run)) == 5
    assert run.result.complete


def test_a_load_worker_without_a_place_leaves_its_arrivals_to_the_others(simulator, drive):
    stages = (closed(6, 12), capped(1, requests=9), capped(2, requests=9))
    run = drive(simulator.url, Load(pattern="stages", stages=stages), workers=3, knobs={"ttft_ms": 10})
    assert (run.result.issued, run.result.succeeded, run.result.complete) == (30, 30, True)
    later = [record for record in run.records() if record.index >= 12]
    assert overlap(later[:9]) == 1
    assert overlap(later[9:]) == 2


def test_all_scheduled_requests_are_sent_though_their_duration_is_over(simulator, drive):
    load = Load(pattern="constant", rate=200.0, duration_s=0.1, max_concurrency=2)
    run = drive(simulator.url, load, knobs={"ttft_ms": 30})
    assert (run.result.issued, run.result.complete) == (20, True)


# When a phase stops.


@FEW_OR_MANY
def test_a_duration_stops_issuing_and_lets_what_is_in_flight_finish(simulator, drive, workers):
    run = drive(simulator.url, closed(5, duration_s=0.3), workers=workers, knobs={"ttft_ms": 40})
    result = run.result
    assert result.last_completion_ns > result.last_issue_ns
    assert (result.interrupted, result.complete) == (0, True)
    assert result.issued == result.succeeded == len(run.records())


@FEW_OR_MANY
def test_with_and_a_minimum_duration_is_enforced_after_the_count_is_reached(simulator, drive, workers):
    load = closed(4, 10, duration_s=0.3, stop="and")
    run = drive(simulator.url, load, workers=workers, knobs={"ttft_ms": 5})
    assert run.result.issued > 10
    # The place of a response that the client reads earlier is taken again, so that it reads some response later.
    # Its end is stamped when it arrives, which may be before the limit.
    read_ns = [record.end_ns + record.seen_after_ns.end for record in run.records()]
    assert max(read_ns) - run.result.start_ns >= 0.3 * SECOND
    assert sorted(record.index for record in run.records()) == list(range(run.result.issued))


@FEW_OR_MANY
def test_with_and_a_minimum_count_is_enforced_after_the_duration_is_over(simulator, drive, workers):
    load = closed(4, 60, duration_s=0.05, stop="and")
    run = drive(simulator.url, load, workers=workers, knobs={"ttft_ms": 15})
    assert run.result.issued == 60
    assert run.result.last_issue_ns - run.result.start_ns > 0.1 * SECOND


def test_with_or_the_first_limit_reached_stops_the_phase(simulator, drive):
    by_count = drive(simulator.url, closed(4, 12, duration_s=30.0), knobs={"ttft_ms": 5})
    assert by_count.result.issued == 12
    by_time = drive(simulator.url, closed(4, 100_000, duration_s=0.1), knobs={"ttft_ms": 5})
    assert by_time.result.issued < 100_000
    # None is issued after the limit; the last may be as late as the machine lets it be after it was decided upon.
    decided = sorted(record.send_start_ns for record in by_time.records())[:-4]
    assert all(at_ns - by_time.result.start_ns < 0.1 * SECOND for at_ns in decided)


def test_open_loop_and_minimum_count_or_duration_hold_alike(simulator, drive):
    long = Load(pattern="constant", rate=100.0, requests=5, duration_s=0.3, stop="and")
    assert drive(simulator.url, long).result.issued == 31
    many = Load(pattern="constant", rate=200.0, requests=40, duration_s=0.05, stop="and")
    assert drive(simulator.url, many).result.issued == 40


@pytest.mark.parametrize("pattern", ["constant", "poisson"])
def test_an_open_loop_phase_is_never_shorter_than_its_enforced_minimum(simulator, drive, pattern):
    load = Load(pattern=pattern, rate=10.0, requests=1, duration_s=0.3, stop="and")
    ended = drive(simulator.url, load, knobs={"ttft_ms": 20}).result
    assert ended.last_completion_ns - ended.first_issue_ns >= 0.3 * SECOND


def test_an_open_loop_phase_without_a_single_arrival_ends_when_it_should(simulator, drive):
    run = drive(simulator.url, Load(pattern="trace", trace_ns=(5 * SECOND,), duration_s=0.1))
    assert (run.result.issued, run.result.complete) == (0, False)


def test_requests_still_in_flight_when_draining_is_over_are_interrupted(simulator, drive):
    run = drive(
        simulator.url,
        closed(4, duration_s=0.15),
        workers=2,
        knobs={"fault": "stall"},
        timeouts=Timeouts(drain_s=0.2),
    )
    result = run.result
    assert (result.issued, result.interrupted, result.complete) == (4, 4, False)
    assert {record.outcome for record in run.records()} == {"interrupted"}


# Phases after each other.


@FEW_OR_MANY
@pytest.mark.parametrize("handover", ["drain", "overlap"])
def test_a_warm_up_is_a_phase_of_its_own_with_samples_of_its_own(simulator, drive, workers, handover):
    warm = phase(
        closed(6, 18),
        "warmup",
        samples=SampleOrder(order="sequential", count=20),
        handover=handover,
    )
    main = phase(closed(6, 30), samples=SampleOrder(order="sequential", count=30, first=20))
    varied = {"ttft_ms": 30, "ttft_distribution": "uniform", "spread": 0.9, "cache_after": 2}
    run = drive(simulator.url, warm, main, workers=workers, knobs=varied)
    warmup, measured = run.results
    assert (warmup.label, warmup.issued, warmup.succeeded) == ("warmup", 18, 18)
    assert (measured.label, measured.issued, measured.succeeded) == ("main", 30, 30)
    assert all(record.sample_index < 20 for record in run.records("warmup"))
    assert all(record.sample_index >= 20 for record in run.records())
    truth = truth_of(simulator, run)
    assert not any(record.cached for record in truth.records)
    assert peak(truth) == 6
    ids = {record.request_id for record in run.records()}
    first = min(record.first_request_byte_ns for record in truth.records if record.request_id in ids)
    last = max(record.write_ns[-1] for record in truth.records if record.request_id not in ids)
    assert (first > last) == (handover == "drain")


def test_an_overlapping_warm_up_never_lets_the_load_fall(simulator, drive):
    warm = phase(closed(6, 18), "warmup", handover="overlap")
    run = drive(simulator.url, warm, closed(6, 30), knobs={"ttft_ms": 30})
    truth = truth_of(simulator, run)
    places = range(6, len(truth.records) - 1)
    assert all(truth.records[place].in_flight >= 1 for place in places)


@FEW_OR_MANY
def test_full_load_begins_when_nothing_of_an_overlapping_warm_up_is_left_in_flight(simulator, drive, workers):
    warm = phase(closed(6, 18), "warmup", handover="overlap")
    varied = {"ttft_ms": 30, "ttft_distribution": "uniform", "spread": 0.9}
    run = drive(simulator.url, warm, closed(6, 72), workers=workers, knobs=varied)
    full_ns = run.result.full_load_ns
    assert run.result.start_ns < max(record.end_ns for record in run.records("warmup")) <= full_ns
    assert full_ns < run.result.last_issue_ns


def test_closed_loop_is_followed_by_open_loop_and_back(simulator, drive):
    warm = phase(closed(3, 9), "warmup", handover="overlap")
    rated = phase(Load(pattern="poisson", rate=200.0, requests=20), "rated", handover="overlap")
    run = drive(simulator.url, warm, rated, closed(3, 9), workers=2, knobs={"ttft_ms": 20})
    assert [result.issued for result in run.results] == [9, 20, 9]
    assert all(result.complete for result in run.results)


def test_stages_run_one_after_the_other_in_one_phase(simulator, drive):
    stages = (closed(2, 10), Load(pattern="constant", rate=200.0, requests=20), closed(5, 15))
    run = drive(simulator.url, Load(pattern="stages", stages=stages), workers=2, knobs={"ttft_ms": 10})
    records = run.records()
    assert run.result.issued == 45
    assert sorted(record.index for record in records) == list(range(45))
    by_stage = [records[:10], records[10:30], records[30:]]
    assert [overlap(stage) for stage in (by_stage[0], by_stage[2])] == [2, 5]
    for earlier, later in pairwise(by_stage):
        assert max(record.end_ns for record in earlier) < min(record.send_start_ns for record in later)


@FEW_OR_MANY
def test_stages_of_unknown_length_use_every_sample_before_any_twice(simulator, drive, workers):
    stages = (closed(2, duration_s=0.1), closed(4, duration_s=0.1), closed(3, 12))
    load = Load(pattern="stages", stages=stages, handover="overlap")
    samples = SampleOrder(count=SAMPLES, seed=1)
    run = drive(simulator.url, phase(load, samples=samples), workers=workers, knobs={"ttft_ms": 5})
    assert sorted(record.index for record in run.records()) == list(range(run.result.issued))
    used = Counter(record.sample_index for record in run.records())
    assert max(used.values()) - min([used.get(sample, 0) for sample in range(SAMPLES)]) <= 1


def test_an_overlapping_stage_begins_on_time_though_all_of_the_one_before_is_in_flight(simulator, drive):
    stages = (closed(2, duration_s=0.1), closed(6, 6))
    load = Load(pattern="stages", stages=stages, handover="overlap")
    run = drive(simulator.url, load, knobs={"ttft_ms": 600})
    sent = [record.send_start_ns - run.result.start_ns for record in run.records()]
    assert overlap(run.records()) == 6
    assert sent[1] < sent[2]
    assert all(at > 0.1 * SECOND for at in sent[2:6])


def test_progress_counts_the_phase_that_is_being_issued(simulator, drive):
    seen = []
    warm = phase(closed(4, 20), "warmup")
    run = drive(simulator.url, warm, closed(4, 40), knobs={"ttft_ms": 60}, on_progress=seen.append)
    assert [result.issued for result in run.results] == [20, 40]
    assert sorted({progress.phase for progress in seen}) == [0, 1]
    last = seen[-1]
    assert (last.issued, last.succeeded, last.failed, last.in_flight) == (40, 40, 0, 0)
    assert last.events == sum(record.content_event_count for record in run.records())
    assert last.elapsed_s > 0
    assert math.isfinite(seen[0].elapsed_s)
    assert all(progress.issued <= 20 for progress in seen if progress.phase == 0)


@pytest.mark.parametrize("second", [closed(4, 20), Load(pattern="constant", rate=200.0, requests=10)])
def test_a_phase_is_announced_between_the_one_that_was_drained_and_its_own_first_request(
    simulator, drive, second
):
    announced = []

    def entered(number):
        announced.append((number, time.monotonic_ns()))
        time.sleep(0.05)  # however long this takes, nothing is sent meanwhile

    spec, run = drive.spec(simulator.url, phase(closed(4, 8), "warmup"), second, knobs={"ttft_ms": 5})
    engine.run(spec, None, entered)
    [(number, at_ns)] = announced
    assert number == 1
    assert max(record.end_ns for record in run.records("warmup")) < at_ns
    assert min(record.send_start_ns for record in run.records()) > at_ns + 50 * MS


def test_a_phase_that_overlaps_the_one_before_is_announced_as_it_begins(simulator, drive):
    announced = []
    warm = phase(closed(4, 8), "warmup", handover="overlap")
    spec, run = drive.spec(simulator.url, warm, closed(4, 200), knobs={"ttft_ms": 20})
    engine.run(spec, None, lambda number: announced.append((number, time.monotonic_ns())))
    [(number, at_ns)] = announced
    assert number == 1
    sent = sorted(record.send_start_ns for record in run.records())
    assert sent[0] < at_ns < sent[-1]


def test_with_and_fewer_requests_than_the_concurrency_do_not_hold_it_back(simulator, drive):
    run = drive(
        simulator.url, closed(8, requests=3, duration_s=0.3, stop="and"), workers=2, knobs={"ttft_ms": 20}
    )
    assert run.result.peak_in_flight == 8
    assert run.result.health.asked == 8


@FEW_OR_MANY
def test_a_warm_up_of_one_request_does_not_take_load_workers_from_what_follows(simulator, drive, workers):
    phases = [phase(closed(4, requests=1), "warmup"), phase(closed(4, requests=40))]
    run = drive(simulator.url, *phases, workers=workers, knobs={"ttft_ms": 5})
    assert [result.issued for result in run.results] == [1, 40]
    assert [result.health.workers for result in run.results] == [workers, workers]
    assert None not in [result.full_load_ns for result in run.results], (
        "a load worker without a share does not hide it"
    )
    assert run.result.peak_in_flight == peak(truth_of(simulator, run)) == 4
