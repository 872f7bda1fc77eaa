"""`pytest-bench clean` removes old results folders and nothing else."""

from __future__ import annotations

import json

import pytest
from test_commands import ends

from pytest_bench.results.lock import hold_folder

OLD, MIDDLE, NEW = (f"2026010{day}T000000Z-0123abcd" for day in (1, 2, 3))


def session(folder, name, started="2026-01-01T00:00:00Z"):
    results = folder / name
    (results / "events").mkdir(parents=True)
    (results / "events" / "main.jsonl").write_text("{}")
    verdict = {
        "status": "pass",
        "version": 2,
        "coverage": {"complete": True},
        "nonce": "n",
        "started": started,
    }
    (results / "verdict.json").write_text(json.dumps(verdict))
    return results


@pytest.fixture
def folder(tmp_path):
    for name in (OLD, MIDDLE, NEW):
        session(tmp_path, name)
    return tmp_path


@pytest.fixture
def clean(capsys, folder):
    return lambda *words: ends(capsys, "clean", folder, *words)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_are_kept_and_every_removed_folder_is_named(folder, clean):
    status, out, _ = clean("--keep", "1")
    assert (status, names(folder)) == (0, [NEW])
    assert f"removed: {folder / OLD}" in out
    assert f"removed: {folder / MIDDLE}" in out
    assert "2 of 3 results folders removed" in out


def test_twenty_are_kept_if_no_number_is_given(folder, clean):
    for number in range(30):
        session(folder, f"202602{number + 10}T000000Z-0123abcd")
    clean()
    assert len(names(folder)) == 20
    assert OLD not in names(folder)


def test_a_dry_run_removes_nothing(folder, clean):
    _, out, _ = clean("--keep", "0", "--dry-run")
    assert out.count("would remove: ") == 3
    assert names(folder) == [OLD, MIDDLE, NEW]


def test_what_latest_names_is_kept(folder, clean):
    (folder / "latest").symlink_to(OLD)
    _, out, _ = clean("--keep", "0")
    assert names(folder) == [OLD, "latest"]
    assert f"kept: {folder / OLD}" in out


def test_a_folder_that_a_session_uses_is_kept(folder, clean):
    with hold_folder(folder / OLD):
        _, out, _ = clean("--keep", "0")
    assert names(folder) == [OLD]
    assert "a session uses it" in out
    assert (folder / OLD / "verdict.json").exists()


def test_what_is_not_a_results_folder_is_kept(folder, clean):
    (folder / "notes.txt").write_text("mine")
    (folder / "20260101T000000Z-11111111").mkdir()
    elsewhere = session(folder.parent, "elsewhere-" + folder.name)
    (folder / "20260101T000000Z-22222222").symlink_to(elsewhere)
    session(folder, "baseline")
    kept = set(names(folder)) - {OLD, MIDDLE, NEW}
    clean("--keep", "0")
    assert set(names(folder)) == kept
    assert (elsewhere / "verdict.json").exists()


def test_a_folder_with_a_file_that_no_session_wrote_is_kept(folder, clean):
    (folder / OLD / "notes.txt").write_text("mine")
    _, out, _ = clean("--keep", "0")
    assert names(folder) == [OLD]
    assert "notes.txt, which no session wrote" in out


def test_named_folders_are_removed_by_age_if_asked_for(folder, clean):
    session(folder, "baseline", started="2026-01-01T12:00:00Z")
    session(folder, "ci", started="2026-01-09T00:00:00Z")
    (folder / "other").mkdir()
    clean("--keep", "2", "--named")
    assert names(folder) == [NEW, "ci", "other"]


@pytest.mark.parametrize("words", [["--keep", "-1"], ["--keep", "many"], ["--keep", "1.5"]])
def test_an_invalid_number_is_refused(clean, words):
    status, _, err = clean(*words)
    assert status == 2
    assert "--keep" in err


def test_a_folder_that_does_not_exist_is_a_usage_error(capsys, tmp_path):
    status, _, err = ends(capsys, "clean", tmp_path / "gone")
    assert status == 2
    assert "is not a folder" in err
