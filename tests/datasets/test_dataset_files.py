from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_bench.datasets.formats import LARGEST_DATASET, read_rows
from pytest_bench.datasets.rows import COMPLAINTS_SHOWN, load_dataset
from pytest_bench.errors import DatasetError
from pytest_bench.suite.plan import DatasetPlan

CHAT = {"prompt": "text", "messages": "a conversation", "system": "text", "max_tokens": "a limit"}
NEEDED = frozenset({"prompt", "messages"})


def load(path: Path, file_format: str = "", columns=CHAT, required=NEEDED, *, skip_bad=False, **mapping: str):
    plan = DatasetPlan(
        name="d",
        path=str(path),
        format=file_format or path.suffix[1:],
        columns=mapping,
        skip_bad=skip_bad,
        origin="suites/chat.yaml:4:3",
    )
    return load_dataset(plan, columns=columns, required=required, tokenizer=None)


@pytest.fixture
def write(tmp_path):
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def complaint(path: Path, *args, **options) -> str:
    with pytest.raises(DatasetError) as caught:
        load(path, *args, **options)
    return str(caught.value)


def test_jsonl_rows_keep_their_order_and_line_numbers(write):
    path = write("d.jsonl", '{"prompt": "a"}\n\n{"prompt": "b\u2028c"}\r\n{"prompt": "d"}')
    dataset = load(path)
    assert [row["prompt"] for row in dataset.rows] == ["a", "b\u2028c", "d"]
    assert [raw.origin for raw in read_rows(path, "jsonl")] == [f"{path}:1", f"{path}:3", f"{path}:4"]
    assert len(dataset) == 3


def test_rows_of_a_json_file_have_their_line_numbers(write):
    path = write("d.json", '[\n  {"prompt": "a"},\n  {\n   "prompt": "b"}, {"prompt": "c"}\n]\n')
    dataset = load(path)
    assert [row["prompt"] for row in dataset.rows] == ["a", "b", "c"]
    assert [raw.origin for raw in read_rows(path, "json")] == [
        f"{path}:2: entry 1",
        f"{path}:3: entry 2",
        f"{path}:4: entry 3",
    ]


def test_csv_cells_may_hold_line_breaks_and_long_prompts(write):
    path = write("d.csv", 'prompt,max_tokens\n"a\nb",12\n' + "x" * 200_000 + ",\n")
    dataset = load(path)
    assert dataset.rows[0] == {"prompt": "a\nb", "max_tokens": 12}
    assert dataset.rows[1] == {"prompt": "x" * 200_000}
    assert [raw.origin.rsplit(":", 1)[1] for raw in read_rows(path, "csv")] == ["2", "4"]


def test_sharegpt_gives_the_first_human_turn(write):
    rows = [
        {"id": 1, "conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]},
        {"conversations": [{"from": "system", "value": "be brief"}, {"from": "human", "value": "why"}]},
    ]
    dataset = load(write("d.json", json.dumps(rows)), "sharegpt")
    assert dataset.rows == ({"prompt": "hi"}, {"system": "be brief", "prompt": "why"})


def test_a_sharegpt_row_without_a_human_turn_is_refused(write):
    path = write("d.jsonl", '{"conversations": []}\n{"conversations": [{"from": "human"}]}\n{"turns": []}\n')
    message = complaint(path, "sharegpt")
    assert "d.jsonl:1: a conversation without a human turn" in message
    assert "d.jsonl:2: a turn is not an object with 'from' and a text 'value'" in message
    assert "d.jsonl:3: not a ShareGPT row" in message


def test_messages_are_whole_conversations(write):
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "look"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "42", "tool_call_id": "1"},
    ]
    assert load(write("d.jsonl", json.dumps({"messages": messages}))).rows[0]["messages"] == messages


def test_columns_are_mapped_by_name_and_the_others_ignored(write):
    path = write("d.jsonl", '{"question": "a", "answer": "b"}\n')
    assert load(path, prompt="question").rows == ({"prompt": "a"},)


