"""The line of progress on terminals of any width."""

from __future__ import annotations

import re
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.load.supervisor import Progress
from pytest_bench.plugin.progress import describe
from pytest_bench.workload import Load

POINT = SimpleNamespace(id="quickstart/perf/steady/c0008")
PHASE = SimpleNamespace(label="measured", load=Load(pattern="concurrency", concurrency=8, requests=1200))
FIELD = re.compile(r"1011/1200 done|8 in flight|3 failed|101\.1 req/s|64704 events|2 s left")


PROGRESS = Progress(phase=0, elapsed_s=10.0, issued=1019, succeeded=1008, failed=3, in_flight=8, events=64704)


@given(st.integers(20, 200))
def test_a_line_fits_and_has_whole_fields_only(width):
    line = describe(POINT, PHASE, PROGRESS, width=width)
    assert len(line) <= width
    fields = line.partition(": ")[2] or line
    assert all(FIELD.fullmatch(field) for field in fields.split(", "))


def test_the_least_important_fields_are_left_out_first():
    name = "quickstart/perf/steady/c0008 measured"
    told = [describe(POINT, PHASE, PROGRESS, width=width) for width in (None, 110, 79, 66, 53)]
    assert told == [
        f"{name}: 1011/1200 done, 8 in flight, 3 failed, 101.1 req/s, 64704 events, 2 s left",
        f"{name}: 1011/1200 done, 8 in flight, 3 failed, 101.1 req/s, 2 s left",
        f"{name}: 1011/1200 done, 3 failed, 2 s left",
        f"{name}: 1011/1200 done, 3 failed",
        f"{name}: 1011/1200 done",
    ]
