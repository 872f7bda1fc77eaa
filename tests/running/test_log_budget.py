"""A point whose server logs more than the suite allows fails."""

import msgspec
import pytest

from pytest_bench.containers.log_classes import Count
from pytest_bench.errors import EvidenceError
from pytest_bench.files import write_json
from pytest_bench.running.server_log import LogPart, ServerLog, excesses, file_name, with_log_budget
from pytest_bench.suite.container_plan import ContainerPlan, LogBudget, LogPlan
from pytest_bench.suite.plan import DeploymentPlan
from pytest_bench.verdict.outcome import Judgement, Outcome

PART = LogPart(
    nonce="n",
    start_byte=0,
    end_byte=100,
    requests=10,
    lines=20,
    size_bytes=100,
    classes={"access": Count(lines=15, size_bytes=90), "info": Count(lines=5, size_bytes=10)},
)
LOG = ServerLog(nonce="n", parts=(PART,))
QUIET = LogPart(nonce="m", start_byte=0, end_byte=0, requests=1)
FAILED = msgspec.structs.replace(PART, failures=2, first_failure="HIP out of memory")
PASS = Judgement(outcome=Outcome.PASS)


def deployment(budget, **fields):
    container = ContainerPlan(image="i", log=LogPlan(budget=budget, **fields))
    return DeploymentPlan(
        suite="s", api="a", api_reference="r", model="m", endpoints=(), containers=(container,)
    )


@pytest.mark.parametrize(
    ("budget", "exceeded"),
    [
        (LogBudget(), False),
        (LogBudget(lines_per_request=2), False),
        (LogBudget(lines_per_request=1.9), True),
        (LogBudget(bytes_per_request=10), False),
        (LogBudget(bytes_per_request=9), True),
        (LogBudget(classes={"access": 0}), True),
        (LogBudget(classes={"error": 0, "info": 0.5}), False),
    ],
)
def test_each_limit_is_for_one_request(budget, exceeded):
    assert bool(list(excesses(ContainerPlan(image="i", log=LogPlan(budget=budget)), LOG))) == exceeded


def test_a_point_over_budget_fails_and_the_reason_names_the_numbers(tmp_path):
    write_json(tmp_path / file_name(""), LOG)
    judged = with_log_budget(PASS, deployment(LogBudget(classes={"access": 0})), tmp_path)
    assert judged.outcome is Outcome.FAIL
    (reason,) = judged.reasons
    assert "logged 15 lines of class 'access' for 10 requests; the suite allows 0 for each" in reason.sentence


def test_a_budget_without_a_count_is_an_error_and_no_budget_needs_none(tmp_path):
    with pytest.raises(EvidenceError):
        with_log_budget(PASS, deployment(LogBudget(lines_per_request=1)), tmp_path)
    assert with_log_budget(PASS, deployment(LogBudget()), tmp_path) == PASS


def test_a_point_during_which_the_server_logged_a_failure_fails(tmp_path):
    watched = deployment(LogBudget(), failures=("out of memory",))
    write_json(tmp_path / file_name(""), LOG)
    assert with_log_budget(PASS, watched, tmp_path) == PASS
    write_json(tmp_path / file_name(""), ServerLog(nonce="n", parts=(FAILED,)))
    judged = with_log_budget(PASS, watched, tmp_path)
    assert judged.outcome is Outcome.FAIL
    assert "logged 2 lines" in judged.reasons[0].sentence
    assert "'HIP out of memory'" in judged.reasons[0].sentence


def test_the_log_of_every_session_of_a_point_is_judged(tmp_path):
    watched = deployment(LogBudget(lines_per_request=1.8), failures=("out of memory",))
    for parts in ((FAILED, QUIET), (QUIET, FAILED)):
        write_json(tmp_path / file_name(""), ServerLog(nonce="m", parts=parts))
        judged = with_log_budget(PASS, watched, tmp_path)
        assert [reason.code for reason in judged.reasons] == ["log-failure", "log-budget"]
        assert "20 lines for 11 requests" in judged.reasons[1].sentence


def test_a_part_that_was_not_counted_is_an_error(tmp_path):
    watched = deployment(LogBudget(lines_per_request=100))
    unended = LogPart(nonce="m", start_byte=0)
    write_json(tmp_path / file_name(""), ServerLog(nonce="n", parts=(unended, PART)))
    with pytest.raises(EvidenceError, match="has a part without an end"):
        with_log_budget(PASS, watched, tmp_path)
