"""Temporary folders go with their process; those of a killed one go with the next."""

import os
import subprocess
import sys
import tempfile

import pytest

from pytest_bench.scratch import scratch_folder

HOLDER = """
import sys, tempfile
from pytest_bench.scratch import scratch_folder

with scratch_folder() as folder:
    (folder / "something").write_text("of mine")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def base(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def holder(base):
    """Another process that holds a folder, and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        env=os.environ | {"TMPDIR": str(base)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process, base / process.stdout.readline().strip()
    process.kill()
    process.communicate()


def test_a_folder_is_removed_with_all_that_is_in_it(base):
    with pytest.raises(KeyboardInterrupt), scratch_folder() as folder:
        (folder / "deep").mkdir()
        raise KeyboardInterrupt
    assert list(base.iterdir()) == []


def test_a_folder_in_use_is_left_alone(holder):
    _, theirs = holder
    with scratch_folder() as folder:
        assert folder != theirs
        assert (theirs / "something").exists()


def test_what_a_killed_process_left_is_removed_by_the_next(holder, base):
    process, theirs = holder
    process.kill()
    process.wait()
    assert theirs.exists()
    with scratch_folder() as folder:
        assert list(base.iterdir()) == [folder]


def test_nothing_else_is_ever_removed(base):
    (base / "pytest-inference-bench-0").mkdir()
    (base / "target").mkdir()
    (base / "pytest-bench-scratch-link").symlink_to(base / "target")
    (base / "pytest-bench-scratch-file").write_text("no folder")
    with scratch_folder():
        pass
    assert len(list(base.iterdir())) == 4


def test_a_folder_may_be_made_elsewhere_and_cleans_up_there(tmp_path):
    (tmp_path / "there" / ".work-left").mkdir(parents=True)
    with scratch_folder(tmp_path / "there", ".work-") as folder:
        assert list((tmp_path / "there").iterdir()) == [folder]
