"""Whole sessions whose deployment is a container, from the suite to `verify`; also killed ones."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import docker
import docker.errors
import pytest
from container_suites import ENDLESS, LAUNCHER, ROLE_NAMES, SHORT, command, until, write, write_roles

from pytest_bench.containers import watchdog
from pytest_bench.containers.ownership import OWNER, PREFIX, Owner, remove_left_over

LOOSE = "    budget: {achieved_share: 0.01, vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1.0}"
"""Limits for a busy machine."""
SHIPPED = Path(__file__).parents[2] / "suites"


@pytest.fixture(scope="session")
def session(image, tmp_path_factory):
    folder = tmp_path_factory.mktemp("session")
    for network in ("bridge", "host"):
        write(folder, network, image, SHORT, network)
    write_roles(folder, "roles", image, SHORT)
    for shipped in ("container.yaml", "container-host.yaml"):
        text = (SHIPPED / shipped).read_text()
        (folder / "suites" / shipped).write_text(text.replace("    bounds:", f"{LOOSE}\n    bounds:"))
    for data in ("data", "simulated"):
        shutil.copytree(SHIPPED / data, folder / "suites" / data)
    ran = subprocess.run(**command(folder, "pytest", "suites", "--results=results"), check=False)
    return SimpleNamespace(
        folder=folder, results=folder / "results", status=ran.returncode, output=ran.stdout
    )


def test_suites_with_containers_pass_on_both_networks_and_by_role(session):
    assert session.status == 0, session.output
    verdict = json.loads((session.results / "verdict.json").read_text())
    assert {point["outcome"] for point in verdict["points"]} == {"pass"}
    suites = {point["id"].partition("/")[0] for point in verdict["points"]}
    assert suites == {"bridge", "host", "roles", "container", "container-host"}


def test_the_evidence_says_which_image_ran_with_which_names_and_no_values_of_secrets(session, image):
    folder = session.results / "deployments" / "bridge"
    evidence = json.loads((folder / "container.json").read_text())
    assert evidence["image"]["id"] == image
    assert evidence["environment"] == ["EVAL_CONC", "KEY", "MODEL"]
    assert evidence["forwarded"] == ["MODEL"]
    assert evidence["nonce"] == json.loads((session.results / "verdict.json").read_text())["nonce"]
    everything = b"".join(path.read_bytes() for path in session.results.rglob("*") if path.is_file())
    assert b"sk-secret" not in everything


def test_a_point_has_its_part_of_the_log_in_numbers(session):
    (log,) = json.loads((session.results / "points/bridge/perf/point/server_log.json").read_text())["parts"]
    assert (log["requests"], log["end_byte"] - log["start_byte"]) == (6, log["size_bytes"])


def test_each_role_has_its_own_evidence_and_its_own_part_of_each_points_log(session):
    deployment, point = (session.results / path for path in ("deployments/roles", "points/roles/perf/point"))
    assert {path.parent.name for path in deployment.glob("*/container.json")} == set(ROLE_NAMES)
    assert {path.name for path in point.glob("server_log*")} == {
        f"server_log.{role}.json" for role in ROLE_NAMES
    }
    assert json.loads((deployment / "client" / "container.json").read_text())["ended"]["exit_code"] == 3


def test_the_end_of_a_role_that_is_not_critical_is_recorded_with_the_point_and_shown(session):
    log = json.loads((session.results / "points/roles/perf/point/server_log.client.json").read_text())
    assert log["parts"][0]["ended"] == "ended with exit status 3"
    assert "(role client) ended with exit status 3" in session.output


def test_a_points_evidence_names_its_artifacts_and_a_later_point_those_that_have_changed(session):
    folder = session.results / "points/roles/perf/point"
    listed = json.loads((folder / "artifacts.json").read_text())["artifacts"]
    assert [(each["role"], each["path"]) for each in listed] == [
        (role, f"artifacts/{role}/etc/group") for role in ("prefill", "decode")
    ]
    evidence = json.loads((folder / "evidence.json").read_text())["files"]
    for each in listed:
        known = {name: each[name] for name in ("path", "size_bytes", "sha256")}
        assert known in evidence
    later = json.loads((session.results / "points/bridge/perf/later/artifacts.json").read_text())["artifacts"]
    assert {each["source"]: each["path"] for each in later} == {"/etc/passwd": None}


def test_verify_accepts_the_session_until_an_artifact_changes(session):
    verified = subprocess.run(**command(session.folder, "pytest-bench", "verify", "results"), check=False)
    assert verified.returncode == 0, verified.stdout
    copy = session.results / "points/roles/perf/point/artifacts/decode/etc/group"
    before = copy.read_bytes()
    copy.write_bytes(before[:-1] + b"x")
    verified = subprocess.run(**command(session.folder, "pytest-bench", "verify", "results"), check=False)
    copy.write_bytes(before)
    assert verified.returncode != 0
    assert "artifacts/decode/etc/group: was altered" in verified.stdout


@pytest.fixture(scope="session")
def failing(image, tmp_path_factory):
    """A session of a decode server that gets the prefill's parallelism, and of a server that hangs."""
    folder = tmp_path_factory.mktemp("failing")
    write_roles(folder, "swapped", image, SHORT, LAUNCHER.replace("DECODE", "PREFILL"))
    write(folder, "hung", image, ENDLESS)
    hung = folder / "suites" / "hung.yaml"
    # With this seed the first request, that of the readiness probe, is answered, and the next sixty hang.
    stuck = '--fault, stall=0.95, --seed, "74"]\n    no_progress_s: 1'
    hung.write_text(hung.read_text().replace('--itl-ms, "1"]', stuck))
    ran = subprocess.run(**command(folder, "pytest", "suites", "--results=results"), check=False)
    points = json.loads((folder / "results" / "verdict.json").read_text())["points"]
    return SimpleNamespace(
        results=folder / "results", output=ran.stdout, points={point["id"]: point for point in points}
    )


