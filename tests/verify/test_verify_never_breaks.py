"""For any bytes in a folder, `verify` reports problems without a traceback, and detects every altered field."""

from __future__ import annotations

import copy
import json
import os
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lmeval_folder import EvalFolder

from pytest_bench.lmeval import Request, read_thresholds, verify_folder
from pytest_bench.verify import verify_session

POINT = "points/small/perf/steady/c0001"
FILES = [
    "plan.json",
    "verdict.json",
    "events/main.jsonl",
    "environment.json",
    f"{POINT}/summary.json",
    f"{POINT}/evidence.json",
    f"{POINT}/point.json",
    f"{POINT}/phases/measured/phase.json",
]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**60)
    | st.just(-(2**63))
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["", "../..", "/", "N/A", "pass", "\x00", "\ud800", "exact_match,x", "x" * 300])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NESTED = st.sampled_from([10, 900, 5000]).map(lambda depth: "[" * depth + "]" * depth)
BYTES = st.binary(max_size=64) | NESTED.map(str.encode) | st.just(b'{"a":' + b"9" * 5000 + b"}")

QUICK = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ASKED = Request(concurrencies=(1, 4), min_score=0.5)


def fields(value, path=()):
    """Paths of everything in a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        yield from fields(part, (*path, name))


def changed(value, path, new):
    if not path:
        return new
    value = copy.copy(value)
    value[path[0]] = changed(value[path[0]], path[1:], new)
    return value


def at(value, path):
    for name in path:
        value = value[name]
    return value


@pytest.fixture(scope="module")
def spoiled(finished, tmp_path_factory):
    """One copy of a session that passed; each example puts back what it alters."""
    return shutil.copytree(finished, tmp_path_factory.mktemp("spoiled") / "results")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = EvalFolder(tmp_path_factory.mktemp("fuzzed") / "eval", 1, 4)
    folder.write()
    return folder


@QUICK
@given(name=st.sampled_from(FILES), data=BYTES)
def test_any_bytes_in_a_file_of_a_session_are_red(spoiled, name, data):
    path = spoiled / name
    before = path.read_bytes()
    try:
        path.write_bytes(data)
        assert not verify_session(spoiled).sound
    finally:
        path.write_bytes(before)


@QUICK
@given(name=st.sampled_from([name for name in FILES if name.endswith(".json")]), new=JSON, choose=st.data())
def test_any_altered_field_of_a_session_is_red(spoiled, name, new, choose):
    path = spoiled / name
    before = path.read_bytes()
    content = json.loads(before)
    where = choose.draw(st.sampled_from(list(fields(content))))
    try:
        path.write_text(json.dumps(changed(content, where, new)), encoding="utf-8", errors="surrogatepass")
        verified = verify_session(spoiled)
        same = type(at(content, where)) is type(new) and at(content, where) == new
        assert same or not verified.sound or verified.verdict.status != "pass", (name, where)
    finally:
        path.write_bytes(before)


EVERYWHERE = st.sampled_from(
    [
        *FILES,
        "junit.xml",
        "deployments/small/simulator.jsonl",
        f"{POINT}/phases/measured/requests.0.jsonl",
        f"{POINT}/phases/measured/texts.0.jsonl",
        "new.txt",
        "events/new.jsonl",
        "deployments/small/new",
        f"{POINT}/new",
        "points/new",
    ]
)


@settings(QUICK, max_examples=120)
@given(
    name=EVERYWHERE,
    how=st.sampled_from(["cut", "flip", "insert", "append", "link", "swap"]),
    choose=st.data(),
)
def test_no_change_of_bytes_no_link_and_no_new_file_leaves_a_session_green(
    spoiled, tmp_path_factory, name, how, choose
):
    path = spoiled / name
    before = path.read_bytes() if path.exists() else None
    data = before or b"new"
    place = choose.draw(st.integers(0, len(data) - 1))
    match how:
        case "cut":
            after = data[:place]
        case "flip":
            after = data[:place] + bytes([data[place] ^ choose.draw(st.integers(1, 255))]) + data[place + 1 :]
        case "insert":
            after = data[:place] + choose.draw(st.binary(min_size=1, max_size=8)) + data[place:]
        case "append":
            after = data + choose.draw(st.sampled_from([b" ", b"\n", b"\0", b"{}"]))
        case "swap":
            after = data[place:] + data[:place]
        case _:
            after = data
    try:
        if how == "link":
            copy = tmp_path_factory.mktemp("copy") / "file"
            copy.write_bytes(data)
            path.unlink(missing_ok=True)
            path.symlink_to(copy)
        else:
            path.write_bytes(after)
        verified = verify_session(spoiled)
        assert (how != "link" and after == before) or not verified.sound, (name, how, place)
    finally:
        path.unlink(missing_ok=True)
        if before is not None:
            path.write_bytes(before)


@QUICK
@given(data=BYTES, name=st.sampled_from(["meta_env.json", "results_2026-01-02T03-04-05_conc4.json"]))
def test_any_bytes_in_a_folder_of_lmeval_are_red(folder, data, name):
    path = folder.path / name
    before = path.read_bytes()
    try:
        path.write_bytes(data)
        assert verify_folder(folder.path, ASKED).findings
    finally:
        path.write_bytes(before)


@QUICK
@given(
    new=JSON,
    choose=st.data(),
    name=st.sampled_from(["meta_env.json", "results_2026-01-02T03-04-05_conc4.json"]),
)
def test_any_altered_field_of_a_folder_of_lmeval_gives_sentences(folder, new, choose, name):
    path = folder.path / name
    before = path.read_bytes()
    content = json.loads(before)
    where = choose.draw(st.sampled_from(list(fields(content))))
    try:
        path.write_text(json.dumps(changed(content, where, new)), encoding="utf-8", errors="surrogatepass")
        assert all(map(str, verify_folder(folder.path, ASKED).findings))
    finally:
        path.write_bytes(before)


@QUICK
@given(line=BYTES | JSON.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")))
def test_any_line_of_samples_gives_sentences(folder, line):
    path = folder.path / "samples_gsm8k_2026-01-02T03-04-05_conc4.jsonl"
    try:
        path.write_bytes(line)
        assert all(map(str, verify_folder(folder.path, ASKED).findings))
    finally:
        path.unlink()


@QUICK
@given(
    data=BYTES | JSON.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
    ending=st.sampled_from(["json", "yaml"]),
)
def test_any_thresholds_give_sentences(tmp_path, data, ending):
    path = tmp_path / f"thresholds.{ending}"
    path.write_bytes(data)
    thresholds, findings = read_thresholds(path)
    assert all(map(str, findings))
    assert thresholds.of("a", "b", 0.5)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["folder", "link", "pipe", "missing"])
def test_anything_but_a_plain_file_of_a_session_is_red(results, tmp_path, name, kind):
    path = results / name
    path.rename(tmp_path / "aside")
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "aside")
    elif kind == "pipe":
        os.mkfifo(path)
    assert not verify_session(results).sound
