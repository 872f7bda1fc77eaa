"""What the tables and the status files of several nodes come to."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.cluster.combining import NodeStatus, judge
from pytest_bench.cluster.tables import Candidate, Row, Table, pick, read_table
from pytest_bench.errors import EvidenceError
from pytest_bench.verdict.outcome import Outcome


def table(**values):
    return Table(rows=tuple(Row(model="m", metric=metric, value=value) for metric, value in values.items()))


def status(rank, exit_status=0, ended_ns=0, phase=""):
    return NodeStatus(rank=rank, host=f"n{rank}", exit_status=exit_status, ended_ns=ended_ns, phase=phase)


def all_good(size):
    return {rank: status(rank) for rank in range(size)}


def judged(size=2, statuses=None, tables=None, *, picked=0, is_over=True, combine=None, expect_rows=()):
    return judge(
        size,
        all_good(size) if statuses is None else statuses,
        {0: table(req=1.0)} if tables is None else tables,
        picked=picked,
        combine=combine or {},
        expect_rows=expect_rows,
        is_over=is_over,
    )


EMPTY = Table(rows=())


@pytest.mark.parametrize(
    ("case", "outcome", "codes"),
    [
        ({}, Outcome.PASS, []),
        ({"size": 1}, Outcome.PASS, []),
        # An empty table: at once an error on one node, pending until all have reported on several.
        ({"size": 1, "tables": {0: EMPTY}}, Outcome.ERROR, ["no-results"]),
        ({"tables": {0: EMPTY}, "statuses": {0: status(0)}, "is_over": False}, None, []),
        ({"tables": {0: EMPTY, 1: EMPTY}, "is_over": False}, Outcome.ERROR, ["no-results"]),
        ({"tables": {0: EMPTY, 1: table(req=1.0)}, "picked": 1}, Outcome.PASS, []),
        ({"tables": {0: EMPTY}, "statuses": {0: status(0)}}, Outcome.ERROR, ["no-report"]),
        ({"tables": {}, "picked": None}, Outcome.ERROR, ["no-results"]),
        # A rank that never reports is an error, whatever the others measured.
        ({"statuses": {0: status(0)}}, Outcome.ERROR, ["no-report"]),
        ({"statuses": {0: status(0)}, "is_over": False}, None, []),
        ({"statuses": {}}, Outcome.ERROR, ["no-report", "no-report"]),
        # A rank that failed is an error at once.
        ({"statuses": {0: status(0), 1: status(1, 3)}}, Outcome.ERROR, ["node-failed"]),
        ({"statuses": {1: status(1, -9)}, "is_over": False}, Outcome.ERROR, ["node-failed"]),
        # Expected rows.
        ({"expect_rows": [("m", "req")]}, Outcome.PASS, []),
        ({"expect_rows": [("m", "tok")]}, Outcome.FAIL, ["row-missing"]),
        ({"expect_rows": [("other", "req")]}, Outcome.FAIL, ["row-missing"]),
        ({"tables": {0: table(req=None)}}, Outcome.ERROR, ["not-measured"]),
        ({"tables": {0: Table(rows=table(req=1.0).rows * 2)}}, Outcome.ERROR, ["row-repeated"]),
        # A metric that is combined is in a table.
        ({"combine": {"tok": "pick"}}, Outcome.FAIL, ["row-missing"]),
        # Several nodes become one value.
        ({"tables": {0: table(req=1.0), 1: table(req=2.0)}}, Outcome.PASS, []),
        (
            {"tables": {0: table(req=1.0), 1: table(req=2.0)}, "combine": {"req": "equal"}},
            Outcome.FAIL,
            ["nodes-differ"],
        ),
        ({"tables": {0: table(req=2.0), 1: table(req=2.0)}, "combine": {"req": "equal"}}, Outcome.PASS, []),
        ({"combine": {"req": "equal"}}, Outcome.ERROR, ["not-measured"]),
        ({"combine": {"req": "sum"}}, Outcome.ERROR, ["not-measured"]),
        (
            {"tables": {0: table(req=1.0), 1: table(req=None)}, "combine": {"req": "max"}},
            Outcome.ERROR,
            ["not-measured"],
        ),
        (
            {"tables": {0: table(req=1e308), 1: table(req=1e308)}, "combine": {"req": "sum"}},
            Outcome.ERROR,
            ["not-finite"],
        ),
    ],
)
def test_the_outcome_of_several_nodes(case, outcome, codes):
    found = judged(**case)
    assert (found.outcome, [reason.code for reason in found.reasons]) == (outcome, codes)


@pytest.mark.parametrize(("how", "value"), [("pick", 1.0), ("sum", 4.0), ("mean", 2.0), ("max", 3.0)])
def test_values_of_two_nodes_become_one(how, value):
    found = judged(tables={0: table(req=1.0), 1: table(req=3.0)}, combine={"req": how})
    (row,) = found.rows
    assert (found.outcome, row.value, row.values) == (Outcome.PASS, value, {0: 1.0, 1: 3.0})


def test_the_earliest_failure_is_shown_first_and_the_others_name_it():
    statuses = {
        0: status(0, 1, ended_ns=30),
        1: status(1, 143, ended_ns=20),
        2: status(2, -9, ended_ns=10, phase="loading"),
    }
    found = judged(3, statuses)
    assert [reason.sentence for reason in found.reasons] == [
        "rank 2 (n2) was killed by signal 9 while loading",
        "rank 1 (n1) ended with status 143: stopped because of rank 2 (n2)",
        "rank 0 (n0) ended with status 1: stopped because of rank 2 (n2)",
    ]


def test_a_rank_that_was_stopped_is_never_the_cause():
    stopped = NodeStatus(rank=0, host="n0", exit_status=143, ended_ns=10, stopped=True)
    assert [reason.sentence for reason in judged(2, {0: stopped, 1: status(1, 3, ended_ns=20)}).reasons] == [
        "rank 1 (n1) ended with status 3",
        "rank 0 (n0) ended with status 143: stopped because of rank 1 (n1)",
    ]
    assert [reason.sentence for reason in judged(2, {0: stopped}).reasons] == [
        "rank 1 never reported: expected a status file of each of 2 nodes",
        "rank 0 (n0) ended with status 143: stopped because of rank 1, which never reported",
    ]


def test_a_failure_says_what_the_exit_status_does_not():
    failed = NodeStatus(rank=0, host="n0", exit_status=124, ended_ns=1, problem="it was too slow")
    (reason,) = judged(1, {0: failed}).reasons
    assert reason.sentence == "rank 0 (n0) ended with status 124: it was too slow"


TABLES = st.dictionaries(st.integers(0, 3), st.just(table(req=1.0)) | st.just(EMPTY))


@given(
    st.dictionaries(st.integers(0, 3), st.integers(-15, 2)),
    TABLES,
    st.none() | st.integers(0, 3),
    st.sampled_from(["pick", "equal", "sum", "mean", "max"]),
)
def test_a_dead_rank_is_never_good(exits, tables, picked, how):
    statuses = {rank: status(rank, code) for rank, code in exits.items()}
    found = judge(4, statuses, tables, picked=picked, combine={"req": how}, is_over=True)
    assert found.outcome is not None
    if len(exits) < 4 or any(exits.values()):
        assert found.outcome is Outcome.ERROR
    if found.outcome is Outcome.PASS:
        assert picked in tables
        assert all(row.value is not None for row in found.rows)


def test_a_table_is_read_as_people_write_it():
    data = "\ufeffModel , PERFORMANCE,Metric,extra\r\n\r\nm,1.5,req,x\nm, N/A ,tok\nm,nan,a\nm,,b\nm,inf,c\n".encode()
    rows = read_table(data, "perf.csv").rows
    assert [(row.metric, row.value) for row in rows] == [
        ("req", 1.5),
        ("tok", None),
        ("a", None),
        ("b", None),
        ("c", None),
    ]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b" , \n"])
def test_a_file_without_a_line_is_an_empty_table(data):
    assert read_table(data, "perf.csv") == EMPTY


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"model,metric\nm,req\n", "perf.csv:1: expected the columns model, performance, metric, each once"),
        (b"model,performance,metric,Metric\n", "perf.csv:1: expected the columns"),
        (b"model,performance,metric\nm,fast,req\n", "perf.csv:2: performance 'fast': expected a number"),
        (b"model,performance,metric\nm,1\n", "perf.csv:2: has 2 cells"),
        (b"\xff\xfe", "perf.csv: is not a CSV file in UTF-8"),
    ],
)
def test_anything_else_is_an_error_with_its_line(data, told):
    with pytest.raises(EvidenceError) as error:
        read_table(data, "perf.csv")
    assert told in str(error.value)


@given(
    st.binary(max_size=100)
    | st.text(max_size=100).map(lambda text: f"model,performance,metric\n{text}".encode())
)
def test_no_file_raises_another_error(data):
    with contextlib.suppress(EvidenceError):
        read_table(data, "perf.csv")


def candidate(rank, found, **changes):
    fields = {"path": f"n{rank}.csv", "rank": rank, "job": "7", "modified_ns": 100, "table": found, **changes}
    return Candidate(**fields)


FULL = table(a=1.0, b=2.0)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (candidate(1, FULL), candidate(0, table(a=1.0, b=None, c=None))),
        (candidate(1, table(a=1.0, b=None)), candidate(0, table(a=1.0))),
        (candidate(1, FULL, modified_ns=101), candidate(0, FULL)),
        (candidate(0, FULL), candidate(1, FULL)),
        (candidate(1, EMPTY), candidate(0, FULL, job="6")),
        (candidate(1, EMPTY), candidate(0, FULL, job=None)),
        (candidate(1, EMPTY), candidate(0, FULL, modified_ns=9)),
        (candidate(1, EMPTY), candidate(0, None, problem="is not a CSV file")),
    ],
    ids=["measured", "rows", "newer", "rank", "another job", "no job", "older than the job", "no table"],
)
def test_the_better_table_is_picked_and_all_are_scored(better, worse):
    for order in ([better, worse], [worse, better]):
        picked = pick(order, job="7", started_ns=10)
        assert picked.chosen == better
        assert [score.path for score in picked.scores] == [better.path, worse.path]


def test_a_candidate_that_cannot_be_picked_says_why():
    picked = pick(
        [candidate(0, FULL, job="6"), candidate(1, None, problem="x.csv: broken")], job="7", started_ns=10
    )
    assert picked.chosen is None
    assert {score.refused for score in picked.scores} == {"belongs to job 6, not to job 7", "x.csv: broken"}
