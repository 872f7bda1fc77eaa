"""Points that drive load never overlap on one machine, and the record shows it."""

from __future__ import annotations

import json
import platform
import subprocess

import msgspec
import pytest

from pytest_bench.leases import acquire
from pytest_bench.verdict.evidence import check_evidence
from pytest_bench.verdict.leases import overlaps
from pytest_bench.verdict.ledger import settle
from pytest_bench.verdict.record import read_record

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
    record = read_record(ran.results)
    points = [point["id"] for point in ran.verdict["points"]]
    assert {lease.point for lease in of_hosts(record.leases)} == set(points)
    assert {lease.worker for lease in record.leases} == {"gw0", "gw1"}
    assert list(overlaps(record.leases)) == []


def test_suites_on_one_endpoint_stay_on_one_worker(folder):
    second_suite(folder)
    ran = folder.run("-n2")
    assert (ran.status, ran.verdict["status"]) == (0, "pass"), ran.output
    assert len({lease.worker for lease in read_record(ran.results).leases}) == 1


def test_two_sessions_on_one_machine_take_turns(folder, tmp_path):
    calls = [
        subprocess.Popen(
            folder.command("-n0", results=tmp_path / name),
            cwd=folder.root,
            env=folder.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in ("first", "second")
    ]
    for call in calls:
        output, _ = call.communicate(timeout=60)
        assert call.returncode == 0, output
    records = [read_record(tmp_path / name) for name in ("first", "second")]
    leases = [
        msgspec.structs.replace(lease, worker=f"{record.facts.nonce} {lease.worker}")
        for record in records
        for lease in record.leases
    ]
    assert {lease.scope for lease in leases} == {"endpoint", "host"}
    assert list(overlaps(leases)) == []


@pytest.mark.parametrize("scope", ["host", "endpoint"])
def test_a_session_waits_for_what_another_holds_and_says_for_whom(folder, scope, workers):
    resource = {"host": platform.node(), "endpoint": folder.endpoint}[scope]
    with acquire(scope, resource, nonce="theirs", point="other/perf/long", folder=folder.runtime) as held:
        call = subprocess.Popen(
            folder.command(workers, "-k", "one", results=folder.root / "waited"),
            cwd=folder.root,
            env=folder.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        told = next(line for line in call.stdout if "waiting: " in line)
    rest, _ = call.communicate(timeout=60)
    assert f"the {scope} {resource} is in use by other/perf/long of session theirs" in told
    assert call.returncode == 0, rest
    starts = [item.start_ns for item in read_record(folder.root / "waited").leases if item.scope == scope]
    assert min(starts) >= held.end_ns


def test_the_lease_covers_the_deployment_coming_up_and_the_whole_point(folder):
    folder.edit("bench/tiny.yaml", "endpoint: ${ENDPOINT:-}", "endpoint: simulator")
    ran = folder.run("-n0", "-k", "one")
    held = of_hosts(read_record(ran.results).leases)
    assert [lease.point for lease in held] == ["tiny/perf/one"] * 2, "bringing up, and running"
    phase = json.loads((ran.results / "points/tiny/perf/one/summary.json").read_text())["phases"][0]
    assert (held[1].end_ns - held[1].start_ns) > phase["last_completion_ns"] - phase["first_issue_ns"]


def test_a_session_whose_points_overlapped_is_red(folder):
    """As two points would that disturbed each other: everything else about them is good."""
    ran = folder.run("-n0")
    record = read_record(ran.results)
    first, second = (
        next(lease for lease in record.leases if lease.point == f"tiny/perf/{name}" and lease.scope == "host")
        for name in ("one", "two")
    )
    overlapping = msgspec.structs.replace(second, start_ns=first.start_ns, worker="gw1")
    leases = [overlapping if lease == second else lease for lease in record.leases]
    evidence = {
        point.id: check_evidence(ran.results / "points" / point.id, path=f"points/{point.id}", point=point.id)
        for point in record.expected
    }
    assert settle(record.expected, record.events, evidence, record.leases, record.facts).status == "pass"
    assert settle(record.expected, record.events, evidence, leases, record.facts).status == "error"
