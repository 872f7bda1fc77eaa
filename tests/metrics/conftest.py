import msgspec
import pytest
from phase_results import HEALTH, phase_result

from pytest_bench.metrics.columns import read_columns
from pytest_bench.metrics.measure import measure, steady_state_of
from pytest_bench.metrics.measurement import Window
from pytest_bench.metrics.token_counts import TokenCount, TokenCounts
from pytest_bench.records import RequestRecord
from pytest_bench.workload import Load

MS = 1_000_000
S = 1_000_000_000


def make_record(index, *, send=0, first=None, gaps=(), last=None, end=None, outcome="succeeded", **fields):
    """A stream where `first` is given, else a whole response that ends at `last`."""
    if first is not None:
        fields.setdefault("content_event_count", len(gaps) + 1)
        fields.setdefault("first_output_ns", first)
        last = first + sum(gaps) if last is None else last
    if end is None:
        end = last if last is not None else send
    if outcome == "failed":
        fields.setdefault("error", "reset")
    return RequestRecord(
        seq=index,
        request_id=fields.pop("request_id", f"r{index}"),
        index=index,
        sample_index=fields.pop("sample_index", index),
        send_start_ns=send,
        first_content_ns=first,
        last_content_ns=last,
        end_ns=end,
        content_gaps_ns=tuple(gaps),
        outcome=outcome,
        **fields,
    )


def make_phase(records, **fields):
    failures = {}
    for item in records:
        if item.outcome == "failed":
            failures[item.error] = failures.get(item.error, 0) + 1
    outcomes = [item.outcome for item in records]
    values = {
        "folder": "phases/main",
        "issued": len(records),
        "succeeded": outcomes.count("succeeded"),
        "failed": outcomes.count("failed"),
        "interrupted": outcomes.count("interrupted"),
        "failures": failures,
        "first_issue_ns": min((item.send_start_ns for item in records), default=None),
        "last_issue_ns": max((item.send_start_ns for item in records), default=None),
        "last_completion_ns": max((item.end_ns for item in records), default=None),
    }
    return phase_result(**values | fields)


def make_counts(**by_request):
    """`r0=(input, output, first event)`."""
    return TokenCounts(TokenCount(name, *numbers) for name, numbers in by_request.items())


CLOSED = Load(pattern="concurrency", concurrency=1, requests=10)


def measure_records(records, *, load=CLOSED, phase=None, tokens=None, health=None, **options):
    """`health`: fields of the client's health that differ from `HEALTH`."""
    healthy = msgspec.structs.replace(HEALTH, **(health or {}))
    result = make_phase(records, **({"health": healthy} | (phase or {})))
    window = steady_state_of(result, load)
    columns = read_columns(records, steady_state=window if isinstance(window, Window) else None)
    return measure(columns, result, load, tokens=tokens, **options)


@pytest.fixture
def record():
    return make_record


@pytest.fixture
def phase_of():
    return make_phase


@pytest.fixture
def counts():
    return make_counts


@pytest.fixture
def measured():
    """Measure records as one phase of closed-loop load, unless told otherwise."""
    return measure_records
