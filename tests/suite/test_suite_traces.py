"""Traces with lengths: the columns of the field, and datasets made of them."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.errors import UsageError
from pytest_bench.load.schedule import arrivals_ns
from pytest_bench.suite.traces import LARGEST_TRACE, read_hash_ids, read_trace
from pytest_bench.workload import Load

MOONCAKE = """\
{"timestamp": 0, "input_length": 30, "output_length": 5, "hash_ids": [46, 47]}
{"timestamp": 20.5, "input_length": 12, "output_length": 7, "hash_ids": [46]}
{"timestamp": 20.5, "input_length": 9, "output_length": 3, "hash_ids": [7]}
"""

SUITE = """\
suite: chat
deployment: {api: openai-chat, model: m, endpoint: "http://host:8000"}
datasets:
  prompts: {path: data/prompts.jsonl}
  monday: {synthetic: {trace: monday.jsonl, seed: 3, block_size: 16}}
  drawn: {synthetic: {rows: 10, input_tokens: 128}}
perf:
"""


@pytest.fixture
def monday(bench):
    (bench.folder / "monday.jsonl").write_text(MOONCAKE, encoding="utf-8")
    (bench.folder / "tuesday.csv").write_text("timestamp_s\n0\n1\n", encoding="utf-8")
    return bench


def point(bench, text):
    plan = bench.plan(f"{SUITE}  p: {text}\n")
    [found] = plan.points
    return found, plan.datasets["chat"][found.dataset]


REPLAY = "load: {pattern: trace, trace: monday.jsonl}"


def test_the_columns_are_those_of_the_mooncake_traces(monday):
    trace = read_trace(monday.folder / "monday.jsonl")
    assert trace.arrivals_ns == (0, 20_500_000, 20_500_000)
    assert trace.lengths == ((30, 5), (12, 7), (9, 3))


def test_a_csv_file_tells_the_same(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("timestamp,input_length,output_length\n0,30,5\n20.5,12,7\n", encoding="utf-8")
    assert read_trace(path)[:2] == ((0, 20_500_000), ((30, 5), (12, 7)))


def test_a_trace_of_times_alone_has_no_lengths(monday):
    assert read_trace(monday.folder / "tuesday.csv").lengths == ()


def test_a_replayed_trace_takes_its_samples_in_its_own_order(monday):
    found, dataset = point(monday, f"{{dataset: monday, {REPLAY}}}")
    assert found.samples.order == "sequential"
    file = str(monday.folder / "monday.jsonl")
    assert (found.dataset, dataset.synthetic) == (
        "monday-p",
        {"trace": file, "rows": 3, "ahead": 0, "block_size": 16, "seed": 3},
    )


@pytest.mark.parametrize(
    ("more", "rows", "ahead"),
    [
        (", warmup: {requests: 2}", 5, 2),
        (", warmup: {requests: 50}", 6, 3),
        (", warmup: {requests: 2, samples: salted}", 3, 0),
        (", warmup: {duration_s: 0.01}", 4, 1),
    ],
)
def test_a_warm_up_has_rows_before_those_of_the_arrivals(monday, more, rows, ahead):
    _, dataset = point(monday, f"{{dataset: monday, {REPLAY}{more}}}")
    assert (dataset.synthetic["rows"], dataset.synthetic["ahead"]) == (rows, ahead)


@pytest.mark.parametrize(("limit", "rows"), [("requests: 2", 2), ("duration_s: 0.0205", 1)])
def test_a_shortened_trace_needs_rows_for_the_remaining_arrivals_only(monday, limit, rows):
    _, dataset = point(monday, f"{{dataset: monday, load: {{pattern: trace, trace: monday.jsonl, {limit}}}}}")
    assert dataset.synthetic["rows"] == rows


def test_any_other_load_takes_the_lengths_of_a_trace_as_they_come(monday):
    found, dataset = point(monday, "{dataset: monday, load: {pattern: burst, requests: 2}}")
    assert (found.samples.order, found.dataset, dataset.synthetic["rows"]) == (
        "without_replacement",
        "monday",
        3,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            f"{{dataset: prompts, {REPLAY}}}",
            "perf.p.load.trace has lengths ({file}:1), and dataset 'prompts' is a file; expected a dataset with",
        ),
        (
            f"{{dataset: drawn, {REPLAY}}}",
            "perf.p.load.trace has lengths ({file}:1), and dataset 'drawn' is not made of this trace",
        ),
        (
            f"{{dataset: monday, {REPLAY}, order: {{order: with_replacement}}}}",
            "perf.p.order.order is 'with_replacement', and the trace has lengths ({file}:1); expected 'sequential'",
        ),
        (
            "{dataset: monday, load: {pattern: stages, stages: [{pattern: trace, trace: monday.jsonl}]}}",
            "perf.p.load.stages[0].trace has lengths ({file}:1), which a stage cannot replay",
        ),
        (
            "{dataset: monday, load: {pattern: concurrency, concurrency: 1, requests: 1}, sweep: {isl: [8]}}",
            "perf.p.sweep.isl needs a synthetic dataset, and 'monday' has the lengths of a trace",
        ),
    ],
)
def test_lengths_that_cannot_be_replayed_are_refused_with_both_places(monday, text, said):
    (problem, *_) = monday.problems(f"{SUITE}  p: {text}\n")
    assert problem.startswith("chat.yaml:8:")
    assert said.format(file=monday.folder / "monday.jsonl") in problem


def test_a_dataset_of_a_trace_without_lengths_is_refused(monday):
    suite = SUITE.replace("monday.jsonl", "tuesday.csv")
    (problem,) = monday.problems(f"{suite}  p: {{dataset: monday, load: {{pattern: burst, requests: 1}}}}\n")
    assert "datasets.monday.synthetic.trace has no lengths" in problem
    assert "tuesday.csv:2 has no 'input_length' and 'output_length'" in problem


@pytest.mark.parametrize("field", ["rows: 3", "input_tokens: 5", "range_ratio: 0.5"])
def test_lengths_come_from_a_trace_or_are_drawn_but_not_both(monday, field):
    suite = SUITE.replace("seed: 3", field)
    (problem,) = monday.problems(f"{suite}  p: {{dataset: monday, load: {{pattern: burst, requests: 1}}}}\n")
    assert f"'{field.partition(':')[0]}' and 'trace' exclude each other" in problem


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ('{"timestamp": 1}', "t.jsonl:2: has no lengths, unlike the lines before"),
        ('{"timestamp": 1, "input_length": 3}', "t.jsonl:2: has 'input_length' and no 'output_length'"),
        (
            '{"timestamp": 1, "input_length": 0, "output_length": 2}',
            "t.jsonl:2: input_length is 0; expected a whole number of tokens, at least 1",
        ),
        ('{"timestamp": 1, "input_length": 2, "output_length": 1.5}', "t.jsonl:2: output_length is 1.5"),
        ('{"timestamp": 1, "input_length": true, "output_length": 1}', "t.jsonl:2: input_length is True"),
        ('{"timestamp": 1, "timestamp_s": 1}', "t.jsonl:2: expected a row with one of 'timestamp'"),
    ],
)
def test_a_line_that_cannot_be_replayed_is_named(tmp_path, second, said):
    path = tmp_path / "t.jsonl"
    path.write_text('{"timestamp": 0, "input_length": 1, "output_length": 1}\n' + second, encoding="utf-8")
    with pytest.raises(UsageError, match=r"t\.jsonl:2") as caught:
        read_trace(path)
    assert said in str(caught.value)


def test_lengths_that_begin_late_are_refused(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"timestamp": 0}\n{"timestamp": 0, "input_length": 1, "output_length": 1}', "utf-8")
    with pytest.raises(UsageError, match=r"t\.jsonl:2: has lengths, unlike the lines before; expected none"):
        read_trace(path)


# What prompts had in common.


def test_ids_of_blocks_are_replayed_if_the_trace_has_them_and_the_plan_shows_it(monday):
    _, dataset = point(monday, f"{{dataset: monday, {REPLAY}}}")
    assert dataset.synthetic["block_size"] == 16
    assert read_hash_ids(monday.folder / "monday.jsonl", 16) == ((46, 47), (46,), (7,))


def test_ids_of_blocks_are_ignored_if_the_suite_says_so(monday):
    # With the block size that is wrong for them: what is not replayed need not agree.
    suite = SUITE.replace("block_size: 16", "hash_ids: false")
    plan = monday.plan(f"{suite}  p: {{dataset: monday, {REPLAY}}}\n")
    assert plan.datasets["chat"]["monday-p"].synthetic["block_size"] is None


def test_a_trace_without_ids_shares_nothing(monday):
    (monday.folder / "monday.jsonl").write_text('{"timestamp": 0, "input_length": 1, "output_length": 1}\n')
    _, dataset = point(monday, f"{{dataset: monday, {REPLAY}}}")
    assert dataset.synthetic["block_size"] is None


def test_ids_that_do_not_fill_the_prompt_are_refused_in_the_suite(monday):
    suite = SUITE.replace("block_size: 16", "block_size: 512")
    (problem,) = monday.problems(f"{suite}  p: {{dataset: monday, {REPLAY}}}\n")
    assert "datasets.monday.synthetic.trace cannot be used" in problem
    assert (
        "monday.jsonl:1: has 2 'hash_ids'; expected 1, for an input_length of 30 in blocks of 512" in problem
    )


@pytest.mark.parametrize("field", ["hash_ids: false", "block_size: 16"])
def test_blocks_are_those_of_a_trace(monday, field):
    suite = SUITE.replace("input_tokens: 128", f"input_tokens: 128, {field}")
    (problem,) = monday.problems(f"{suite}  p: {{dataset: drawn, load: {{pattern: burst, requests: 1}}}}\n")
    assert f"'{field.partition(':')[0]}' is for a 'trace'" in problem


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ('"hash_ids": [1]', None),
        ('"hash_ids": []', "has 0 'hash_ids'; expected 1"),
        ('"hash_ids": [1, 2]', "has 2 'hash_ids'; expected 1"),
        ('"hash_ids": [-1]', "hash_ids is [-1]; expected a list of whole numbers from 0 on"),
        ('"hash_ids": [1.0]', "hash_ids is [1.0]"),
        ('"hash_ids": [true]', "hash_ids is [True]"),
        ('"hash_ids": 1', "hash_ids is 1"),
        ('"hash_ids": "one"', "hash_ids is 'one'"),
        ('"other": 1', "has no 'hash_ids', unlike the lines before; expected them on every line"),
    ],
)
def test_ids_that_cannot_be_replayed_are_named(tmp_path, rest, said):
    path = tmp_path / "t.jsonl"
    row = '{"timestamp": 0, "input_length": 9, "output_length": 1, %s}\n'
    path.write_text(row % '"hash_ids": [0]' + row % rest, encoding="utf-8")
    if said is None:
        assert read_hash_ids(path, 512) == ((0,), (1,))
    else:
        with pytest.raises(UsageError, match=r"t\.jsonl:2: ") as caught:
            read_hash_ids(path, 512)
        assert said in str(caught.value)


def test_ids_that_begin_late_are_refused(tmp_path):
    path = tmp_path / "t.jsonl"
    row = '{"timestamp": 0, "input_length": 9, "output_length": 1%s}\n'
    path.write_text(row % "" + row % ', "hash_ids": [0]', encoding="utf-8")
    with pytest.raises(
        UsageError, match=r"t\.jsonl:2: has 'hash_ids', unlike the lines before; expected none"
    ):
        read_hash_ids(path, 512)


def test_a_csv_file_has_the_ids_in_a_cell(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('timestamp,input_length,output_length,hash_ids\n0,30,5,"[3, 4]"\n', encoding="utf-8")
    assert read_hash_ids(path, 16) == ((3, 4),)


@given(
    data=st.binary(max_size=80) | st.text(max_size=80).map(str.encode),
    suffix=st.sampled_from([".csv", ".jsonl"]),
)
def test_any_bytes_are_a_trace_or_refused(tmp_path_factory, data, suffix):
    path = Path(tmp_path_factory.getbasetemp()) / f"any{suffix}"
    path.write_bytes(data)
    with contextlib.suppress(UsageError):
        trace = read_trace(path)
        assert list(trace.arrivals_ns) == sorted(trace.arrivals_ns)
        assert len(trace.lengths) in {0, len(trace.arrivals_ns)}
        assert len(read_hash_ids(path, 512)) in {0, len(trace.arrivals_ns)}


@given(
    times=st.lists(st.integers(0, 10**10), min_size=1, max_size=20).map(sorted),
    requests=st.none() | st.integers(1, 20),
    duration_s=st.none() | st.floats(0.001, 10),
)
def test_as_many_arrivals_are_counted_as_are_issued(times, requests, duration_s):
    load = Load(pattern="trace", trace_ns=tuple(times), requests=requests, duration_s=duration_s)
    assert load.exact_requests == len(arrivals_ns(load, 0))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            '{"timestamp": 1, "session_id": "a", "delay": 5}',
            "t.jsonl:2: columns 'delay', 'session_id' link requests",
        ),
        (
            '{"timestamp": 1, "parent_chat_id": -1}',
            "t.jsonl:2: column 'parent_chat_id' links requests to sessions",
        ),
    ],
)
def test_a_trace_of_sessions_is_refused_by_the_names_of_its_columns(tmp_path, row, said):
    path = tmp_path / "t.jsonl"
    path.write_text('{"timestamp": 0, "kind": "text"}\n' + row, encoding="utf-8")
    with pytest.raises(UsageError, match="sessions cannot be replayed") as caught:
        read_trace(path)
    assert said in str(caught.value)


def test_only_regular_trace_files_of_a_bounded_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    with (tmp_path / "large.jsonl").open("wb") as stream:
        stream.truncate(LARGEST_TRACE + 1)
    for path in (tmp_path / "pipe.jsonl", Path("/dev/zero"), tmp_path):
        with pytest.raises(UsageError, match="is not a regular file"):
            read_trace(path)
    with pytest.raises(UsageError, match="expected at most"):
        read_trace(tmp_path / "large.jsonl")


def test_a_line_with_more_cells_than_the_header_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("timestamp\n0\n1,2\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"t\.csv:3: has more cells than the header"):
        read_trace(path)
