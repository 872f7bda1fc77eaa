"""Green files of an earlier session are never taken for those of a later one."""

from __future__ import annotations

import json
import subprocess

import pytest

from pytest_bench.cli.main import main
from pytest_bench.leases import acquire


def test_a_used_results_folder_is_refused_and_its_verdict_set_aside(folder, workers):
    first = folder.run("-n0", "-k", "one", results="used")
    first.require(0, "pass", one="pass")
    again = folder.run(workers, results="used")
    assert again.status == 4
    assert "is not empty" in again.output
    assert (again.verdict["status"], again.verdict["refused"]) == ("error", True)
    assert again.junit == {"session::integrity": "error"}
    kept = json.loads((again.results / f"verdict.{first.verdict['nonce']}.json").read_text())
    assert kept == first.verdict
    assert (again.results / f"junit.{first.verdict['nonce']}.xml").read_text() == first.junit_text
    assert (again.results / "points/tiny/perf/one/evidence.json").exists(), "nothing is deleted"


def test_a_verdict_that_was_set_aside_can_be_had_back_as_the_refusal_and_verify_say(folder, capsys):
    first = folder.run("-n0", "-k", "one", results="used")
    again = folder.run("-n0", "-k", "one", results="used")
    kept = f"verdict.{first.verdict['nonce']}.json"
    (told,) = [line for line in again.output.splitlines() if "to restore it: " in line]
    assert kept in told
    assert main(["verify", str(first.results), "--allow-partial"]) == 1
    (verified,) = capsys.readouterr().err.splitlines()
    assert "verdict.json: is of a later call that was refused" in verified
    assert verified.rpartition("mv ")[2] == told.rpartition("mv ")[2]
    command = verified.rpartition("to restore it: ")[2]
    subprocess.run(command, shell=True, check=True, cwd=folder.root)
    assert main(["verify", str(first.results), "--allow-partial"]) == 0


def test_a_folder_of_something_else_is_refused_and_left_alone(folder):
    folder.write("theirs/notes.txt", "do not touch")
    ran = folder.run("-n0", results="theirs")
    assert ran.status == 4
    assert [path.name for path in (folder.root / "theirs").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "mistake", [["--no-such-option"], ["-k", "one and"], ["--endpoint=h:1"]], ids=" ".join
)
def test_a_mistake_does_not_use_up_the_name_of_a_folder(folder, mistake):
    """Any number of times: the files of a refused call are not evidence."""
    junit = "--junitxml=new/ci.xml"
    for _ in range(2):
        assert folder.run("-n0", *mistake, junit, results="new").status == 4
    ran = folder.run("-n0", "-k", "one", junit, results="new")
    ran.require(0, "pass", one="pass")
    assert not list(ran.results.glob("*unreadable*")) + list(ran.results.glob("verdict.*.json"))
    assert not (ran.results / "junit.xml").exists(), "it was of a call that was refused"
    assert main(["verify", str(ran.results), "--allow-partial", "--junit", str(ran.results / "ci.xml")]) == 0


def test_a_folder_that_holds_only_a_green_junit_file_is_refused_and_turns_red(folder):
    folder.write("used/junit.xml", GREEN)
    ran = folder.run("-n0", results="used")
    assert ran.status == 4
    assert ran.verdict["refused"]
    assert ran.junit == {"session::integrity": "error"}
    (kept,) = (folder.root / "used").glob("junit.unreadable-*.xml")
    assert kept.read_text() == GREEN


def test_a_folder_whose_verdict_is_a_dangling_link_is_refused_and_turns_red(folder):
    folder.write("used/junit.xml", GREEN)
    (folder.root / "used/verdict.json").symlink_to("nowhere.json")
    ran = folder.run("-n0", results="used")
    assert ran.status == 4
    assert ran.verdict["refused"]
    assert not (ran.results / "verdict.json").is_symlink()
    assert ran.junit == {"session::integrity": "error"}


@pytest.mark.parametrize("damage", ["{", '{"version": 1}', "[]"])
def test_a_damaged_verdict_is_set_aside_too(folder, damage):
    folder.write("used/verdict.json", damage)
    ran = folder.run("-n0", results="used")
    assert ran.status == 4
    assert ran.verdict["refused"]
    (kept,) = (folder.root / "used").glob("verdict.unreadable-*.json")
    assert kept.read_text() == damage


GREEN = '<testsuites><testsuite tests="1"><testcase name="tiny/perf/one" /></testsuite></testsuites>'


def test_a_refused_call_leaves_no_stale_junit_file_green(folder, workers):
    folder.write("ci.xml", GREEN)
    folder.edit("bench/tiny.yaml", "requests: 2}", "requests: none}")
    ran = folder.run(workers, "--junitxml=ci.xml")
    assert ran.status == 4
    assert ran.junit == {"session::integrity": "error"}
    assert "expected" in ran.junit_text


def test_a_process_that_dies_leaves_no_stale_junit_file_green(folder, workers):
    folder.write("ci.xml", GREEN)
    folder.write("conftest.py", "import os\ndef pytest_sessionstart(): os._exit(0)\n")
    ran = folder.run(workers, "--junitxml=ci.xml")
    assert (ran.status, ran.verdict["status"]) == (0, "incomplete"), (
        "the process was killed, so its own exit status counts"
    )
    assert set(ran.junit.values()) == {"error"}


