import os

import pytest
from eval_log import CONCURRENCY, RIGHT, SHOTS, EvalLog, make_run, make_task

from pytest_bench.checkpoints import decide, open_checkpoint, read_checkpoint
from pytest_bench.errors import EvidenceError
from pytest_bench.evals.finishing import Judging, finish_point
from pytest_bench.evals.results import metadata, write_metadata
from pytest_bench.evals.tasks import generation_of, scoring_of
from pytest_bench.lmeval import Request, Thresholds, verify_folder
from pytest_bench.scoring import build_scoring

STRICT = "exact_match,strict-match"


@pytest.fixture
def log(tmp_path):
    return EvalLog(tmp_path / "checkpoint.jsonl")


def finish(log, task=None, **judging):
    with open_checkpoint(log.path) as checkpoint:
        return finish_point(
            checkpoint,
            task or log.task,
            log.items,
            log.keys,
            make_run(),
            log.path.parent / "results",
            judging=Judging(**judging),
            batched=True,
        )


def decision(log, task=None):
    asked = generation_of(
        task or log.task, log.items, SHOTS, model="org/model", revision=None, concurrency=CONCURRENCY
    )
    with open_checkpoint(log.path) as checkpoint:
        return decide(checkpoint.contents, "p", asked, scoring_of(task or log.task), log.keys)


def files(log):
    return {path.name: path.read_bytes() for path in (log.path.parent / "results").iterdir()}


def test_a_point_with_all_answers_is_scored_written_and_ended(log):
    log.session({**RIGHT, "q1": "#### 99"})
    assert decision(log).action == "score"
    finished = finish(log)
    assert finished.metrics.scorings[STRICT].estimate.value == 5 / 6
    contents = read_checkpoint(log.path)
    assert contents.ended
    assert {len(scores) for scores in contents.scores.values()} == {2}
    assert decision(log).action == "nothing"


def test_its_files_are_admitted_by_the_rules_for_folders_of_lm_eval(log):
    log.session(RIGHT)
    folder = finish(log).results.parent
    write_metadata(folder, metadata("org/model", {}, [CONCURRENCY], [CONCURRENCY], 0, nonce="n"))
    request = Request(concurrencies=(CONCURRENCY,), thresholds=Thresholds(default={"sums": 0.9}))
    assert verify_folder(folder, request).findings == ()


def test_finishing_again_changes_nothing(log):
    log.session(RIGHT)
    finish(log)
    checkpoint, results = log.path.read_bytes(), files(log)
    finish(log)
    assert (log.path.read_bytes(), files(log)) == (checkpoint, results)


@pytest.mark.parametrize("lost", ["end", "some scores", "results"])
def test_finishing_after_a_kill_at_any_step_leaves_the_files_of_an_undisturbed_one(log, lost):
    log.session(RIGHT)
    finish(log)
    checkpoint, results = log.path.read_bytes(), files(log)
    lines = checkpoint.splitlines(keepends=True)
    kept = {"end": lines[:-1], "some scores": lines[:-5], "results": lines[:-1]}[lost]
    log.path.write_bytes(b"".join(kept) + lines[len(kept)][:9])
    if lost == "results":
        for name in results:
            (log.path.parent / "results" / name).unlink()
    finish(log)
    assert files(log) == results
    assert read_checkpoint(log.path).ended


def test_without_every_answer_results_are_written_and_the_checkpoint_stays_open(log):
    log.session({item: text for item, text in RIGHT.items() if item != "q5"}, ["q5"])
    finished = finish(log)
    assert finished.results.exists()
    assert finished.metrics.undefined
    assert not read_checkpoint(log.path).ended
    assert [key.item for key in decision(log).pending] == ["q5"]
    log.session({"q5": RIGHT["q5"]})
    again = finish(log)
    assert (again.results, again.metrics.undefined) == (finished.results, ())
    assert read_checkpoint(log.path).ended


def test_another_scoring_rescores_a_finished_point_without_a_request(log):
    log.session({**RIGHT, "q1": "The answer is 2."})
    first = finish(log)
    assert first.metrics.scorings[STRICT].estimate.value == 5 / 6
    other = make_task(scorings=(build_scoring("numeric"),))
    assert (decision(log, other).action, decision(log, other).pending) == ("score", ())
    with open_checkpoint(log.path) as checkpoint:
        writer = checkpoint.writer()
        session = {"nonce": "m", "repeats": 1, "scoring": scoring_of(other), "started_ns": 9}
        writer.append("session", session)
        writer.close()
    second = finish(log, other)
    assert second.metrics.scorings["numeric_match,last-anchored"].estimate.value == 1
    assert second.results == first.results
    assert decision(log, other).action == "nothing"


def test_a_checkpoint_without_a_session_is_not_finished(log):
    with pytest.raises(EvidenceError, match="holds no session"):
        finish(log)


def test_a_disk_that_fails_while_scores_are_written_is_an_error(log, monkeypatch):
    log.session(RIGHT)

    def failing(_fd, _data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", failing)
        with pytest.raises(EvidenceError, match="No space left on device"):
            finish(log)
    finish(log)
    assert read_checkpoint(log.path).ended
