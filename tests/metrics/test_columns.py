import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_bench.errors import EvidenceError
from pytest_bench.metrics.columns import gaps_between_tokens, read_columns, share_within
from pytest_bench.metrics.measurement import Window
from pytest_bench.metrics.spool import CHUNK, Spool
from pytest_bench.metrics.token_counts import ABSENT, TokenCount, TokenCounts, request_key
from pytest_bench.records import Usage


def test_what_a_record_does_not_hold_is_absent(record):
    columns = read_columns([record(0, send=5, last=9)])
    assert columns.scheduled_ns.tolist() == [ABSENT]
    assert columns.server_output_tokens.tolist() == [ABSENT]
    assert columns.first_content_ns.tolist() == [ABSENT]
    assert columns.last_content_ns.tolist() == [9]


def test_a_record_keeps_its_numbers_and_its_outcome(record):
    columns = read_columns(
        [
            record(
                0, send=5, first=7, gaps=(2, 3), usage=Usage(output_tokens=4, cached_tokens=1), resent=True
            ),
            record(1, send=6, outcome="failed", error="timeout", end=20),
            record(2, send=7, outcome="interrupted"),
        ]
    )
    assert columns.send_start_ns.tolist() == [5, 6, 7]
    assert columns.last_content_ns.tolist() == [12, ABSENT, ABSENT]
    assert columns.content_events.tolist() == [3, 0, 0]
    assert columns.server_output_tokens.tolist() == [4, ABSENT, ABSENT]
    assert columns.succeeded.tolist() == [True, False, False]
    assert columns.failed.tolist() == [False, True, False]
    assert columns.resent.tolist() == [True, False, False]
    assert columns.failures == {"timeout": 1}


def test_gaps_of_failed_requests_are_not_pooled(record):
    columns = read_columns(
        [record(0, first=1, gaps=(2, 3)), record(1, first=1, gaps=(50,), outcome="failed")]
    )
    assert np.concatenate(list(columns.gaps.chunks())).tolist() == [2, 3]


def test_two_records_of_one_request_are_refused(record):
    with pytest.raises(EvidenceError, match="same request id"):
        read_columns([record(0, request_id="r"), record(1, request_id="r")])


def test_a_phase_without_records_has_empty_columns():
    columns = read_columns([])
    assert len(columns) == 0
    assert columns.end_ns.tolist() == []


def test_token_gaps_come_from_streams_in_which_every_event_states_its_tokens(record):
    told = record(0, first=1, gaps=(10, 20), content_event_tokens=(1, 2, 1))
    untold = record(1, first=1, gaps=(10,))
    columns = read_columns([untold, told])
    assert np.concatenate(list(columns.token_gaps.chunks())).tolist() == [5, 20]
    assert np.concatenate(list(columns.token_gap_times.chunks())).tolist() == [2, 1]
    assert columns.first_event_tokens.tolist() == [ABSENT, 1]
    assert columns.gap_count.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("gaps", "tokens", "between", "times"),
    [
        ((10, 20), (1, 1, 1), [10, 20], [1, 1]),
        ((10, 20), (3, 1, 2), [10, 10], [1, 2]),
        ((10, 20), (1, 0, 1), [30], [1]),
        ((10, 20), (0, 1, 1), [20], [1]),
        ((10, 20), (1, 1, 0), [10], [1]),
        ((), (1,), [], []),
        ((10,), (1, 1 << 62), [0], [1 << 62]),
    ],
)
def test_tokens_share_the_gap_before_their_event(gaps, tokens, between, times):
    assert gaps_between_tokens(gaps, tokens) == (between, times)


def test_gaps_of_streams_that_came_at_once_are_not_pooled(record):
    columns = read_columns([record(0, first=1, gaps=(0, 0)), record(1, first=1, gaps=(0, 7))])
    assert np.concatenate(list(columns.gaps.chunks())).tolist() == [0, 7]


WINDOW = Window(start_ns=100, end_ns=200)


def test_a_stream_within_the_window_counts_whole_and_one_outside_not_at_all(record):
    assert share_within(record(0, first=101, gaps=(99,)), WINDOW) == 1.0
    assert share_within(record(0, first=50, gaps=(50,)), WINDOW) == 0.0
    assert share_within(record(0, first=201, gaps=(5,)), WINDOW) == 0.0


def test_a_stream_across_the_edge_counts_by_its_event_stamps(record):
    assert share_within(record(0, first=90, gaps=(20, 20, 100)), WINDOW) == 0.5


def test_events_count_by_their_tokens_if_the_server_reports_them(record):
    across = record(0, first=90, gaps=(20, 100), content_event_tokens=(1, 8, 1))
    assert share_within(across, WINDOW) == 0.8


def test_a_response_that_is_not_streamed_counts_at_its_end(record):
    assert share_within(record(0, send=50, last=150), WINDOW) == 1.0
    assert share_within(record(0, send=150, last=250), WINDOW) == 0.0
    assert share_within(record(0, send=150, outcome="failed"), WINDOW) == 0.0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the fixture holds no state
@given(first=st.integers(0, 300), gaps=st.lists(st.integers(0, 60), max_size=8), edge=st.integers(0, 300))
def test_windows_that_share_an_edge_count_every_event_once(record, first, gaps, edge):
    stream = record(0, first=first + 1, gaps=tuple(gaps))
    halves = Window(start_ns=0, end_ns=edge), Window(start_ns=edge, end_ns=10_000)
    assert sum(share_within(stream, half) for half in halves) == pytest.approx(1.0)


def test_a_spool_returns_its_values_from_memory_and_from_its_file(tmp_path):
    spool = Spool(folder=tmp_path, memory=CHUNK)
    for start in range(0, 4 * CHUNK, CHUNK // 2):
        spool.extend(range(start, start + CHUNK // 2))
    spool.extend([-7])
    for _ in range(2):
        values = np.concatenate(list(spool.chunks()))
        assert values.size == spool.count == 4 * CHUNK + 1
        assert (values[:-1] == np.arange(4 * CHUNK)).all()
        assert values[-1] == -7


def test_a_spool_leaves_no_file_behind(tmp_path):
    spool = Spool(folder=tmp_path, memory=0)
    spool.extend(range(2 * CHUNK))
    assert spool.count == 2 * CHUNK
    assert list(tmp_path.iterdir()) == []


def test_token_counts_are_found_by_request_id_in_any_order():
    counts = TokenCounts([TokenCount("b", 1, 2, 3), TokenCount("a", 4, None)])
    lengths = counts.of(np.array([request_key("a"), request_key("x"), request_key("b")]))
    assert lengths.input.tolist() == [4, ABSENT, 1]
    assert lengths.output.tolist() == [ABSENT, ABSENT, 2]
    assert lengths.first_event.tolist() == [ABSENT, ABSENT, 3]
    assert len(counts) == 2


def test_a_request_counted_twice_is_refused():
    with pytest.raises(EvidenceError, match="counted twice"):
        TokenCounts([TokenCount("a", 1, 1), TokenCount("a", 1, 1)])


def test_no_counts_find_nothing():
    assert TokenCounts([]).of(np.array([request_key("a")])).output.tolist() == [ABSENT]
