"""Flags for launchers agree with one another and with the suite."""

import pytest

from pytest_bench.suite.container_plan import ContainerPlan
from pytest_bench.suite.secret import Secret
from pytest_bench.suite.serving_flags import inconsistencies


def plan(role="", **fields):
    return ContainerPlan(image="i", role=role, **fields)


def found(*containers, labels=(), has_eval=True, environ=None):
    return [
        f"{'.'.join(path)} {what}"
        for path, what in inconsistencies(containers, labels=dict(labels), has_eval=has_eval, environ=environ)
    ]


@pytest.mark.parametrize("name", ["EVAL_ONLY", "RUN_EVAL"])
@pytest.mark.parametrize("value", ["1", "true", "YES"])
def test_a_flag_for_evals_needs_an_eval(name, value):
    flagged = plan(environment={name: value})
    assert found(flagged) == []
    assert found(flagged, has_eval=False) == [
        f"deployment.container.environment.{name} is {value!r}, but the suite declares no eval; leave it out"
    ]
    assert found(plan(environment={name: "false"}), has_eval=False) == []


def test_a_flag_that_the_host_forwards_counts_where_the_host_is_known():
    forwarding = plan(forward_if_set=("RUN_EVAL", "EVAL_ONLY"))
    assert found(forwarding, has_eval=False) == []
    assert found(forwarding, has_eval=False, environ={"RUN_EVAL": "0"}) == []
    (sentence,) = found(forwarding, has_eval=False, environ={"RUN_EVAL": "true"})
    assert "RUN_EVAL is 'true'" in sentence


@pytest.mark.parametrize("argument", [("--tp", "4"), ("--tensor-parallel-size=4",), ("-x", "--tp-size", "4")])
def test_a_decode_server_with_another_size_than_declared_is_refused(argument):
    decode = plan("decode", environment={"PREFILL_TP": "4", "DECODE_TP": "8"}, arguments=argument)
    assert found(decode) == [
        (
            "deployment.containers.decode.arguments give the decode server a TP of 4, but "
            "deployment.containers.decode.environment.DECODE_TP says '8'"
        )
    ]
    assert found(plan("prefill", environment=decode.environment, arguments=argument)) == []


def test_the_size_may_be_declared_by_another_role_or_by_a_label():
    decode = plan("decode-0", arguments=("--ep-size", "1"))
    assert found(decode) == []
    assert len(found(plan("proxy", environment={"DECODE_EP": "8"}), decode)) == 1
    assert found(decode, labels={"decode_ep": 1}) == []
    (sentence,) = found(decode, labels={"decode_ep": 8})
    assert "deployment.labels.decode_ep says '8'" in sentence


def test_roles_that_are_told_different_sizes_are_refused():
    one, other = plan("prefill", environment={"DECODE_TP": "8"}), plan("decode", forward=("DECODE_TP",))
    assert found(one, other) == []
    assert found(one, other, environ={"DECODE_TP": "8"}) == []
    assert found(one, other, environ={"DECODE_TP": "4"}) == [
        (
            "deployment.containers.decode.environment.DECODE_TP is '4', but "
            "deployment.containers.prefill.environment.DECODE_TP says '8'"
        )
    ]


def test_a_label_and_a_variable_may_spell_one_value_differently():
    attention = plan("decode", environment={"DECODE_DP_ATTN": "true"})
    assert found(attention, labels={"decode_dp_attention": True}) == []
    assert len(found(attention, labels={"decode_dp_attention": False})) == 1


def test_a_size_that_is_read_from_that_of_the_other_stage_is_refused():
    (sentence,) = found(plan(environment={"DECODE_TP": Secret(from_env="PREFILL_TP")}))
    assert "DECODE_TP is read from PREFILL_TP, the size of the other stage" in sentence
