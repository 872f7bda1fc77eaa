"""Points that drive load never overlap on one machine, and the event log shows it."""

from __future__ import annotations

import json
import platform

import msgspec
import pytest
from bench_folder import ONE, leases_in
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.leases import acquire
from pytest_bench.plugin.xdist import units
from pytest_bench.results.settle import settle
from pytest_bench.suite.plan import DeploymentPlan, Plan, Point
from pytest_bench.verdict.events import ExpectedPoint, SessionRecord
from pytest_bench.verdict.leases import overlaps
from pytest_bench.verdict.ledger import decide
from pytest_bench.verify import verify_session

TWO_SUITES = ("tiny", "other")


def second_suite(folder) -> None:
    text = (folder.root / "bench/tiny.yaml").read_text()
    folder.write("bench/other.yaml", text.replace("suite: tiny", "suite: other"))


def of_hosts(leases):
    return [lease for lease in leases if lease.scope == "host"]


def test_two_suites_on_two_workers_take_turns_on_the_host(folder):
    """Two deployments, so two units: xdist would run them side by side."""
    second_suite(folder)
    folder.edit("bench/other.yaml", "endpoint: ${ENDPOINT:-}", "endpoint: simulator")
    ran = folder.run("-n2")
    assert (ran.status, ran.verdict["status"]) == (0, "pass"), ran.output
    leases = leases_in(ran.results)
    points = [point["id"] for point in ran.verdict["points"]]
    assert {lease.point for lease in of_hosts(leases)} == set(points)
    assert {lease.worker for lease in leases} == {"gw0", "gw1"}
    assert list(overlaps(leases)) == []


def test_suites_on_one_endpoint_stay_on_one_worker(folder):
    second_suite(folder)
    ran = folder.run("-n2")
    assert (ran.status, ran.verdict["status"]) == (0, "pass"), ran.output
    assert len({lease.worker for lease in leases_in(ran.results)}) == 1


def test_suites_that_spell_one_endpoint_differently_stay_on_one_worker(folder):
    second_suite(folder)
    port = folder.endpoint.rpartition(":")[2]
    folder.edit("bench/other.yaml", "endpoint: ${ENDPOINT:-}", f"endpoint: HTTP://LocalHost:{port}/")
    ran = folder.run("-n2")
    assert (ran.status, ran.verdict["status"]) == (0, "pass"), ran.output
    leases = leases_in(ran.results)
    assert len({lease.worker for lease in leases}) == 1
    held = {
        suite: {
            lease.resource for lease in leases if lease.scope == "endpoint" and lease.point.startswith(suite)
        }
        for suite in TWO_SUITES
    }
    assert held["tiny"] & held["other"]


def deployed(*endpoints):
    """A plan of one suite, with one point, for each list of endpoints."""
    suites = {f"s{number}": urls for number, urls in enumerate(endpoints)}
    return Plan(
        deployments={
            suite: DeploymentPlan(suite=suite, api="a", api_reference="a", model="m", endpoints=tuple(urls))
            for suite, urls in suites.items()
        },
        datasets={},
        points=tuple(
            Point(
                id=f"{suite}/perf/p", suite=suite, kind="perf", name="p", origin="", dataset=None, load=None
            )
            for suite in suites
        ),
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://127.0.0.1:8000", "http://localhost:8000"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v2"),
        ("http://127.0.0.1", "http://127.0.0.1:80"),
        ("https://[::1]", "https://[0:0::1]:443/"),
        ("http://model.invalid:8000", "HTTP://MODEL.invalid:8000/"),
    ],
)
def test_different_spellings_of_one_server_are_one_unit(one, other):
    assert len(set(units(deployed([one], [other])).values())) == 1
    assert len(set(units(deployed(["http://127.0.0.9:1", one], [other, "http://127.0.0.8:1"])).values())) == 1


@given(st.lists(st.sets(st.integers(1, 6), min_size=1, max_size=3), min_size=1, max_size=6))
def test_deployments_joined_by_shared_servers_are_one_unit(replicas):
    found = units(deployed(*([f"http://127.0.0.{server}:8000" for server in one] for one in replicas)))
    joined = list(replicas)
    for _ in replicas:
        joined = [set().union(*(other for other in joined if other & one)) for one in joined]
    for number, one in enumerate(joined):
        for rival, other in enumerate(joined):
            alike = found[f"s{number}/perf/p"] == found[f"s{rival}/perf/p"]
            assert alike == bool(one & other)


