"""With anything in place of a file, each command ends in time, with a message and its own exit status."""

from __future__ import annotations

import os
import shutil
import signal

import pytest
from tampering import REQUESTS, STEADY, relist

from pytest_bench.cli import main

PHASE = f"{STEADY}/phases/measured"
FILES = [
    "plan.json",
    "events/main.jsonl",
    "environment.json",
    "junit.xml",
    f"{STEADY}/point.json",
    f"{STEADY}/summary.json",
    f"{STEADY}/evidence.json",
    f"{PHASE}/phase.json",
    f"{STEADY}/{REQUESTS}",
    f"{PHASE}/texts.0.jsonl",
]
CONTENTS = {
    "nothing": b"",
    "no text": b"\xff\xfe\0",
    "a hundred thousand brackets": b"[" * 100_000,
    "a hundred thousand objects": b'{"a":' * 100_000,
    "a number of 400 digits": b'{"version":1' + b"0" * 400 + b"}",
    "a number of 5000 digits": b'{"version":1' + b"0" * 5000 + b"}",
    "an infinite number": b'{"version":1e999}',
    "half a character": b'{"version":"\\ud800"}',
    "a lone version": b'{"version":1}',
}


def a_loop(path):
    path.symlink_to(path.name)


def a_link_out(path):
    path.symlink_to("/etc/passwd")


def an_endless_device(path):
    path.symlink_to("/dev/zero")


def a_huge_file(path):
    with path.open("ab") as stream:
        stream.truncate(1 << 36)


def a_folder_of_a_strange_name(path):
    path.mkdir()
    (path / os.fsdecode(b"\xff\n\x1b[2J")).mkdir()


THINGS = [a_loop, a_link_out, an_endless_device, a_huge_file, a_folder_of_a_strange_name, os.mkfifo]


@pytest.fixture
def in_time():
    """Raises where a command waits for what never comes."""

    def too_late(*_):
        raise TimeoutError("still not done")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def spoiled(finished, tmp_path_factory):
    """A copy of a session that passed; each example puts back what it alters."""
    return shutil.copytree(finished, tmp_path_factory.mktemp("spoiled") / "results")


@pytest.fixture
def calls(spoiled, expectation, tmp_path):
    """Every command that reads a results folder."""
    return [
        ["verify", spoiled, "--allow-partial"],
        ["verify", "--reuse", spoiled, "--expect", expectation],
        ["recount", spoiled],
        ["export", spoiled, tmp_path / "submission"],
    ]


def replaced(path, by):
    """Put something else in the place of a file; returns what undoes it."""
    before = path.read_bytes()
    path.unlink()
    by(path)

    def undo():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        path.write_bytes(before)

    return undo


def statuses(calls, capsys):
    found = [main([str(word) for word in call]) for call in calls]
    assert "\x1b" not in capsys.readouterr().err
    return found


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.__name__)
def test_anything_but_a_plain_file_is_red_without_blocking(spoiled, calls, capsys, name, thing):
    undo = replaced(spoiled / name, thing)
    try:
        *verified, recounted, exported = statuses(calls, capsys)
    finally:
        undo()
        shutil.rmtree(spoiled / "recounts", ignore_errors=True)
    assert verified == [1, 1]
    assert recounted in {1, 2}  # without a tokenizer, or with nothing to read
    assert exported in {1, 2}


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("data", CONTENTS.values(), ids=CONTENTS)
def test_any_content_is_red_although_the_evidence_lists_it(spoiled, calls, capsys, name, data):
    sealed = ("evidence.json", "junit.xml")
    names = (f"{STEADY}/evidence.json", "verdict.json", "junit.xml")
    kept = {spoiled / sealing: (spoiled / sealing).read_bytes() for sealing in names}
    undo = replaced(spoiled / name, lambda path: path.write_bytes(data))
    try:
        if not name.endswith(sealed):
            relist(spoiled, STEADY)
        *verified, recounted, exported = statuses(calls, capsys)
    finally:
        undo()
        for path, before in kept.items():
            path.write_bytes(before)
        shutil.rmtree(spoiled / "recounts", ignore_errors=True)
    assert verified == [1, 1]
    assert recounted in {1, 2}  # without a tokenizer, or with nothing to read
    assert exported in {1, 2}


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.__name__)
@pytest.mark.parametrize("name", ["meta_env.json", "results_2026-01-02T03-04-05_conc4.json"])
def test_anything_but_a_plain_file_of_lmeval_is_red_without_blocking(batch, verify, name, thing):
    path = batch.write() / name
    replaced(path, thing)
    status, said = verify(batch.path, "--expected-concs", "1 4", "--min-score", "0.5")
    assert (status, name in said) == (1, True), said


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("thing", [a_huge_file], ids=lambda thing: thing.__name__)
@pytest.mark.parametrize("where", ["suite", "included"])
def test_a_suite_that_is_not_text_or_too_large_is_a_usage_error(tmp_path, capsys, where, thing):
    suite = tmp_path / "chat.yaml"
    suite.write_text("suite: chat\ninclude: [shared.yml]\n")
    thing(suite if where == "suite" else tmp_path / "shared.yml")
    assert main(["plan", str(tmp_path)]) == 2
    assert "bytes long; expected at most" in capsys.readouterr().err