def test_nulls_are_left_out(write):
    path = write("d.jsonl", '{"prompt": "a", "system": null}\n')
    assert load(path).rows == ({"prompt": "a"},)


def test_without_a_list_of_columns_any_column_is_accepted(write):
    path = write("d.jsonl", '{"question": "a", "answer": 3}\n')
    dataset = load(path, columns=None, required=frozenset())
    assert dataset.rows == ({"question": "a", "answer": 3},)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not valid JSON"),
        ("[1]", "a row is an object; found list"),
        ('"text"', "a row is an object; found str"),
        ('{"prompt": "a", "prompt": "b"}', "duplicate key 'prompt'"),
        ('{"prompt": NaN}', "NaN is not a finite number"),
        ('{"promt": "a"}', "unknown column 'promt'; expected max_tokens, messages, prompt, system"),
        ('{"system": "a"}', "none of the columns messages, prompt; expected one of them"),
        ('{"prompt": null}', "none of the columns messages, prompt"),
        ('{"prompt": ""}', "'prompt' is empty"),
        ('{"prompt": " \\n"}', "'prompt' is empty"),
        ('{"prompt": 3}', "'prompt' is a number; expected text"),
        ('{"prompt": {}}', "'prompt' is an object; expected text"),
        ('{"prompt": "\\ud800"}', "lone surrogate"),
        ('{"prompt": "a", "max_tokens": 0}', "'max_tokens' is 0; expected a whole number greater than 0"),
        ('{"prompt": "a", "max_tokens": true}', "'max_tokens' is True"),
        ('{"prompt": "a", "max_tokens": 1e3}', "'max_tokens' is 1000.0"),
        ('{"messages": []}', "'messages' is empty"),
        ('{"messages": "hi"}', "'messages' is text; expected a list"),
        ('{"messages": ["hi"]}', "messages[0] is text; expected {role, content}"),
        ('{"messages": [{"role": "human", "content": "x"}]}', "messages[0] has the role 'human'"),
        (
            '{"messages": [{"role": "user", "contents": "x"}]}',
            "unknown key 'contents'; did you mean 'content'?",
        ),
        ('{"messages": [{"role": "user"}]}', "messages[0]: content is null"),
        ('{"messages": [{"role": "user", "content": ""}]}', "messages[0]: content is empty"),
        ('{"messages": [{"role": "user", "content": [3]}]}', "expected parts with a 'type' each"),
        ('{"prompt": ' + "[" * 5000 + "}", "nested too deeply"),
        ('{"prompt": "a", "system": ' + "9" * 5000 + "}", "not valid JSON"),
    ],
)
def test_a_bad_row_is_an_error_with_file_and_line(write, line, said):
    path = write("d.jsonl", '{"prompt": "fine"}\n' + line + "\n")
    message = complaint(path)
    assert message.startswith("suites/chat.yaml:4:3: dataset 'd' has bad rows:\n  ")
    assert f"{path}:2: " in message
    assert said in message


def test_a_mapped_column_missing_in_a_row_is_an_error_with_the_nearest_name(write):
    path = write("d.jsonl", '{"prompt": "a", "negative_promt": "b"}\n')
    message = complaint(
        path,
        "jsonl",
        {"prompt": "", "negative_prompt": ""},
        frozenset({"prompt"}),
        prompt="prompt",
        negative_prompt="negative_prompt",
    )
    assert (
        "no column 'negative_prompt'; the row has negative_promt, prompt; did you mean 'negative_promt'?"
        in message
    )


def test_bytes_that_are_not_utf8_are_an_error_with_the_line(write):
    path = write("d.jsonl", b'{"prompt": "a"}\n{"prompt": "caf\xe9"}\n')
    assert f"{path}:2: not UTF-8" in complaint(path)
    assert "d.csv:2: not UTF-8" in complaint(write("d.csv", b"prompt\ncaf\xe9\n"))


