"""A file of another session is refused, even if the list of files and the verdict were made anew."""

from __future__ import annotations

import json
import shutil

import pytest
from bench_folder import BenchFolder
from eval_folder import POINTS, make_eval
from tampering import relist

from pytest_bench.files import file_digest
from pytest_bench.verify import verify_session

POINT = f"points/{POINTS[1]}"
WITHOUT_NONCE = {"phases/session-1/metrics.0.before.prom", "phases/session-1/metrics.0.after.prom"}
WITH_NONCE = {
    *("point.json", "summary.json", "evidence.json"),
    *("checkpoint.jsonl", "rows.jsonl", "few_shots.jsonl"),
    *(f"phases/session-1/{name}" for name in ("phase.json", "raw.0.jsonl", "metrics.0.jsonl")),
}
LMEVAL = {"meta_env.json", "results", "samples"}


@pytest.fixture(scope="module")
def sessions(tmp_path_factory, endpoint, bytecode):
    """Two sessions of the same suite on one server. Never altered."""
    root = tmp_path_factory.mktemp("sessions")
    (root / "runtime").mkdir(mode=0o700)
    folder = BenchFolder(root, endpoint, root / "runtime", bytecode)
    make_eval(folder)
    ran = [folder.run("--endpoint=simulator", "-k", "c0002", results=name) for name in ("one", "two")]
    assert [one.status for one in ran] == [0, 0], ran[0].output
    return [one.results for one in ran]


def nonce(results):
    return json.loads((results / "verdict.json").read_text())["nonce"]


def lmeval_file(results, begin):
    (found,) = (results / "evals/tiny/sums").glob(f"{begin}*")
    return found


def test_every_file_of_an_eval_has_the_nonce_or_its_digest_in_the_summary(sessions):
    folder = sessions[0] / POINT
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == WITH_NONCE | WITHOUT_NONCE
    assert all(nonce(sessions[0]) in (folder / name).read_text() for name in WITH_NONCE)
    assert json.loads((folder / "summary.json").read_text())["foreign_files"].keys() == WITHOUT_NONCE
    for begin in LMEVAL:
        assert nonce(sessions[0]) in lmeval_file(sessions[0], begin).read_text()
    assert all(
        json.loads(line)["pytest_bench"] == {"nonce": nonce(sessions[0])}
        for line in lmeval_file(sessions[0], "samples").read_text().splitlines()
    )


def test_a_folder_whose_lists_were_made_anew_verifies(sessions, tmp_path):
    copy = shutil.copytree(sessions[0], tmp_path / "copy")
    relist(copy, POINT)
    assert verify_session(copy).problems == ()


@pytest.mark.parametrize("name", sorted((WITH_NONCE | WITHOUT_NONCE) - {"evidence.json"}))
def test_a_file_of_another_session_is_refused_although_the_evidence_lists_it(sessions, tmp_path, name):
    copy = shutil.copytree(sessions[0], tmp_path / "copy")
    shutil.copy(sessions[1] / POINT / name, copy / POINT / name)
    relist(copy, POINT)
    problems = verify_session(copy).problems
    wanted = "foreign_files" if name in WITHOUT_NONCE else nonce(sessions[1])
    assert any(name in problem and wanted in problem for problem in problems), problems


@pytest.mark.parametrize("begin", sorted(LMEVAL))
def test_a_file_of_another_session_in_lm_evals_layout_is_refused_although_the_verdict_lists_it(
    sessions, tmp_path, begin
):
    copy = shutil.copytree(sessions[0], tmp_path / "copy")
    shutil.copy(lmeval_file(sessions[1], begin), lmeval_file(copy, begin))
    relist(copy, POINT)
    assert any(begin in problem for problem in verify_session(copy).problems)


def test_the_evidence_of_another_session_is_refused(sessions, tmp_path):
    copy = shutil.copytree(sessions[0], tmp_path / "copy")
    shutil.rmtree(copy / POINT)
    shutil.copytree(sessions[1] / POINT, copy / POINT)
    relist(copy, POINT)
    verified = verify_session(copy)
    assert verified.verdict.status == "error"
    assert any("nonce" in problem for problem in verified.problems)


def test_a_container_of_another_session_is_refused_although_the_verdict_lists_it(sessions, tmp_path):
    copy = shutil.copytree(sessions[0], tmp_path / "copy")
    log = copy / "deployments/tiny/container.log"
    log.write_text("INFO ready\n")
    content = {"nonce": nonce(copy), "log": {"path": "container.log", "sha256": file_digest(log)}}
    evidence = log.with_name("container.json")
    evidence.write_text(json.dumps(content))
    relist(copy, POINT)
    assert verify_session(copy).problems == ()
    log.write_text("INFO other\n")
    evidence.write_text(json.dumps(content | {"nonce": nonce(sessions[1])}))
    relist(copy, POINT)
    assert verify_session(copy).problems == (
        f"deployments/tiny/container.json: is of session {nonce(sessions[1])}; expected {nonce(copy)}",
        "deployments/tiny/container.log: is not the file whose sha256 container.json states",
    )
