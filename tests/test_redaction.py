"""No spelling of a secret survives redaction, and nothing else is changed."""

import base64
import html
import json
import subprocess
import sys
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench import redaction

SECRET = 'sk-a/b+c=d&e"f<g>\\h i'
PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=8, max_size=40).filter(
    lambda text: text == text.strip()
)

SPELLINGS = {
    "as it is": lambda s: s,
    "JSON": lambda s: json.dumps(s)[1:-1],
    "JSON with escaped slashes": lambda s: json.dumps(s)[1:-1].replace("/", "\\/"),
    "JSON escapes throughout": lambda s: "".join(f"\\u{ord(c):04x}" for c in s),
    "JSON escapes in capitals": lambda s: "".join(f"\\u{ord(c):04X}" for c in s),
    "one JSON escape": lambda s: f"\\u{ord(s[0]):04x}{json.dumps(s[1:])[1:-1]}",
    "JSON in JSON": lambda s: json.dumps(json.dumps(s))[1:-1],
    "Python": lambda s: repr(s)[1:-1],
    "Python escapes throughout": lambda s: "".join(f"\\x{ord(c):02x}" for c in s),
    "URL": lambda s: quote(s, safe=""),
    "URL throughout": lambda s: "".join(f"%{ord(c):02X}" for c in s),
    "URL in lower case": lambda s: "".join(f"%{ord(c):02x}" for c in s),
    "URL twice": lambda s: quote(quote(s, safe=""), safe=""),
    "HTML": html.escape,
    "HTML numbers": lambda s: "".join(f"&#{ord(c)};" for c in s),
    "HTML hexadecimal numbers": lambda s: "".join(f"&#x{ord(c):x};" for c in s),
    "HTML names": lambda s: s.replace("&", "&amp;").replace("/", "&sol;").replace("+", "&plus;"),
    "HTML twice": lambda s: html.escape(html.escape(s)),
    "JSON in a URL": lambda s: quote(json.dumps(s)[1:-1], safe=""),
    "URL in JSON": lambda s: "".join(f"\\u{ord(c):04x}" for c in quote(s, safe="")),
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64 for URLs": lambda s: base64.urlsafe_b64encode(s.encode()).decode(),
    "base64 after one byte": lambda s: base64.b64encode(b":" + s.encode()).decode(),
    "base64 of a header": lambda s: base64.b64encode(b"Bearer " + s.encode() + b"\r\n").decode(),
    "base64 in JSON": lambda s: base64.b64encode(s.encode()).decode().replace("/", "\\/"),
    "hexadecimal": lambda s: s.encode().hex(),
}


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


@given(PRINTABLE, st.sampled_from(sorted(SPELLINGS)))
def test_any_secret_is_replaced_in_any_spelling(secret, spelling):
    secrets = redaction.Secrets()
    secrets.add(secret)
    spelled = SPELLINGS[spelling](secret)
    assert spelled not in secrets.redact(f"[{spelled}]")


@given(st.text(), st.text())
def test_text_without_the_secret_stays_as_it_is(before, after):
    secrets = redaction.Secrets()
    secrets.add("sk-0123456789abcdef")
    assert secrets.redact(before + after) == before + after


@pytest.mark.parametrize("around", ["\\", '\\"', "%", "&amp;", "\\u00e9", "é"])
def test_what_stands_around_a_secret_stays(around):
    redaction.hide(["sk-0123456789"])
    assert redaction.redact(f"x{around}sk-0123456789{around}y").replace("***", "|") in {
        f"x{around}|{around}y",
        f"x|{around}y",
    }


def test_a_json_line_stays_json():
    redaction.hide([SECRET])
    line = json.dumps({"text": f'\n"{SECRET}"\\', SECRET: 1}).encode()
    assert json.loads(redaction.redact_bytes(line)) == {"text": '\n"***"\\', "***": 1}


def test_bytes_that_are_no_text_stay_as_they_are():
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


def test_a_secret_is_hidden_in_the_process_that_hid_it_alone():
    code = "from pytest_bench.redaction import redact; print(redact('sk-0123456789'))"
    redaction.hide(["sk-0123456789"])
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert shown == b"sk-0123456789\n"
