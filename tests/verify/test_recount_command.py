"""`pytest-bench recount` on results of a session: its output and its files."""

from __future__ import annotations

import json
import shutil

import pytest
from tampering import REQUESTS, STEADY, edit_lines, relist

from pytest_bench.cli import main
from pytest_bench.scratch import scratch_folder

ONE, TWO = "small/perf/steady/c0001", "small/perf/steady/c0002"


@pytest.fixture
def recount(results, capsys):
    def call(*words):
        status = main(["recount", str(results), *words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def made(results):
    """What recounting left, hidden things included."""
    return sorted(path.name for path in results.iterdir() if "recount" in path.name)


def test_every_measured_point_is_recounted_beside_the_evidence(results, recount, verify, tokenizer_file):
    status, out, _ = recount("--tokenizer", str(tokenizer_file))
    assert (status, out.count("outcome: pass (before: pass)")) == (0, 2)
    written = list((results / "recounts").glob("*/small/perf/steady/*/summary.json"))
    assert sorted(json.loads(path.read_text())["point"] for path in written) == [ONE, TWO]
    assert verify(results)[0] == 0


def test_points_that_are_named_are_recounted_alone(recount, tokenizer_file):
    _, out, _ = recount("--point", TWO, "--tokenizer", str(tokenizer_file))
    assert (ONE in out, TWO in out) == (False, True)


@pytest.mark.parametrize("name", ["small/perf/steady/c001", "small/audit/caching"])
def test_a_point_that_was_not_measured_is_a_usage_error_that_names_those_that_were(results, recount, name):
    status, _, err = recount("--point", name, "--point", ONE)
    assert (status, ONE in err, TWO in err) == (2, True, True), err
    assert made(results) == []


def test_naming_a_point_in_results_without_measured_points_is_a_usage_error(results, recount):
    for name in (ONE, TWO):
        shutil.rmtree(results / "points" / name)
    status, _, err = recount("--point", ONE)
    assert (status, "measured no performance point at all" in err) == (2, True), err
    assert recount()[0] == 1


def test_a_recount_without_a_tokenizer_is_refused(results, recount):
    status, _, err = recount()
    assert (status, "nothing to count with: give --tokenizer" in err) == (2, True), err
    assert made(results) == []


def test_a_path_that_is_not_a_results_folder_is_a_usage_error(tmp_path, capsys):
    for folder in (tmp_path, tmp_path / "nosuch"):
        assert main(["recount", str(folder)]) == 2
        assert f"{folder}: is not a results folder" in capsys.readouterr().err


def test_files_of_a_killed_recount_are_removed_and_those_of_a_running_one_are_kept(
    results, recount, tokenizer_file
):
    (results / ".recount-killed").mkdir()
    with scratch_folder(results, ".recount-") as held:
        assert recount("--point", ONE, "--tokenizer", str(tokenizer_file))[0] == 0
        assert made(results) == [held.name, "recounts"]


def test_a_failed_recount_leaves_no_files(results, recount, tokenizer_file):
    edit_lines(results / STEADY / REQUESTS, lambda records: records.clear())
    status, _, err = recount("--point", ONE, "--tokenizer", str(tokenizer_file))
    assert (status, err.startswith("error: ")) == (1, True)
    assert made(results) == []


def test_a_missing_tokenizer_is_a_usage_error_that_states_what_is_accepted(results, recount):
    status, _, err = recount("--tokenizer", "no/such/tokenizer.json")
    assert (status, "no/such/tokenizer.json" in err) == (2, True)
    assert "--tokenizer takes a folder, a tokenizer.json or tiktoken file, or a hub id" in err
    assert made(results) == []


def test_a_log_with_a_sample_outside_the_dataset_is_reported(results, recount, tokenizer_file):
    for log in (REQUESTS, REQUESTS.replace("requests", "texts")):
        edit_lines(results / STEADY / log, lambda records: records[0].update(sample_index=10**6))
    relist(results, STEADY)
    status, _, err = recount("--point", ONE, "--tokenizer", str(tokenizer_file))
    assert (status, "the evidence is inconsistent" in err) == (1, True), err
    assert made(results) == []


@pytest.fixture
def tokenizer_file(tmp_path):
    """A tokenizer of words, in a file."""
    path = tmp_path / "tokenizer.json"
    vocabulary = {
        "[UNK]": 0,
        **{word: number for number, word in enumerate(["Tell", "me", "about"], start=1)},
    }
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }
    path.write_text(json.dumps(content))
    return path