def test_a_decode_server_with_the_parallelism_of_the_prefill_is_an_error_before_any_request(failing):
    point = failing.points["swapped/perf/point"]
    assert point["outcome"] == "error", failing.output
    story = json.dumps(point)
    assert "argument '--max-concurrency 4' is in the command line of process 1" in story
    assert "asked for '--max-concurrency 8'" in story
    assert "(role decode)" in story
    assert not (failing.results / "points/swapped").exists()
    assert "POST" not in (failing.results / "deployments/swapped/proxy/container.log").read_text()


def test_a_server_that_is_stuck_although_its_liveness_endpoint_answers_ends_the_point(failing):
    point = failing.points["hung/perf/point"]
    assert point["outcome"] == "error", failing.output
    assert "no request has made progress for" in json.dumps(point)
    assert "deployment.container.no_progress_s is 1" in json.dumps(point)
    folder = failing.results / "deployments/hung"
    assert json.loads((folder / "container.json").read_text())["ended_early"] is False
    assert json.loads((folder / "diagnostics.json").read_text())["state"]["state"]["Running"] is True


@pytest.mark.parametrize("program", [("pytest",), ("pytest-bench", "run")], ids=" ".join)
def test_nothing_is_left_of_a_session_that_is_killed(engine, image, tmp_path, program):
    write_roles(tmp_path, "killed", image, ENDLESS)
    with (tmp_path / "output").open("w") as output:
        call = command(tmp_path, *program, "suites", "--results=results")
        running = subprocess.Popen(**{**call, "stdout": output})
    phase = tmp_path / "results/points/killed/perf/point/phases/measured"
    session = running.pid
    try:
        until(lambda: running.poll() is not None or any(phase.glob("requests.*.jsonl")))
        assert running.poll() is None, (tmp_path / "output").read_text()
        if len(program) > 1:  # pytest is its only child
            session = int(Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text())
        nonce = json.loads((tmp_path / "results/verdict.json").read_text())["nonce"]
        ours = {"label": f"{PREFIX}session={nonce}"}
        assert len(engine.containers.list(filters=ours)) == 3
        assert len(engine.networks.list(filters=ours)) == 1
    finally:
        os.kill(session, signal.SIGKILL)
        running.wait()
    until(lambda: engine.containers.list(all=True, filters=ours, ignore_removed=True) == [])
    until(lambda: engine.networks.list(filters=ours) == [])
    until(lambda: processes_of(tmp_path) == [])


