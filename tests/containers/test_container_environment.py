"""The variables of a container: declared, forwarded, and compared byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.containers.environment import parse, resolve
from pytest_bench.containers.verification import additional, environment_differences
from pytest_bench.errors import UsageError
from pytest_bench.suite.container_plan import ContainerPlan
from pytest_bench.suite.secret import Secret

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="\0", codec="utf-8"))


def plan(**fields):
    return ContainerPlan(image="image", **fields)


@given(st.dictionaries(NAMES, VALUES))
def test_every_value_reaches_the_process_unchanged(environment):
    entries = [f"{name}={value}".encode() for name, value in environment.items()]
    assert list(environment_differences(environment, entries, "the process")) == []


@given(st.dictionaries(NAMES, VALUES, min_size=1), st.data())
def test_a_variable_that_is_lost_is_named(environment, data):
    lost = data.draw(st.sampled_from(sorted(environment)))
    entries = [f"{name}={value}".encode() for name, value in environment.items() if name != lost]
    (sentence,) = environment_differences(environment, entries, "the process")
    assert sentence.startswith(f"{lost} is missing in the process")


def test_a_changed_value_is_shown_beside_the_one_asked_for():
    (sentence,) = environment_differences({"TP": "8"}, [b"TP=4"], "process 7")
    assert sentence == "TP is '4' in process 7; asked for '8'"


def test_a_value_of_a_key_is_never_shown():
    (sentence,) = environment_differences({"HF_TOKEN": "hf_abc"}, [b"HF_TOKEN=hf_wrong"], "process 7")
    assert "hf_" not in sentence.replace("HF_TOKEN", "")


def test_an_empty_value_differs_from_none_at_all():
    assert list(environment_differences({"A": ""}, [b"A="], "x")) == []
    assert list(environment_differences({"A": ""}, [], "x")) != []


def test_of_two_entries_of_one_name_the_first_counts_as_in_libc():
    assert parse([b"A=1", b"A=2"]) == {b"A": b"1"}


def test_nothing_is_inherited_from_the_caller():
    assert dict(resolve(plan(environment={"A": "1"}), {"B": "2"}).values) == {"A": "1"}


def test_forwarded_names_must_be_set_and_all_that_are_not_are_named():
    with pytest.raises(UsageError, match="not set on this host: KEY, ONE, TWO"):
        resolve(plan(environment={"K": Secret(from_env="KEY")}, forward=("ONE", "TWO")), {})


def test_names_of_presets_are_forwarded_if_they_are_set():
    environment = resolve(plan(forward_if_set=("xP", "yD")), {"xP": "2"})
    assert dict(environment.values) == {"xP": "2"}
    assert environment.forwarded == ("xP",)


def test_a_required_name_that_nothing_provides_is_an_error():
    with pytest.raises(UsageError, match="EVAL_CONC"):
        resolve(plan(forward_if_set=("EVAL_CONC",), required=("EVAL_CONC",)), {})


def test_a_name_that_neither_suite_nor_image_has_is_found():
    assert additional({"A": "1"}, ["PATH=/bin"], ["A=1", "PATH=/bin", "HTTP_PROXY=x"]) == ["HTTP_PROXY"]


def test_values_are_not_in_the_representation():
    assert "hunter2" not in repr(resolve(plan(environment={"PASSWORD": "hunter2"}), {}))
