"""xdist workers that die in an item, during collection, before it, or after the tests."""

from __future__ import annotations

import subprocess
import sys

import pytest
from bench_folder import events_in, leases_in

DIES_IN_ITEM = """
    import os
    import pytest

    @pytest.mark.points("perf")
    def test_perf(run_load, point):
        measured = run_load()
        if point.name == "one":
            os._exit(0)
        measured.require()
"""

WORKER_ONLY = """
    import os

    %s
        if "PYTEST_XDIST_WORKER" in os.environ:
            os._exit(0)
"""


@pytest.mark.parametrize("restart", [[], ["--max-worker-restart=0"]], ids=["restarted", "not-restarted"])
def test_a_worker_that_dies_in_an_item_makes_its_point_an_error(folder, restart):
    folder.write("bench/test_perf.py", DIES_IN_ITEM)
    ran = folder.run("-n2", *restart)
    assert ran.status == 1, ran.output
    assert ran.verdict["status"] == "error"
    assert ran.outcomes["tiny/perf/one"] == "error"
    assert "worker-crashed" in ran.reasons("tiny/perf/one")
    assert ran.outcomes["tiny/perf/two"] in ({"pass"} if not restart else {"missing", "pass"})
    assert ran.junit["tiny.perf::tiny/perf/one"] == "error"
    assert [name for name in ran.junit if name.startswith("bench")] == [], "one case a point"


@pytest.mark.parametrize(
    ("hook", "restart"),
    [
        ("def pytest_configure(config):", "--max-worker-restart=0"),
        ("def pytest_configure(config):", "--max-worker-restart=1"),
        ("def pytest_collection_modifyitems(items):", "--max-worker-restart=0"),
        ("def pytest_collection_modifyitems(items):", "--max-worker-restart=1"),
        ("def pytest_sessionfinish(session):", "--max-worker-restart=0"),
        ("def pytest_sessionfinish(session):", "--max-worker-restart=1"),
    ],
)
def test_workers_that_die_around_the_items_make_the_session_red(folder, hook, restart):
    folder.write("conftest.py", WORKER_ONLY % hook)
    ran = folder.run("-n2", restart)
    assert ran.status == 1, ran.output
    assert ran.verdict["status"] == "error"
    assert "worker-crashed" in ran.faults
    assert "error" in ran.junit.values()
    if "finish" not in hook:
        assert set(ran.outcomes.values()) == {"missing"}


def test_a_worker_that_comes_up_too_late_or_never_is_red(folder):
    ran = folder.run("--dist", "load", "--tx", "popen//python=/no/such/python")
    assert ran.status != 0
    assert ran.verdict["status"] in {"error", "incomplete"}
    assert "error" in ran.junit.values()


def test_workers_named_by_tx_run_points(folder):
    folder.run("--dist", "load", "--tx", "2*popen").require(0, "pass", one="pass", two="pass")


def test_our_scheduler_replaces_the_other_dist_modes(folder):
    """Under xdist's own `loadgroup` alone, points of one deployment would run side by side."""
    ran = folder.run("-n2", "--dist", "loadgroup")
    ran.require(0, "pass", one="pass", two="pass")
    assert len({lease.worker for lease in leases_in(ran.results)}) == 1


KILLS = """
    import os
    import pytest

    @pytest.mark.points("perf")
    def test_perf(run_load, point):
        if point.name == "one":
            os._exit(1)
        run_load().require()
"""


def test_a_point_that_kills_its_worker_is_not_started_again_and_the_others_run(folder):
    folder.points = ("one", "two", "three")
    folder.__post_init__()
    folder.write("bench/test_perf.py", KILLS)
    ran = folder.run("-n2")
    ran.require(1, "error", one="error", two="pass", three="pass")
    begun = [
        event
        for event in events_in(ran.results, "gw0")
        + events_in(ran.results, "gw1")
        + (events_in(ran.results, "gw2"))
        if getattr(event, "stage", None) == "setup" and event.point.endswith("/one")
    ]
    assert len(begun) == 1
    (sentence,) = [
        reason["sentence"]
        for reason in ran.verdict["points"][0]["reasons"]
        if reason["code"] == "worker-crashed"
    ]
    assert sentence.startswith("gw")
    assert "died while running it, and it was not started again" in sentence


@pytest.fixture
def apart(folder):
    """A Python whose results folder is another one than the controller's, as on a node that shares nothing."""
    script = f'mount -t tmpfs none "{folder.root}/results-1" && exec "{sys.executable}" "$@"'
    folder.write(
        "python-apart", f"#!/bin/sh\nexec unshare --map-root-user --mount sh -c '{script}' - \"$@\"\n"
    ).chmod(0o755)
    (folder.root / "results-1").mkdir()
    probe = subprocess.run([folder.root / "python-apart", "-c", "pass"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {probe.stderr.decode()}")
    (folder.root / "results-1").rmdir()
    return folder


def test_a_worker_that_does_not_share_the_results_folder_sends_its_events(apart):
    ran = apart.run("--dist", "load", "--tx", f"popen//python={apart.root}/python-apart")
    ran.require(1, "error", one="error", two="error")
    assert ran.reasons("tiny/perf/one") == ["no-evidence"], "its reports arrived, its files did not"
    assert events_in(ran.results, "gw0")