def test_bad_rows_are_reported_together_up_to_a_limit(write):
    many = "".join(f'{{"prompt": "a", "max_tokens": -{number}}}\n' for number in range(COMPLAINTS_SHOWN + 5))
    path = write("d.jsonl", '{"prompt": "a"}\n' + many)
    lines = complaint(path).splitlines()
    assert len(lines) == 1 + COMPLAINTS_SHOWN + 1
    assert lines[1].strip().startswith(f"{path}:2: ")
    assert lines[-1].strip() == "and 5 more"


def test_a_complaint_about_many_rows_is_made_once_with_their_number(write):
    rows = [{"question": f"q{number}", "answer": "a"} for number in range(30)]
    path = write("d.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    [line] = complaint(path).splitlines()[1:]
    assert line == (
        f"  {path}:1: unknown columns 'answer', 'question'; expected max_tokens, messages, prompt, system; to use only "
        "the columns that you name, add `columns: {prompt: question}` to the dataset (30 rows)"
    )
    assert load(path, prompt="question").rows[29] == {"prompt": "q29"}


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        ({"promt": "a"}, "{prompt: promt}"),
        ({"id": "7", "prompt": "a"}, "{prompt: prompt}"),
        ({"messages": [{"role": "user", "content": "a"}], "id": 7}, "{messages: messages}"),
        ({"id": 7, "body": "a"}, "{prompt: body}"),
        ({"answer": "b", "instruction": "a"}, "{prompt: instruction}"),
    ],
)
def test_the_error_for_an_unknown_column_suggests_the_right_mapping(write, row, hint):
    assert f"add `columns: {hint}`" in complaint(write("d.jsonl", json.dumps(row)))


def test_no_mapping_is_offered_if_no_column_can_be_meant(write):
    assert "add `columns:" not in complaint(write("d.jsonl", '{"id": 7}'))


SHAREGPT = json.dumps(
    [
        {"conversations": [{"from": "human", "value": "first"}]},
        {"conversations": []},
        {"conversations": [{"from": "gpt", "value": "hello"}]},
        {"conversations": [{"from": "human", "value": " "}, {"from": "human", "value": "why"}]},
        {"conversations": [{"from": "human", "value": "last"}]},
    ]
)


def test_bad_conversations_on_one_line_are_distinguished_by_their_entry(write):
    path = write("d.json", SHAREGPT)
    first, second = complaint(path, "sharegpt").splitlines()[1:]
    assert first.strip().startswith(f"{path}:1: entry 2: a conversation without a human turn; remove")
    assert first.endswith("or add `skip_bad: true` to leave out such rows (2 rows)")
    assert second.strip().startswith(f"{path}:1: entry 4: the first human turn is empty")


def test_bad_rows_are_left_out_and_counted_if_the_suite_allows_it(write):
    dataset = load(write("d.json", SHAREGPT), "sharegpt", skip_bad=True)
    assert [row["prompt"] for row in dataset.rows] == ["first", "last"]
    assert dataset.skipped == 3
    path = write("d.jsonl", '{"prompt": "a"}\n{\n{"prompt": ""}\n{"prompt": "b"}\n')
    dataset = load(path, skip_bad=True)
    assert [row["prompt"] for row in dataset.rows] == ["a", "b"]
    assert dataset.skipped == 2


def test_a_dataset_of_bad_rows_alone_is_refused_with_the_reasons(write):
    assert ":1: 'prompt' is empty; expected text (2 rows)" in complaint(
        write("d.jsonl", '{"prompt": ""}\n' * 2), skip_bad=True
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.json", '[{"prompt": "a"},\n{"prompt": "b"'),
        ("d.json", '[{"prompt": "a"}]\n[]'),
        ("d.csv", 'prompt\na\n"b\n'),
    ],
)
def test_a_file_that_cannot_be_read_to_its_end_is_refused_even_if_rows_may_be_skipped(write, name, content):
    assert "has bad rows" in complaint(write(name, content), skip_bad=True)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"session_id": "s1"}, "column 'session_id' links requests to sessions; sessions cannot be replayed"),
        ({"delay": 500, "session_id": "s1"}, "columns 'delay', 'session_id' link requests to sessions"),
        ({"parent_chat_id": 3}, "column 'parent_chat_id' links"),
        ({"delay_ms": 0}, "column 'delay_ms' links"),
    ],
)
def test_rows_that_belong_to_sessions_are_refused_by_the_names_of_the_columns(write, extra, said):
    path = write("d.jsonl", '{"prompt": "a"}\n' + json.dumps({"prompt": "b", **extra}))
    for options in ({}, {"prompt": "prompt"}, {"skip_bad": True}):
        assert f"{path}:2: {said}" in complaint(path, **options)