def processes_of(folder):
    """Running processes of the session in this folder: all have its environment."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"PYTEST_BENCH_LEASES={folder}/leases".encode() in environ.read_bytes():
                found.append(environ.parent.name)
    return found


def test_the_limits_of_the_watchdog_add_up_to_less_than_ten_seconds():
    assert watchdog.SETTLE_S + watchdog.INTERVAL_S < 10


class Interrupted:
    """An engine whose first answers are errors, as while it restarts."""

    def __init__(self, client, failures):
        self.containers, self.networks = self, client.networks
        self._client, self._left = client, failures

    def list(self, **options):
        if self._left:
            self._left -= 1
            raise docker.errors.DockerException("restarting")
        return self._client.containers.list(**options)


def test_the_watchdog_tries_again_while_the_engine_does_not_answer(engine, image, capsys):
    owner = f"watchdog-test-{os.getpid()}"
    made = engine.containers.create(image, labels={OWNER: owner})
    assert watchdog.remove_all(Interrupted(engine, 2), owner) == 0
    assert made.name in capsys.readouterr().err
    assert engine.containers.list(all=True, filters={"label": f"{OWNER}={owner}"}) == []


def test_sigterm_copies_artifacts_out_and_removes_the_container(engine, image, tmp_path):
    write(tmp_path, "ended", image, ENDLESS)
    with (tmp_path / "output").open("w") as output:
        running = subprocess.Popen(
            **{**command(tmp_path, "pytest", "suites", "--results=results"), "stdout": output}
        )
    phase = tmp_path / "results/points/ended/perf/point/phases/measured"
    until(lambda: running.poll() is not None or any(phase.glob("requests.*.jsonl")))
    running.terminate()
    assert running.wait() == 2
    nonce = json.loads((tmp_path / "results/verdict.json").read_text())["nonce"]
    assert engine.containers.list(all=True, filters={"label": f"{PREFIX}session={nonce}"}) == []
    folder = tmp_path / "results/deployments/ended"
    (artifact,) = json.loads((folder / "container.json").read_text())["artifacts"]
    assert (folder / artifact["path"]).stat().st_size == artifact["size_bytes"] > 0


def test_a_container_that_ends_during_a_point_ends_the_point_with_diagnostics(engine, image, tmp_path):
    write(tmp_path, "died", image, ENDLESS)
    with (tmp_path / "output").open("w") as output:
        running = subprocess.Popen(
            **{**command(tmp_path, "pytest", "suites", "--results=results"), "stdout": output}
        )
    phase = tmp_path / "results/points/died/perf/point/phases/measured"
    until(lambda: running.poll() is not None or any(phase.glob("requests.*.jsonl")))
    assert running.poll() is None, (tmp_path / "output").read_text()
    nonce = json.loads((tmp_path / "results/verdict.json").read_text())["nonce"]
    (server,) = engine.containers.list(filters={"label": f"{PREFIX}session={nonce}"})
    server.kill()
    assert running.wait() == 1
    (point,) = json.loads((tmp_path / "results/verdict.json").read_text())["points"]
    assert point["outcome"] == "error"
    assert "ended with exit status 137" in json.dumps(point)
    folder = tmp_path / "results/deployments/died"
    assert json.loads((folder / "container.json").read_text())["ended"]["exit_code"] == 137
    assert (folder / "diagnostics.json").exists()


def test_only_what_a_killed_session_left_is_removed(engine, image):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = Owner.here()
    labels = {
        "left": Owner(**{**vars_of(here), "pid": ended.pid}).labels(),
        "rebooted": Owner(**{**vars_of(here), "boot_id": "an earlier one"}).labels(),
        "running": here.labels(),
        "elsewhere": Owner(**{**vars_of(here), "host": "another", "pid": ended.pid}).labels(),
        "foreign": {},
    }
    made = {
        name: engine.containers.create(
            image, name=f"reaped-{name}-{os.getpid()}", labels={OWNER: name, **each}
        )
        for name, each in labels.items()
    }
    try:
        removed = {
            name.split("-")[1] for name in remove_left_over(engine) if name.endswith(f"-{os.getpid()}")
        }
        assert removed == {"left", "rebooted"}
        remaining = {each.name for each in engine.containers.list(all=True)}
        assert {name for name, each in made.items() if each.name in remaining} == {
            "running",
            "elsewhere",
            "foreign",
        }
    finally:
        for each in engine.containers.list(all=True):
            if each.name.endswith(f"-{os.getpid()}"):
                each.remove(force=True)


def vars_of(owner):
    return {name: getattr(owner, name) for name in owner.__struct_fields__}
