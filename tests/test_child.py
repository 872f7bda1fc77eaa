"""Child processes of ours: they are started, answer, and end with what started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from pytest_bench.child import Child


def script(text):
    return [sys.executable, "-P", "-c", textwrap.dedent(text)]


def child_of(text, **options):
    return Child(script(text), **options)


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_until(condition):
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit, "did not happen in time"
        time.sleep(0.01)


UNTIL_EOF = "import sys; print('ready', flush=True); sys.stdin.read()"
DEAF = """
    import signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print('ready', flush=True)
    time.sleep(600)
"""


def test_a_child_reports_that_it_is_ready_with_its_first_line():
    child = child_of(UNTIL_EOF)
    assert child.first_line(60) == b"ready\n"
    assert child.wait() is None
    assert child.stop(60) == 0


def test_a_child_that_ends_without_a_line_has_none_and_its_errors_are_kept():
    child = child_of("import sys; sys.exit('no room left')")
    assert child.first_line(60) is None
    assert child.wait(60) == 1
    assert child.stderr_tail() == "no room left"
    assert child.stop() == 1
    assert child.stderr_tail() == "no room left"


def test_a_child_that_says_nothing_in_time_has_no_first_line():
    child = child_of("import time; time.sleep(600)")
    assert child.first_line(0.01) is None
    assert child.stop() == -signal.SIGKILL


def test_it_receives_what_is_sent_and_sending_to_one_that_has_ended_is_no_error():
    child = child_of("print(input()[::-1], flush=True)")
    child.send(b"abc\n")
    assert child.first_line(60) == b"cba\n"
    assert child.wait(60) == 0
    child.send(b"more\n")
    child.stop()


def test_the_end_of_its_input_asks_a_child_to_end():
    child = child_of("import sys; print('ready', flush=True); sys.stdin.read(); sys.exit(3)")
    child.first_line(60)
    assert child.stop(60) == 3
    assert child.stop(60) == 3


def test_a_child_that_does_not_end_is_asked_by_signal_and_then_killed():
    asked = child_of("import time; print('ready', flush=True); time.sleep(600)")
    asked.first_line(60)
    assert asked.stop(0.05) == -signal.SIGTERM
    deaf = child_of(DEAF)
    deaf.first_line(60)
    assert deaf.stop(0.05) == -signal.SIGKILL


def test_a_child_imports_what_its_parent_can_import_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "beside.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir("/")
    child = child_of("import beside; print(beside.__file__)")
    assert child.first_line(60) == f"{tmp_path}/beside.py\n".encode()
    child.stop()


def test_a_child_inherits_the_descriptors_and_variables_that_it_is_given(tmp_path):
    (tmp_path / "file").write_text("inside")
    with (tmp_path / "file").open() as stream:
        child = child_of(
            f"import os; print(os.read({stream.fileno()}, 99).decode(), os.environ['WHICH'])",
            descriptors=[stream.fileno()],
            environment={"WHICH": "one"},
        )
        assert child.first_line(60) == b"inside one\n"
    child.stop()


def test_ctrl_c_does_not_reach_a_child():
    child = child_of(UNTIL_EOF)
    assert os.getpgid(child.pid) == child.pid
    child.stop()


def test_a_command_that_does_not_exist_is_an_error():
    with pytest.raises(FileNotFoundError):
        Child(["/no/such/program"])


@pytest.mark.parametrize(
    "stopped", [False, True], ids=["by the end of its input", "by the kernel, although it is stopped"]
)
def test_a_child_ends_with_its_parent_however_that_ends(stopped):
    inner = """
        import sys
        from pytest_bench.child import die_with_parent
        die_with_parent()
        print('ready', flush=True)
        sys.stdin.read()
    """
    outer = f"""
        import signal, sys
        from pytest_bench.child import Child
        child = Child({script(UNTIL_EOF if not stopped else inner)!r})
        child.first_line(60)
        print(child.pid, flush=True)
        signal.pause()
    """
    with subprocess.Popen(script(outer), stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        assert runs(pid)
        if stopped:
            os.kill(pid, signal.SIGSTOP)
        parent.kill()
    wait_until(lambda: not runs(pid))


def test_errors_can_be_appended_to_a_file_of_their_own(tmp_path):
    (tmp_path / "log").write_text("before\n")
    child = child_of("import sys; sys.exit('no room left')", errors=tmp_path / "log")
    child.wait(60)
    child.stop()
    assert (tmp_path / "log").read_text() == "before\nno room left\n"
    assert child.stderr_tail().endswith("no room left")