def test_a_junit_file_behind_a_link_is_written_where_the_link_leads(folder):
    folder.write("artifacts/real.xml", GREEN)
    (folder.root / "ci.xml").symlink_to("artifacts/real.xml")
    ran = folder.run("-n0", "-k", "one", "--junitxml=ci.xml")
    ran.require(0, "pass", one="pass")
    assert (folder.root / "ci.xml").is_symlink()
    assert (folder.root / "artifacts/real.xml").read_text() == ran.junit_text
    assert (
        main(
            [
                "verify",
                str(ran.results),
                "--allow-partial",
                "--junit",
                str(folder.root / "artifacts/real.xml"),
            ]
        )
        == 0
    )


@pytest.mark.parametrize("target", ["/dev/stdout", "/dev/null", "/proc/self/fd/1"])
@pytest.mark.parametrize("by_link", [False, True])
def test_a_junit_file_that_leads_to_a_device_is_refused(folder, target, by_link):
    named = target
    if by_link:
        named = "ci.xml"
        (folder.root / named).symlink_to(target)
    ran = folder.run("-n0", "--junitxml", named)
    assert ran.status == 4, ran.output
    assert "is a device" in ran.output
    assert not by_link or (folder.root / named).is_symlink()


def test_of_two_sessions_with_one_junit_file_the_second_is_refused_and_touches_it_not(folder):
    with acquire("host", "node", nonce="theirs", point="other/perf/long", folder=folder.runtime):
        running = folder.start("-n0", "-k", "one", "--junitxml=ci.xml", results=folder.root / "first")
        assert any("waiting: " in line for line in running.stdout)
        before = (folder.root / "ci.xml").read_bytes()
        ran = folder.run("-n0", "--junitxml=ci.xml", results="second")
        assert ran.status == 4, ran.output
        assert "is in use by pytest of session" in ran.output
        assert ran.verdict["refused"]
        assert (folder.root / "ci.xml").read_bytes() == before
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 0, output


def results_of(folder):
    """The names in `results/`, and what `latest` names."""
    parent = folder.root / "results"
    latest = parent / "latest"
    return sorted(path.name for path in parent.iterdir()), latest.readlink() if latest.is_symlink() else None


REFUSED = {
    "a suite with a problem": ("requests: 2}", "requests: none}"),
    "no endpoint": ("${ENDPOINT:-}", '""'),
    "a missing dataset": ("data/prompts.jsonl", "data/gone.jsonl"),
}


@pytest.mark.parametrize("judged", [False, True], ids=["pytest", "pytest-bench run"])
@pytest.mark.parametrize("problem", REFUSED)
def test_a_refused_call_takes_neither_a_folder_nor_latest(folder, problem, judged):
    folder.run("-n0", "-k", "one", results=None).require(0, "pass", one="pass")
    before = results_of(folder)
    folder.edit("bench/tiny.yaml", *REFUSED[problem])
    ran = folder.run("-n0", results=None, judged=judged)
    assert ran.status == (2 if judged else 4), ran.output
    assert results_of(folder) == before
    assert ran.verdict["status"] == "pass", "of the session before"


def test_a_refused_first_call_leaves_no_folder(folder):
    folder.edit("bench/tiny.yaml", "requests: 2}", "requests: none}")
    assert folder.run("-n0", results=None).status == 4
    assert not (folder.root / "results").exists()


def test_of_sessions_that_want_one_folder_at_once_one_has_it_and_the_others_touch_nothing(folder):
    """The winner cannot end before all others have: the host is held until then."""
    with acquire("host", "node", nonce="theirs", point="other/perf/long", folder=folder.runtime):
        calls = [folder.start("-n0", "--junitxml=ci.xml", results=folder.root / "shared") for _ in range(3)]
        (winner,) = [call for call in calls if any("waiting: " in line for line in call.stdout)]
        refused = [call for call in calls if call is not winner]
        for call in refused:
            call.communicate(timeout=30)
        assert [call.returncode for call in refused] == [4, 4]
        before = {path.name for path in (folder.root / "shared").iterdir()}
    output, _ = winner.communicate(timeout=60)
    ran = folder.read(winner.returncode, output, folder.root / "shared", ("--junitxml=ci.xml",))
    ran.require(0, "pass", one="pass", two="pass")
    assert not (ran.results / ".session").exists(), "no session holds it any more"
    assert not [name for name in before if name.startswith(("verdict.", "junit.")) and name != "verdict.json"]
    assert main(["verify", str(ran.results), "--junit", str(folder.root / "ci.xml")]) == 0


@pytest.mark.parametrize("broken", [False, True], ids=["a good call", "a bad suite"])
def test_a_refused_call_leaves_the_folder_of_a_running_session_alone_but_not_its_own_junit_file(
    folder, broken
):
    folder.write("ci.xml", GREEN)
    with acquire("host", "node", nonce="theirs", point="other/perf/long", folder=folder.runtime):
        running = folder.start("-n0", "-k", "one", results=folder.root / "shared")
        assert any("waiting: " in line for line in running.stdout)
        before = {path: path.stat().st_mtime_ns for path in (folder.root / "shared").iterdir()}
        if broken:
            folder.edit("bench/tiny.yaml", "requests: 2}", "requests: none}")
        ran = folder.run("-n0", "--junitxml=ci.xml", results="shared")
        assert ran.status == 4
        assert ran.junit == {"session::integrity": "error"}
        assert {path: path.stat().st_mtime_ns for path in (folder.root / "shared").iterdir()} == before
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 0, output
