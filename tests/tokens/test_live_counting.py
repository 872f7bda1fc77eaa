from __future__ import annotations

import os
import time

import msgspec
import pytest
from counts_log import read_counts

from pytest_bench.cpus import Cpus
from pytest_bench.lines import encode_line, end_line, header_line
from pytest_bench.records import TextRecord
from pytest_bench.tokens.counting import count_phase
from pytest_bench.tokens.live import LiveLane, lane_beside
from pytest_bench.tokens.pool import TokenizerPool
from pytest_bench.tokens.source import resolve


@pytest.fixture(scope="module")
def idle(bpe_folder):
    with TokenizerPool(workers=1, cpus=Cpus(allowed=(1,), quota=None, source="test"), idle=True) as pool:
        yield pool.load(resolve(str(bpe_folder)))


@pytest.fixture
def growing(tmp_path, texts):
    """A text log that is written bit by bit: `grow(records)` adds that many, `end()` finishes it."""
    stream = (tmp_path / "texts.0.jsonl").open("wb", buffering=0)
    stream.write(header_line("texts", 1, worker=0))
    written = []

    def grow(count):
        for text in texts[len(written) : len(written) + count]:
            record = TextRecord(request_id=f"r{len(written)}", sample_index=0, content=text)
            stream.write(encode_line(msgspec.json.encode(record)))
            written.append(record)

    def end():
        stream.write(end_line(len(written)))

    yield grow, end
    stream.close()


def wait_until(condition):
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit, "did not happen in time"
        time.sleep(0.01)


def test_texts_counted_live_are_not_counted_again(idle, tokenizer, authority, texts, growing, tmp_path):
    grow, end = growing
    with LiveLane(idle, tmp_path) as lane:
        grow(100)
        wait_until(lambda: lane.requests == 100)
        grow(100)
        wait_until(lambda: lane.requests == 200)
        assert lane.tokens == sum(authority(text) for text in texts[:200])
    grow(100)
    end()
    result = count_phase(tokenizer, tmp_path, live=lane.finish())
    assert (result.live, result.counted, result.pending, result.complete) == (200, 300, 0, True)
    assert result.verified >= 20
    counts = read_counts(tmp_path / "tokens.jsonl").outputs
    assert [counts[f"r{number}"].content for number in range(300)] == [
        authority(text) for text in texts[:300]
    ]


def test_a_short_phase_that_was_fully_counted_live_is_verified_on_the_usual_number_of_texts(
    idle, tokenizer, growing, tmp_path
):
    grow, end = growing
    with LiveLane(idle, tmp_path) as lane:
        for records in (30, 50):
            grow(records - lane.requests)
            wait_until(lambda records=records: lane.requests == records)
    end()
    result = count_phase(tokenizer, tmp_path, live=lane.finish())
    assert (result.live, result.complete) == (50, True)
    assert result.verified >= 20


def test_a_live_lane_uses_the_verified_back_end_of_its_pool_and_is_created_once(bpe_folder, tmp_path):
    with TokenizerPool(workers=1) as pool:
        ruled_out = pool.load(resolve(str(bpe_folder)), backend="tokenizers")
        with lane_beside(ruled_out, tmp_path, workers=1) as lane:
            assert lane.finish().ranges == []
        (pid,) = lane.tokenizer.pool.pids
        assert lane.tokenizer.backend == "tokenizers"
        assert os.sched_getscheduler(pid) == os.SCHED_IDLE
        assert lane_beside(ruled_out, tmp_path, workers=1).tokenizer.pool.pids == [pid]


def test_texts_that_the_lane_cannot_count_are_counted_after_the_phase(
    tokenizer, custom_worker, bpe_folder, growing, tmp_path
):
    grow, end = growing
    called = tmp_path / "called"
    command = custom_worker(
        f"""
        class Backend(Wrapped):
            def count(self, texts):
                open({str(called)!r}, "w").close()
                raise RuntimeError("no live counting today")
        """
    )
    with TokenizerPool(workers=1, command=command, idle=True) as pool:
        with LiveLane(pool.load(resolve(str(bpe_folder))), tmp_path) as lane:
            grow(50)
            wait_until(called.exists)
        end()
        result = count_phase(tokenizer, tmp_path, live=lane.finish())
    assert (result.live, result.counted, result.complete) == (0, 50, True)


def test_the_lane_stops_at_once_while_its_worker_is_busy(custom_worker, bpe_folder, growing, tmp_path):
    grow, _ = growing
    called = tmp_path / "called"
    command = custom_worker(
        f"""
        class Backend(Wrapped):
            def count(self, texts):
                open({str(called)!r}, "w").close()
                time.sleep(600)
        """
    )
    with (
        TokenizerPool(workers=1, command=command, idle=True) as pool,
        LiveLane(pool.load(resolve(str(bpe_folder))), tmp_path) as lane,
    ):
        grow(10)
        wait_until(called.exists)
        assert lane.finish().ranges == []


def test_the_lane_runs_at_the_lowest_priority(idle):
    (pid,) = idle.pool.pids
    assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    assert os.sched_getscheduler(pid) == os.SCHED_IDLE
    assert os.sched_getaffinity(pid) == {1}
