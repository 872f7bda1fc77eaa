"""The lines of a server's log, by class."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.containers.log_classes import blocks, class_of, count

TRACEBACK = [
    "Traceback (most recent call last):",
    '  File "/app/rocEnvTool/console.py", line 12, in sh',
    "    raise RuntimeError(text)",
    "RuntimeError: Console script timeout",
]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('INFO:     127.0.0.1:58338 - "POST /v1/chat/completions HTTP/1.1" 200 OK', "access"),
        ("INFO 11-30 12:00:01 [loggers.py:123] Engine 000: Avg prompt throughput: 1.0 tokens/s", "info"),
        ("(EngineCore pid=12) WARNING 11-30 12:00:01 [cuda.py:1] slow path", "warning"),
        ("[2026-11-30 12:00:01] ERROR scheduler: out of blocks", "error"),
        ("[atom 12:00:01] INFO producer: sent block 7", "info"),
        ("2026-11-30T12:00:01Z  WARN atomesh::router: retry", "warning"),
        ('{"level": "error", "msg": "x"}', "error"),
        ("level=info msg=started", "info"),
        ("W1130 12:00:01.000000 1 file.cc:1] slow", "warning"),
        ("loading info from the model", "other"),
        ("", "other"),
        ("GET ready", "other"),
    ],
)
def test_a_line_has_one_class(line, name):
    assert class_of(line) == name


def test_every_line_of_a_traceback_is_an_error():
    counts = count(["INFO a", *TRACEBACK, "INFO b"])
    assert {name: each.lines for name, each in counts.classes.items()} == {"info": 2, "error": 4}


@pytest.mark.parametrize("pattern", [r"rocEnvTool/console\.py", r"RuntimeError: Console script timeout$"])
def test_a_traceback_that_is_declared_harmless_is_benign_with_its_first_line(pattern):
    counts = count([*TRACEBACK, "ValueError: of its own"], [re.compile(pattern, re.MULTILINE)])
    assert {name: each.lines for name, each in counts.classes.items()} == {"benign": 4, "other": 1}


def test_failures_are_found_outside_of_benign_tracebacks_only():
    patterns = [re.compile("Console script timeout")], [re.compile("timeout|out of memory")]
    counts = count([*TRACEBACK, "HIP out of memory", "INFO timeout"], *patterns)
    assert (counts.failures, counts.first_failure) == (2, "HIP out of memory")


def test_a_harmless_pattern_outside_of_a_traceback_has_no_effect():
    counts = count(["ERROR rocEnvTool/console.py failed"], [re.compile("rocEnvTool")])
    assert list(counts.classes) == ["error"]


def test_a_traceback_with_the_name_of_its_process_before_every_line_is_one_block():
    prefixed = [f"(EngineCore pid=12) {line}" for line in TRACEBACK]
    assert list(blocks([*prefixed, "INFO"])) == [prefixed, ["INFO"]]


LINES = st.lists(
    st.one_of(
        st.sampled_from([*TRACEBACK, "  indented", "", "INFO a", "WARNING b"]),
        st.text(st.characters(exclude_characters="\n", codec="utf-8")),
    )
)


@given(LINES)
def test_no_line_is_lost_and_none_is_counted_twice(lines):
    assert [line for block in blocks(lines) for line in block] == lines
    counts = count(lines)
    assert (counts.lines, counts.size_bytes) == (len(lines), sum(len(line.encode()) + 1 for line in lines))