def test_own_simulators_are_units_of_their_own():
    assert len(set(units(deployed(["simulator"], ["simulator"], [])).values())) == 3


def test_two_sessions_on_one_machine_take_turns(folder, tmp_path):
    calls = [folder.start("-n0", results=tmp_path / name) for name in ("first", "second")]
    for call in calls:
        output, _ = call.communicate(timeout=60)
        assert call.returncode == 0, output
    leases = [
        msgspec.structs.replace(lease, worker=f"{name} {lease.worker}")
        for name in ("first", "second")
        for lease in leases_in(tmp_path / name)
    ]
    assert {lease.scope for lease in leases} == {"endpoint", "host"}
    assert list(overlaps(leases)) == []


@pytest.mark.parametrize("scope", ["host", "endpoint"])
def test_a_session_waits_for_a_lease_of_another_session_and_names_it(folder, scope, workers):
    resource = {"host": platform.node(), "endpoint": folder.endpoint.removeprefix("http://")}[scope]
    with acquire(scope, resource, nonce="theirs", point="other/perf/long", folder=folder.runtime) as held:
        call = folder.start(workers, "-k", "one", results=folder.root / "waited")
        told = next(line for line in call.stdout if "waiting: " in line)
    rest, _ = call.communicate(timeout=60)
    assert f"the {scope} {resource} is in use by other/perf/long of session theirs" in told
    assert call.returncode == 0, rest
    starts = [item.start_ns for item in leases_in(folder.root / "waited") if item.scope == scope]
    assert min(starts) >= held.end_ns


def test_the_lease_covers_the_deployment_coming_up_and_the_whole_point(folder):
    folder.edit("bench/tiny.yaml", "endpoint: ${ENDPOINT:-}", "endpoint: simulator")
    ran = folder.run("-n0", "-k", "one")
    held = of_hosts(leases_in(ran.results))
    assert [lease.point for lease in held] == ["tiny/perf/one"] * 2, "bringing up, and running"
    phase = json.loads((ran.results / "points/tiny/perf/one/summary.json").read_text())["phases"][0]
    assert held[1].start_ns < phase["first_issue_ns"] < phase["last_completion_ns"] < held[1].end_ns


# Removes the lease files of the point while it runs.
LOSES = """
    import threading
    from pathlib import Path

    import pytest

    @pytest.mark.points("perf")
    def test_perf(run_load, point):
        done = threading.Event()

        def clean_up():
            while not done.wait(0.001):
                for path in Path("%s").glob("*.lease"):
                    if f'"{point.id}"' in path.read_text():
                        path.unlink()

        cleaner = threading.Thread(target=clean_up)
        cleaner.start()
        try:
            run_load().require()
        finally:
            done.set()
            cleaner.join()
"""


def test_a_point_that_loses_a_lease_is_an_error_that_verify_sees(folder, workers):
    folder.write("bench/test_perf.py", LOSES % folder.runtime)
    ran = folder.run(workers, "-k", "one")
    ran.require(1, "error", one="error")
    assert set(ran.reasons(ONE)) == {"test-failed", "lease"}
    assert "so another session may have disturbed the measurement" in ran.output
    assert {lease.lost for lease in leases_in(ran.results)} == {False, True}, "bringing up, and running"
    found = verify_session(ran.results)
    assert (found.problems, found.verdict.status) == ((), "error")


def test_a_session_whose_points_overlapped_is_red(folder):
    """As two points would that disturbed each other: everything else about them is good."""
    ran = folder.run("-n0")
    found = settle(ran.results)
    assert found.verdict.status == "pass"
    leases = leases_in(ran.results)
    first, second = (
        next(lease for lease in leases if lease.point == f"tiny/perf/{name}" and lease.scope == "host")
        for name in ("one", "two")
    )
    overlapping = msgspec.structs.replace(second, start_ns=first.start_ns, worker="gw1")
    others = [event for event in found.events if event != second]
    expected = [
        ExpectedPoint(id=point.id, digest=found.plan.point_digest(point), leases=("endpoint", "host"))
        for point in found.plan.points
    ]
    facts = SessionRecord(
        nonce=found.verdict.nonce, pytest_exit_status=0, plan_digest=found.verdict.plan_digest
    )
    assert decide(expected, [*others, second], found.evidence, facts).status == "pass"
    assert decide(expected, [*others, overlapping], found.evidence, facts).status == "error"