@pytest.mark.parametrize("column", ["session_id", "delay", "parent_id"])
def test_sharegpt_conversations_that_belong_to_sessions_are_refused(write, column):
    row = {"conversations": [{"from": "human", "value": "a"}], column: "s1"}
    path = write("d.json", json.dumps([row]))
    assert f"entry 1: column '{column}' links requests to sessions" in complaint(path, "sharegpt")
    path = write("d.jsonl", json.dumps({**row, column: None}))
    assert load(path, "sharegpt").rows == ({"prompt": "a"},)


def test_a_column_that_the_api_reads_does_not_link_rows(write):
    columns = {"prompt": "text", "session_id": "text"}
    path = write("d.jsonl", '{"prompt": "a", "session_id": "s1"}')
    assert load(path, columns=columns).rows == ({"prompt": "a", "session_id": "s1"},)


def test_a_column_without_a_value_does_not_link_rows(write):
    assert load(write("d.csv", "text,session_id\na,\n"), prompt="text").rows == ({"prompt": "a"},)


@pytest.mark.parametrize("file_format", ["jsonl", "json", "csv", "sharegpt", "parquet"])
def test_only_regular_files_are_read(tmp_path, file_format):
    if file_format == "parquet":
        pytest.importorskip("pyarrow.parquet")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path / "link"):
        assert f"{path}: is not a regular file" in complaint(path, file_format)


def test_a_file_over_the_size_limit_is_refused_unread(tmp_path):
    path = tmp_path / "d.jsonl"
    with path.open("wb") as stream:
        stream.truncate(LARGEST_DATASET + 1)
    assert f"is {LARGEST_DATASET + 1} bytes long; expected at most {LARGEST_DATASET}" in complaint(path)


@pytest.mark.parametrize(
    ("name", "content"), [("d.jsonl", "\n\n"), ("d.json", "[]"), ("d.csv", "prompt\n"), ("e.csv", "")]
)
def test_an_empty_dataset_is_refused(write, name, content):
    assert "is empty" in complaint(write(name, content))


def test_a_missing_file_is_reported_with_the_nearest_existing_name(tmp_path):
    (tmp_path / "prompts.jsonl").touch()
    (tmp_path / "promptz.jsonl").mkdir()
    said = complaint(tmp_path / "promts.jsonl")
    assert "; did you mean 'prompts.jsonl'?; " in said
    assert "correct `path`, which is relative to the file that declares it" in said


def test_a_missing_folder_is_reported_instead_of_the_file(tmp_path):
    assert f"; there is no folder {tmp_path / 'date'}; " in complaint(tmp_path / "date" / "prompts.jsonl")


