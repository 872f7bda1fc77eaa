"""What the rate without failures can have been at most: a server that caches never passes, whatever it does on them."""

from __future__ import annotations

import heapq
import random
from typing import NamedTuple

import pytest
from audit_runs import SECOND, sent
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_bench.audits import Flight, Undecided
from pytest_bench.audits.output_caching import judge
from pytest_bench.audits.rates import ceiling_rate, upper_rate

MS = SECOND // 1000


class Job(NamedTuple):
    """A request as the server works on it."""

    work_ns: int
    fails: bool = False
    refused: bool = False
    """Fails at once, without waiting."""


class Server(NamedTuple):
    """Works on `slots` requests at a time, on each until it is done, in an order of its own."""

    slots: int
    picks: str
    seed: int

    def answer(self, jobs, in_flight):
        """The phase, with at most `in_flight` requests sent and not answered; and the work in the order it was done."""
        draw = random.Random(self.seed)
        coming, waiting, busy, succeeded, failed, done = iter(jobs), [], [], [], [], []

        def send(now):
            for job in coming:
                if not job.refused:
                    waiting.append((now, job))
                    return
                failed.append(Flight(now, now + 1))

        def take(now):
            while waiting and len(busy) < self.slots:
                place = {"first": 0, "last": -1, "any": draw.randrange(len(waiting))}[self.picks]
                sent_ns, job = waiting.pop(place)
                heapq.heappush(busy, (now + job.work_ns, sent_ns, job))
                done.append(job)

        for _ in range(in_flight):
            send(0)
        take(0)
        while busy:
            now, sent_ns, job = heapq.heappop(busy)
            (failed if job.fails else succeeded).append(Flight(sent_ns, now))
            send(now)
            take(now)
        return sent(succeeded, failed), done

    def seconds_without_failures(self, done, in_flight):
        """What the same work would have taken, in the same order, without that on requests that failed."""
        free = [0] * min(self.slots, in_flight)
        for job in done:
            if not job.fails:
                heapq.heapreplace(free, free[0] + job.work_ns)
        return max(free) / 1e9


SERVERS = st.builds(Server, st.integers(1, 9), st.sampled_from(["first", "last", "any"]), st.integers(0, 99))
WORK = st.integers(1, 900)


@st.composite
def jobs(draw, work):
    """Some that succeed and some that fail, in any order."""
    return draw(
        st.lists(
            st.one_of(
                work.map(Job),
                work.map(Job),
                st.builds(Job, st.integers(1, 9000), fails=st.just(value=True), refused=st.booleans()),
            ),
            min_size=2,
            max_size=40,
        ).filter(lambda found: any(not job.fails for job in found))
    )


@given(server=SERVERS, sent_jobs=jobs(WORK), in_flight=st.integers(1, 40))
def test_no_server_is_faster_without_its_failures_than_the_ceiling(server, sent_jobs, in_flight):
    run, done = server.answer(sent_jobs, in_flight)

    true_rate = run.completed / server.seconds_without_failures(done, in_flight)
    assert ceiling_rate(run) >= true_rate * (1 - 1e-12)


