import json
import os

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_bench.errors import EvidenceError
from pytest_bench.files import file_digest
from pytest_bench.results.evidence import NAME, check_evidence, write_evidence
from pytest_bench.verdict.outcome import Outcome
from pytest_bench.verdict.points import contradictions

POINT = "s/perf/a"
RIGHT = {"point": POINT, "point_digest": "d0", "nonce": "n0", "outcome": Outcome.PASS}


@pytest.fixture
def folder(tmp_path):
    """A point's folder, as a run leaves it."""
    path = tmp_path / "points" / "s" / "perf" / "a"
    (path / "phases" / "main").mkdir(parents=True)
    (path / "summary.json").write_text('{"a":1}')
    (path / "phases" / "main" / "requests.0.jsonl").write_bytes(b"one\ntwo\n")
    (path / "empty").write_bytes(b"")
    return path


@pytest.fixture
def written(folder):
    write_evidence(folder, **RIGHT)
    return folder


def check(folder):
    return check_evidence(folder, path="points/s/perf/a", point=POINT)


def rewrite(folder, change):
    content = json.loads((folder / NAME).read_bytes())
    change(content)
    (folder / NAME).write_text(json.dumps(content))


def test_unchanged_evidence_is_intact(folder):
    digest = write_evidence(folder, **RIGHT)
    checked = check(folder)
    assert checked.errors == ()
    assert checked.digest == digest == file_digest(folder / NAME)
    assert list(contradictions(checked, **RIGHT)) == []


def test_evidence_lists_every_file_with_its_size_and_digest(written):
    content = json.loads((written / NAME).read_bytes())
    assert content["version"] == 1
    assert content["outcome"] == "pass"
    assert [(item["path"], item["size_bytes"]) for item in content["files"]] == [
        ("empty", 0),
        ("phases/main/requests.0.jsonl", 8),
        ("summary.json", 7),
    ]
    assert content["files"][2]["sha256"] == file_digest(written / "summary.json")


def test_writing_evidence_again_lists_the_present_files(written):
    (written / "late").write_text("x")
    assert check(written).errors
    write_evidence(written, **RIGHT)
    assert check(written).errors == ()


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda path: (path / "summary.json").unlink(), "summary.json: is listed, but does not exist"),
        (lambda path: (path / "extra").write_text(""), "extra: is not listed"),
        (lambda path: (path / "summary.json").write_text('{"a":2}'), "summary.json: was altered"),
        (
            lambda path: (path / "summary.json").write_text('{"a":'),
            "5 bytes long, but was 7 when it was written",
        ),
        (lambda path: (path / NAME).unlink(), "is missing"),
        (lambda path: (path / NAME).write_bytes(b""), "is not strict JSON"),
        (lambda path: (path / NAME).write_bytes(b"\xff\xfe"), "is not strict JSON"),
        (lambda path: (path / NAME).write_text("[]"), "found version None"),
        (lambda path: (path / NAME).write_text('{"version": true}'), "found version True"),
        (lambda path: (path / NAME).write_text('{"version": 1}'), "is not a valid evidence.json"),
        (lambda path: (path / NAME).write_text('{"version": 1, "version": 1}'), "duplicate key"),
        (lambda path: (path / NAME).write_text("[" * 100_000), "nested too deeply"),
        (lambda path: (path / NAME).write_text('{"version": 1' + "0" * 5_000 + "}"), "is not strict JSON"),
        (lambda path: rewrite(path, lambda it: it.update(more=1)), "is not a valid evidence.json"),
        (lambda path: rewrite(path, lambda it: it.update(outcome="good")), "is not a valid evidence.json"),
        (lambda path: rewrite(path, lambda it: it["files"].append(it["files"][0])), "lists empty 2 times"),
    ],
)
def test_what_is_wrong_is_a_sentence_that_names_the_file(written, harm, sentence):
    harm(written)
    errors = check(written).errors
    assert any(sentence in error for error in errors), errors
    assert all("points/s/perf/a" in error for error in errors)