def test_the_line_number_in_an_error_is_that_of_the_file(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text('{"prompt": "a"}\n{"prompt": "b}\n')
    said = complaint(path)
    assert f"{path}:2: not valid JSON: Unterminated string starting at column 12" in said
    assert "line 1" not in said


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path):
    assert f"{tmp_path / 'd.jsonl'}: there is no such file; put it there" in complaint(tmp_path / "d.jsonl")
    (tmp_path / "d.json").mkdir()
    assert "is not a regular file" in complaint(tmp_path / "d.json")
    assert "is not a file name" in complaint(Path("a\0b.json"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"prompt": "a"}', "expected a JSON array of objects"),
        ('[{"prompt": "a"} {"prompt": "b"}]', ":1: entry 1: not valid JSON: expected ',' or ']'"),
        ('[{"prompt": "a"},\n{"prompt": }]', ":2: entry 2: not valid JSON"),
        ('[{"prompt": "a"}', ":1: entry 1: not valid JSON"),
        ('[{"prompt": "a"}]\n[]', "more text after the JSON array"),
        ("", "expected a JSON array"),
    ],
)
def test_a_malformed_json_file_is_refused_with_its_line(write, content, said):
    assert said in complaint(write("d.json", content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("prompt,prompt\na,b\n", ":1: every column needs a name of its own"),
        ("prompt,max_tokens\na\n", ":2: 1 cells; the header has 2"),
        ('prompt\n"a\n', "not valid CSV"),
        ("prompt,max_tokens\na,many\n", ":2: 'max_tokens' is 'many'"),
    ],
)
def test_a_malformed_csv_file_is_refused_with_its_line(write, content, said):
    assert said in complaint(write("d.csv", content))


def test_parquet_without_its_library_is_an_error_that_names_the_package(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert "pip install 'pytest-inference-bench[parquet]'" in complaint(write("d.parquet", b"PAR1"))


def test_parquet_rows_are_read_if_the_library_is_installed(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    path = tmp_path / "d.parquet"
    parquet.write_table(arrow.table({"prompt": ["a", "b"], "max_tokens": [3, None]}), path)
    assert load(path).rows == ({"prompt": "a", "max_tokens": 3}, {"prompt": "b"})
    path.write_bytes(b"not parquet")
    assert "cannot be read as Parquet" in complaint(path)


def test_the_digest_depends_on_content_and_order_and_not_on_layout(write):
    a, b = '{"prompt": "a", "max_tokens": 3}', '{"prompt": "b"}'
    first = load(write("1.jsonl", f"{a}\n{b}\n")).digest
    assert load(write("2.json", f'[{{"max_tokens":3,"prompt":"a"}},\n{b}]')).digest == first
    assert load(write("3.jsonl", f"{b}\n{a}\n")).digest != first
    assert load(write("4.jsonl", f"{a}\n")).digest != first


@settings(deadline=None)
@given(st.sampled_from(["jsonl", "json", "csv", "sharegpt"]), st.binary(max_size=120))
def test_no_bytes_give_anything_but_rows_or_a_dataset_error(tmp_path_factory, file_format, data):
    path = tmp_path_factory.getbasetemp() / f"any.{file_format}"
    path.write_bytes(data)
    try:
        assert len(load(path, file_format)) > 0
    except DatasetError:
        return


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from([*CHAT, "conversations", "x"]), JSON, max_size=3) | JSON, max_size=4
    )
)
def test_no_json_rows_give_anything_but_rows_or_a_dataset_error(tmp_path_factory, rows):
    for file_format in ("json", "sharegpt"):
        path = tmp_path_factory.getbasetemp() / f"rows.{file_format}"
        path.write_text(json.dumps(rows), encoding="utf-8")
        try:
            dataset = load(path, file_format)
        except DatasetError:
            continue
        assert len(dataset) == len(rows)


@settings(deadline=None)
@given(st.lists(st.text(min_size=1, max_size=30).filter(str.strip), min_size=1, max_size=5))
def test_every_format_gives_the_same_rows_for_the_same_prompts(tmp_path_factory, prompts):
    folder = tmp_path_factory.getbasetemp()
    rows = [{"prompt": prompt} for prompt in prompts]
    (folder / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert load(folder / "a.json").digest == load(folder / "a.jsonl").digest


@pytest.mark.parametrize(("name", "rows"), [("chat", 240), ("wan22", 340)])
def test_the_shipped_datasets_hold_distinct_rows(name, rows):
    path = Path(__file__).parents[2] / "suites" / "data" / f"{name}-prompts.jsonl"
    dataset = load(path, "jsonl", {"prompt": "", "negative_prompt": ""}, frozenset({"prompt"}))
    assert len(dataset) == len({row["prompt"] for row in dataset.rows}) == rows
