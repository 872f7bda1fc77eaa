"""xdist workers that die: in an item, while they collect, before, and after."""

from __future__ import annotations

import pytest

from bench_folder import leases_in

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


def test_our_scheduler_stands_in_for_other_ways_to_distribute(folder):
    """Under xdist's own `loadgroup` alone, points of one deployment would run side by side."""
    ran = folder.run("-n2", "--dist", "loadgroup")
    ran.require(0, "pass", one="pass", two="pass")
    assert len({lease.worker for lease in leases_in(ran.results)}) == 1
