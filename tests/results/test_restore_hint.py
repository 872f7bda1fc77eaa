"""The command that restores a verdict that a refused call has renamed."""

from __future__ import annotations

import subprocess

from pytest_bench.results.claim import backup_names, restore_hint


def test_the_restore_hint_is_a_safe_command_for_any_nonce(tmp_path):
    results, nonce = tmp_path / "my results", "$(touch spoilt) b"
    results.mkdir()
    for backup in backup_names(nonce):
        (results / backup).write_text(f"{backup.partition('.')[0]}{backup[backup.rindex('.') :]}")
    hint = restore_hint(results, nonce)
    assert hint is not None
    command = hint.partition("to restore it: ")[2]
    subprocess.run(["sh", "-c", command], check=True, cwd=tmp_path)
    assert {path.name: path.read_text() for path in results.iterdir()} == {
        "verdict.json": "verdict.json",
        "junit.xml": "junit.xml",
        "summary.csv": "summary.csv",
        "summary.json": "summary.json",
    }


def test_without_a_renamed_verdict_there_is_no_restore_hint(tmp_path):
    assert restore_hint(tmp_path, "n") is None
