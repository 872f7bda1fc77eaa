"""How to have back a verdict that a refused call set aside."""

from __future__ import annotations

import subprocess

from pytest_bench.results.claim import kept_names, way_back


def test_the_way_back_is_a_command_that_moves_the_files_whatever_the_nonce_in_them(tmp_path):
    results, nonce = tmp_path / "my results", "$(touch spoilt) b"
    results.mkdir()
    for aside in kept_names(nonce):
        (results / aside).write_text(f"{aside.partition('.')[0]}{aside[aside.rindex('.') :]}")
    told = way_back(results, nonce)
    assert told is not None
    command = told.partition("to have it back: ")[2]
    subprocess.run(["sh", "-c", command], check=True, cwd=tmp_path)
    assert {path.name: path.read_text() for path in results.iterdir()} == {
        "verdict.json": "verdict.json",
        "junit.xml": "junit.xml",
    }


def test_what_was_not_set_aside_has_no_way_back(tmp_path):
    assert way_back(tmp_path, "n") is None
