"""A silent load worker hangs only if it had a CPU, or did not wait for one."""

import os
import signal
import subprocess
import sys

import pytest
from driving import until

from pytest_bench.load.watchdog import Look, Watchdog, look


def silent_s(*looks, every_s=0.1):
    """Silence after these looks at a process, one every so often, without a heartbeat."""
    watchdog = Watchdog(1)
    for number, now in enumerate(looks):
        watchdog.add(now, number * every_s)
    return watchdog.silent_s


@pytest.mark.parametrize(
    ("looks", "silence"),
    [
        ([Look("R", 1.0)] * 1000, 0.0),
        ([Look("R", number * 0.001) for number in range(1000)], 0.999),
        ([Look("R", number * 0.1) for number in range(1000)], 99.9),
        ([Look("S", 1.0)] * 1000, 99.9),
        ([Look("D", 1.0)] * 1000, 99.9),
        ([Look("T", 1.0)] * 1000, 99.9),
        ([None] * 1000, 99.9),
        ([Look("S", 1.0), Look("R", 1.0)] * 500, 49.9),
        ([Look("R", 1.0)], 0.0),
    ],
    ids=[
        "waits for a CPU",
        "gets a hundredth of a CPU",
        "runs",
        "sleeps",
        "waits for a disk",
        "was stopped",
        "unknown",
        "sleeps half of the time, and then waits for a CPU",
        "seen once",
    ],
)
def test_silence_counts_unless_the_process_waits_for_a_cpu(looks, silence):
    assert silent_s(*looks) == pytest.approx(silence)


def test_the_time_for_which_the_observer_was_suspended_does_not_count():
    assert silent_s(Look("T", 1.0), Look("T", 1.0), every_s=3600.0) < 1.0
    assert silent_s(Look("R", 1.0), Look("R", 3000.0), every_s=3600.0) < 1.0


def test_a_heartbeat_ends_the_silence_and_an_announced_one_does_not_begin():
    watchdog = Watchdog(os.getpid())
    watchdog.silent_s = 3.0
    watchdog.watch(beat_ns=5)
    assert watchdog.silent_s == 0
    for _ in range(3):
        watchdog.watch(beat_ns=1 << 62)
    assert watchdog.silent_s == 0


@pytest.mark.parametrize(
    ("code", "stop", "state"),
    [("while True: pass", False, "R"), ("input()", False, "S"), ("while True: pass", True, "T")],
)
def test_the_state_and_the_cpu_time_of_a_process_are_read(code, stop, state):
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    try:
        until(lambda: look(process.pid).cpu_s > 0 or state == "S")
        if stop:
            os.kill(process.pid, signal.SIGSTOP)
        until(lambda: look(process.pid).state == state)
    finally:
        process.kill()
        process.communicate()
    assert look(process.pid) is None


def test_the_reason_says_what_a_hanging_process_does():
    for state, words in (("R", "endless loop"), ("T", "it was stopped"), ("S", "it sleeps")):
        watchdog = Watchdog(1)
        watchdog.add(Look(state, 0.0), 0.0)
        assert words in watchdog.reason
