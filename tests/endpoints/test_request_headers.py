import pytest

from pytest_bench.endpoints.headers import hide_secrets, read_headers
from pytest_bench.errors import UsageError
from pytest_bench.redaction import redact
from pytest_bench.suite.plan import DeploymentPlan, Plan, Secret

KEY = Secret(from_env="MODEL_KEY")


def test_the_api_key_becomes_a_bearer_token():
    headers = read_headers({}, KEY, {"MODEL_KEY": "sk-1"})
    assert headers.pairs == (("Authorization", "Bearer sk-1"),)
    assert headers.api_key_env == "MODEL_KEY"


def test_headers_may_hold_texts_and_secrets():
    headers = read_headers({"x-team": "blue", "X-API-KEY": KEY}, None, {"MODEL_KEY": "sk-1"})
    assert headers.pairs == (("X-Team", "blue"), ("X-Api-Key", "sk-1"))


def test_the_representation_holds_no_value():
    headers = read_headers({"X-Team": "blue"}, KEY, {"MODEL_KEY": "sk-1"})
    assert repr(headers) == "Headers(X-Team, Authorization)"


def test_the_query_is_encoded_and_may_hold_secrets():
    query = {"api-version": "2024-10-21", "key": KEY}
    headers = read_headers({}, None, {"MODEL_KEY": "a/b c&d"}, query=query)
    assert headers.query == "api-version=2024-10-21&key=a%2Fb%20c%26d"
    assert headers.secrets == ("a/b c&d",)


def test_a_secret_that_was_read_is_hidden_from_all_that_is_written():
    read_headers({}, KEY, {"MODEL_KEY": "sk-read-here"})
    assert redact("invalid key sk-read-here!") == "invalid key ***!"


def test_a_secret_that_is_a_word_of_the_suites_is_refused_by_its_variable(bench_plan):
    plan = bench_plan(api_key=KEY)
    with pytest.raises(UsageError, match="MODEL_KEY is also a word of the suites") as raised:
        hide_secrets(plan, {"MODEL_KEY": "the-served-model"})
    assert "the-served-model" not in str(raised.value)


def test_every_secret_that_a_plan_names_is_hidden(bench_plan):
    plan = bench_plan(
        api_key=KEY, headers={"x-one": Secret(from_env="ONE")}, query={"two": Secret(from_env="TWO")}
    )
    hide_secrets(plan, {"MODEL_KEY": "sk-planned-0", "ONE": "sk-planned-1", "TWO": "sk-planned-2"})
    assert redact("sk-planned-0 sk-planned-1 sk-planned-2") == "*** *** ***"


@pytest.fixture
def bench_plan():
    def make(**fields):
        deployment = DeploymentPlan(
            suite="s", api="openai-chat", api_reference="", model="the-served-model", endpoints=(), **fields
        )
        return Plan(deployments={"s": deployment}, datasets={}, points=())

    return make


@pytest.mark.parametrize(
    ("environ", "says"),
    [({}, "MODEL_KEY, which is not set"), ({"MODEL_KEY": ""}, "MODEL_KEY, which is empty")],
)
def test_a_key_that_is_not_there_is_an_error_naming_its_variable(environ, says):
    with pytest.raises(UsageError, match=says):
        read_headers({}, KEY, environ)


@pytest.mark.parametrize("value", ["sk-1\n", " sk-1", "sk-\r\nX-Evil: 1", "sk-é"])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(value):
    with pytest.raises(UsageError, match="MODEL_KEY must be printable") as refusal:
        read_headers({}, KEY, {"MODEL_KEY": value})
    assert "sk-" not in str(refusal.value)


@pytest.mark.parametrize(
    ("declared", "api_key", "says"),
    [
        ({"X Team": "blue"}, None, "is not a header name"),
        ({"": "blue"}, None, "is not a header name"),
        ({"Host": "h"}, None, "follows from the message"),
        ({"content-length": "3"}, None, "follows from the message"),
        ({"X-Team": "blue", "x-team": "red"}, None, "given twice"),
        ({"authorization": "Basic eA=="}, KEY, "mean the same"),
        ({"X-Team": "bl\nue"}, None, "printable ASCII"),
    ],
)
def test_headers_that_contradict_the_message_or_each_other_are_refused(declared, api_key, says):
    with pytest.raises(UsageError, match=says):
        read_headers(declared, api_key, {"MODEL_KEY": "sk-1"})
