"""The output of a session on a terminal and in a log."""

import os
import pty
import re
import socket
import subprocess
import termios

import pytest

GONE = "\r\x1b[2K\x1b[A"
"""Takes the line of progress away and goes back to pytest's own."""


def watched(folder, *args, width=200, status=0, **environ):
    """Run pytest in a terminal; everything that was written to it."""
    reader, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (40, width))
    environment = {**folder.environment(), "TERM": "xterm", **environ}
    del environment["COLUMNS"]
    with subprocess.Popen(
        folder.command(*args, results=folder.root / "watched"),
        cwd=folder.root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        text = b""
        try:
            while data := os.read(reader, 65536):
                text += data
        except OSError:  # the terminal has no writer any more
            pass
        assert process.wait(30) == status, text.decode()
    os.close(reader)
    return text.decode().replace("\r\n", "\n")


def test_progress_is_one_line_below_pytests_own_that_leaves_nothing_behind(folder):
    told = watched(folder, "bench", "-n0")
    begin = told.index("bench/test_perf.py ")
    during = told[begin : told.index("[100%]")]
    assert "tiny/perf/one measured: " in during
    assert during.count("\n") == 2, "one new line a point, and each is given back"
    assert during.count(GONE) == 2
    kept = re.sub(r"\n[^\x1b]*(\r\x1b\[2K[^\x1b]*)*\r\x1b\[2K\x1b\[A\x1b\[\d+G", "", during)
    assert re.sub(r"\x1b\[[0-9;]*m", "", kept).split() == ["bench/test_perf.py", ".."]


def test_a_line_of_progress_never_wraps(folder):
    told = watched(folder, "bench", "-n0", width=30)
    lines = re.findall(r"(?:\n|\x1b\[2K)(\.\.\.[^\x1b\r\n]*)\r\x1b", told)
    assert lines
    assert max(map(len, lines)) < 30
    assert all(re.fullmatch(r"\.\.\.[a-z/]*(one|two) measured: \d/2 done", line) for line in lines)


@pytest.mark.parametrize(("args", "environ"), [(["-q"], {}), (["-q", "-n2"], {}), ([], {"TERM": "dumb"})])
def test_progress_is_not_shown_if_it_is_not_wanted(folder, args, environ):
    told = watched(folder, "bench", *args, **environ)
    assert "measured:" not in told
    assert "\x1b[2K" not in told


def test_progress_can_be_shown_in_a_quiet_session(folder):
    assert "tiny/perf/one measured: " in watched(folder, "bench", "-q", "--show-progress", "-n0")


@pytest.fixture
def absent(folder):
    """A folder whose endpoint refuses connections for as long as the wait lasts."""
    folder.edit("bench/tiny.yaml", "ready_timeout_s: 5", "ready_timeout_s: 3.2")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # and does not listen
        folder.endpoint = f"http://127.0.0.1:{holder.getsockname()[1]}"
        yield folder


def test_a_wait_for_an_endpoint_is_counted_down_on_one_line(absent):
    told = watched(absent, "bench", "-n0", "-k", "one", status=1)
    begin = told.index("bench/test_perf.py ")
    during = told[begin : told.index("[100%]")]
    lines = re.findall(r"waiting for http://127[.\d:]+: (\d) s left; GET /health: connection refused", during)
    assert len(lines) >= 2
    assert lines == sorted(lines, reverse=True)
    assert (during.count("\n"), during.count(GONE)) == (1, 1)


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_wait_is_one_line_in_a_log(absent, workers):
    ran = absent.run(workers, "-k", "one")
    lines = [line for line in ran.output.splitlines() if "waiting for http" in line]
    assert len(lines) == 1, "the next would come 10 s later"


def test_under_xdist_the_controller_says_what_its_workers_are_at(folder):
    """In a log as on a terminal: where a point begins, how its phase ended, and what it came to."""
    ran = folder.run("-n2")
    told = [line for line in ran.output.splitlines() if line.startswith("[gw")]
    assert len(told) == 6
    for name, lines in (("one", told[:3]), ("two", told[3:])):
        begins, phase, ends = (line.partition("] ")[2] for line in lines)
        assert begins == f"tiny/perf/{name}: begins"
        assert phase.startswith(f"tiny/perf/{name} measured: 2/2 done, 0 in flight, 0 failed, ")
        assert ends == f"tiny/perf/{name}: pass"


def test_no_color_leaves_the_colours_out(folder):
    assert not re.search(r"\x1b\[[0-9;]*m", watched(folder, "bench", NO_COLOR="1"))


def test_a_file_gets_neither_colours_nor_progress(folder):
    assert "\x1b" not in folder.run("bench").output


def test_progress_is_not_taken_for_the_tests_own_output(folder):
    told = watched(folder, "bench", "-n0", "-rP")
    assert "Captured stdout call" not in told
