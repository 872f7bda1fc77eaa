"""Whether a session holds a results folder."""

import fcntl
import os

from pytest_bench.results import layout
from pytest_bench.results.lock import is_in_use


def test_a_folder_is_in_use_while_its_lock_is_held(tmp_path):
    assert not is_in_use(tmp_path)
    with (tmp_path / layout.LOCK).open("w") as lock:
        assert not is_in_use(tmp_path)
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert is_in_use(tmp_path)
    assert not is_in_use(tmp_path)


def test_a_pipe_under_the_name_of_the_lock_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / layout.LOCK)
    assert not is_in_use(tmp_path)