@st.composite
def audits(draw):
    """A server with a cache, and how both phases went: in the second up to one request in ten fails."""
    server = draw(SERVERS)
    requests, in_flight = draw(st.sampled_from([(20, 20), (30, 4), (40, 40), (40, 8), (60, 12)]))
    faster = draw(st.floats(1.1, 3.0))
    failures = draw(st.integers(1, requests // 10))
    places = draw(st.sets(st.integers(0, requests - 1), min_size=failures, max_size=failures))
    lengths = draw(st.lists(st.integers(1, 60_000), min_size=requests, max_size=requests))
    cached = [
        Job(lengths[place] * MS, fails=True, refused=lengths[place] % 7 == 0)
        if place in places
        else Job(round(SECOND / faster))
        for place in range(requests)
    ]
    reference, _ = server.answer([Job(SECOND)] * requests, in_flight)
    audit, done = server.answer(cached, in_flight)
    return reference, audit, audit.completed / server.seconds_without_failures(done, in_flight)


@given(audits())
def test_a_server_that_is_too_fast_without_its_failures_never_passes(found):
    reference, audit, true_rate = found
    assume(true_rate >= 1.1 * reference.throughput)

    try:
        result = judge(reference, audit, threshold=0.1, sample_index=3)
    except Undecided:
        return
    assert not result.passed


FLIGHTS = st.lists(
    st.builds(lambda start, length: Flight(start, start + length), st.integers(0, 2000), st.integers(0, 900)),
    max_size=12,
)


@given(succeeded=FLIGHTS, failed=FLIGHTS, more=FLIGHTS)
def test_one_more_failure_never_lowers_the_ceiling(succeeded, failed, more):
    assume(succeeded)
    assert ceiling_rate(sent(succeeded, [*failed, *more])) >= ceiling_rate(sent(succeeded, failed))


# By hand.


def twenty(server, *, in_flight, work=SECOND, failing=(), refused=False):
    jobs = [
        Job(failing[place], fails=True, refused=refused) if place in failing else Job(work)
        for place in range(20)
    ]
    return server.answer(jobs, in_flight)[0]


TWO_SLOTS = Server(2, "first", 0)


@pytest.mark.parametrize("in_flight", [20, 4])
def test_slow_failures_before_a_weak_cache_are_an_error_that_says_what_to_do(in_flight):
    """One of two slots is busy with two failures while the other answers from the cache, faster by 0.6."""
    reference = twenty(TWO_SLOTS, in_flight=in_flight)
    audit = twenty(TWO_SLOTS, in_flight=in_flight, work=625 * MS, failing={0: 5 * SECOND, 10: 6 * SECOND})

    assert upper_rate(audit, beside=reference) < 1.1 * reference.throughput
    with pytest.raises(Undecided, match=r"2 of 20 requests failed.*cannot be told.*or keep fewer in flight"):
        judge(reference, audit, threshold=0.1, sample_index=3)


@pytest.mark.parametrize("in_flight", [20, 4, 1])
def test_failures_that_are_refused_at_once_keep_an_honest_server_passing(in_flight):
    reference = twenty(TWO_SLOTS, in_flight=in_flight)
    audit = twenty(TWO_SLOTS, in_flight=in_flight, failing={3: 1, 9: 1}, refused=True)

    result = judge(reference, audit, threshold=0.1, sample_index=3)

    assert result.passed
    assert "However long the server worked on them" in result.explanation


def test_one_slow_failure_of_many_requests_in_few_slots_keeps_an_honest_server_passing():
    reference, audit = (
        Server(4, "first", 0).answer([*[Job(SECOND)] * 50, last, *[Job(SECOND)] * 93], 4)[0]
        for last in (Job(SECOND), Job(3 * SECOND, fails=True))
    )

    assert judge(reference, audit, threshold=0.1, sample_index=3).passed


def test_with_one_request_in_flight_the_ceiling_is_the_rate_itself():
    run = twenty(TWO_SLOTS, in_flight=1, failing={3: 60 * SECOND, 9: 1})

    assert ceiling_rate(run) == upper_rate(run, beside=run) == 1.0


def test_failures_in_flight_from_the_first_to_the_last_success_leave_no_ceiling():
    run = sent([Flight(0, SECOND)] * 8, [Flight(0, 2 * SECOND)] * 2)

    assert ceiling_rate(run) == float("inf")
    with pytest.raises(Undecided, match="without them any rate may have been answered"):
        judge(sent([Flight(0, SECOND)] * 10), run, threshold=0.2, sample_index=3)


def test_without_failures_the_ceiling_is_no_lower_than_the_rate():
    run = twenty(TWO_SLOTS, in_flight=4)

    assert ceiling_rate(run) >= run.throughput


def test_a_hundred_thousand_requests_have_a_ceiling_in_no_time():
    run = sent([Flight(0, end) for end in range(1, 100_000)], [Flight(0, 1000)])

    assert ceiling_rate(run) > run.throughput
