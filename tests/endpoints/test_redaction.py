"""No spelling of a secret survives redaction, and nothing else is changed."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spellings import SPELLINGS

from pytest_bench import redaction

SECRET = 'sk-a/b+c=d&e"f<g>\\h i'
PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=6, max_size=40).filter(
    lambda text: text == text.strip() and not text.endswith("\\")
)
"""Values that a header can hold. A backslash at the end would belong to an escape with what follows it."""


@pytest.fixture(autouse=True)
def own_secrets(monkeypatch):
    monkeypatch.setattr(redaction, "_SECRETS", redaction.Secrets())


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("secret", [SECRET, "sk-0123456789abcdef", "a/b/c/d/e/f/g", "plain key with spaces"])
def test_every_spelling_of_a_secret_is_replaced(secret, spelling):
    redaction.hide([secret])
    spelled = spelling(secret)
    shown = redaction.redact(f"before {spelled} after")
    assert spelled not in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert redaction.MASK in shown


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(PRINTABLE, st.sampled_from(sorted(SPELLINGS)))
def test_any_secret_is_replaced_in_any_spelling(secret, spelling):
    secrets = redaction.Secrets()
    secrets.add(secret)
    spelled = SPELLINGS[spelling](secret)
    assert spelled not in secrets.redact(f"[{spelled}]")


@given(st.text(), st.text())
def test_text_without_the_secret_is_unchanged(before, after):
    secrets = redaction.Secrets()
    secrets.add("sk-0123456789abcdef")
    assert secrets.redact(before + after) == before + after


@pytest.mark.parametrize("around", ["\\", '\\"', "%", "&amp;", "\\u00e9", "é"])
def test_text_around_a_secret_is_unchanged(around):
    redaction.hide(["sk-0123456789"])
    assert redaction.redact(f"x{around}sk-0123456789{around}y").replace("***", "|") in {
        f"x{around}|{around}y",
        f"x|{around}y",
    }


def test_a_json_line_stays_json():
    redaction.hide([SECRET])
    line = json.dumps({"text": f'\n"{SECRET}"\\', SECRET: 1}).encode()
    assert json.loads(redaction.redact_bytes(line)) == {"text": '\n"***"\\', "***": 1}


def test_bytes_that_are_not_text_are_unchanged():
    redaction.hide(["sk-0123456789"])
    assert redaction.redact_bytes(b"\xff\x00sk-0123456789\xfe") == b"\xff\x00***\xfe"
    assert redaction.redact_bytes(bytes(range(256))) == bytes(range(256))


def test_a_placeholder_is_replaced_in_text_of_a_server_only():
    redaction.hide(["EMPTY"])
    assert redaction.redact("the queue is EMPTY") == "the queue is EMPTY"
    assert redaction.redact_foreign("invalid key EMPTY") == "invalid key ***"


def test_overlapping_secrets_are_replaced_together():
    redaction.hide(["abcdefghij", "fghijklmno"])
    assert redaction.redact("<abcdefghijklmno>") == "<***>"


def test_a_secret_is_hidden_only_in_the_process_that_declared_it():
    code = "from pytest_bench.redaction import redact; print(redact('sk-0123456789'))"
    redaction.hide(["sk-0123456789"])
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert shown == b"sk-0123456789\n"


@pytest.mark.parametrize("change", [str.upper, str.lower])
def test_a_secret_whose_letters_changed_case_is_replaced(change):
    redaction.hide(["sk-AbCdEf0123"])
    assert redaction.redact(f"before {change('sk-AbCdEf0123')} after") == f"before {redaction.MASK} after"
