"""Files that appear whole or not at all, and never in the place of something that is no file."""

from __future__ import annotations

import os

import pytest

from pytest_bench.files import write_atomic


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "verdict.json"
    for text in (b"red", b"green"):
        write_atomic(path, text)
        assert path.read_bytes() == text
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("link", [False, True], ids=["itself", "by a link"])
def test_what_is_no_plain_file_is_never_replaced(tmp_path, link):
    """A rename would put a file in the place of /dev/null, where the user may do so."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path = tmp_path / "named" if link else pipe
    if link:
        path.symlink_to(pipe)
    with pytest.raises(OSError, match="is not a regular file"):
        write_atomic(path, b"red")
    assert pipe.is_fifo()
    assert path.is_symlink() == link
