import pytest

from pytest_bench.endpoints.headers import read_headers
from pytest_bench.errors import UsageError
from pytest_bench.suite.plan import Secret

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


def test_a_secret_that_a_server_repeats_is_redacted():
    headers = read_headers({}, KEY, {"MODEL_KEY": "sk-1"})
    assert headers.redact("invalid key sk-1!") == "invalid key ***!"


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
        ({"X Team": "blue"}, None, "is no header name"),
        ({"": "blue"}, None, "is no header name"),
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