@pytest.mark.parametrize(
    "path", ["../b/summary.json", "/etc/hostname", "a/../../x", "./summary.json", "", "a//b"]
)
def test_a_listed_path_cannot_leave_the_folder(written, path):
    (written.parent / "b").mkdir()
    (written.parent / "b" / "summary.json").write_text('{"a":1}')
    rewrite(written, lambda content: content["files"][2].update(path=path))
    assert any("expected a path within the folder" in error for error in check(written).errors)


@pytest.mark.parametrize("target", ["summary.json", "/etc/hostname", "nowhere"])
def test_a_link_is_never_evidence(folder, target):
    (folder / "link").symlink_to(target)
    with pytest.raises(EvidenceError, match="link: is a link"):
        write_evidence(folder, **RIGHT)


def test_a_file_replaced_by_a_link_to_its_copy_is_noticed(written):
    (written.parent / "copy").write_text('{"a":1}')
    (written / "summary.json").unlink()
    (written / "summary.json").symlink_to(written.parent / "copy")
    errors = check(written).errors
    assert any("is a link" in error for error in errors)
    assert any("does not exist" in error for error in errors)


def test_a_folder_replaced_by_a_link_is_noticed(written):
    (written / "phases").rename(written.parent / "phases")
    (written / "phases").symlink_to(written.parent / "phases")
    assert any("phases: is a link" in error for error in check(written).errors)


def test_a_pipe_in_the_folder_is_refused_and_never_opened(written):
    os.mkfifo(written / "pipe")
    assert any("pipe: is a link or not a plain file" in error for error in check(written).errors)


def test_a_pipe_in_place_of_the_list_is_refused_and_never_opened(written):
    (written / NAME).unlink()
    os.mkfifo(written / NAME)
    assert any("is missing or not a plain file" in error for error in check(written).errors)


def test_a_name_that_is_not_text_is_shown_safely(written):
    (written / os.fsdecode(b"bad\xff\x1b[2J")).write_text("")
    errors = check(written).errors
    assert any("its name is not UTF-8" in error for error in errors)
    assert all(error.isprintable() for error in errors)


def test_a_folder_that_is_not_there_is_one_clear_error(tmp_path):
    checked = check(tmp_path / "gone")
    assert "is missing" in checked.errors[0]


@pytest.mark.parametrize("field", sorted(RIGHT))
def test_evidence_of_something_else_contradicts(written, field):
    wanted = RIGHT | {field: Outcome.FAIL if field == "outcome" else "other"}
    (sentence,) = contradictions(check(written), **wanted)
    assert "it is evidence of something else" in sentence


def test_evidence_that_was_never_read_contradicts(written):
    unread = msgspec.structs.replace(check(written), digest=None)
    assert list(contradictions(unread, **RIGHT)) == [f"points/s/perf/a/{NAME}: was not read"]


shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@shared
@given(content=st.binary(max_size=200))
def test_no_bytes_in_the_list_give_a_traceback_or_pass(written, content):
    (written / NAME).write_bytes(content)
    assert check(written).errors


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@shared
@given(data=st.data())
def test_no_single_value_of_the_list_can_change_unnoticed(folder, data):
    write_evidence(folder, **RIGHT)
    content = json.loads((folder / NAME).read_bytes())
    holder = data.draw(st.sampled_from([content, *content["files"]]))
    key = data.draw(st.sampled_from(sorted(holder)))
    before = holder[key]
    holder[key] = data.draw(
        json_values.filter(lambda value: value != before or type(value) is not type(before))
    )
    (folder / NAME).write_text(json.dumps(content))
    checked = check(folder)
    assert checked.errors or list(contradictions(checked, **RIGHT))


@shared
@given(data=st.data())
def test_no_single_byte_of_a_file_can_change_unnoticed(folder, data):
    log = folder / "phases" / "main" / "requests.0.jsonl"
    log.write_bytes(b"one\ntwo\n")
    write_evidence(folder, **RIGHT)
    content = bytearray(log.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    log.write_bytes(content)
    assert len(check(folder).errors) == 1
