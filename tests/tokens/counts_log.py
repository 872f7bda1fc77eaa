"""A whole counts log at once, for tests."""

from __future__ import annotations

from types import SimpleNamespace

from pytest_bench.lines import LineReader
from pytest_bench.tokens.counts import COUNTS_VERSION, read_inputs, read_outcome, read_outputs


def read_counts(path):
    """Outputs by request, inputs by sample, how counting ended, and by what it was done."""
    outputs = list(read_outputs(path))
    reader = LineReader(path, "tokens", COUNTS_VERSION)
    assert len(list(reader)) == reader.lines
    found = SimpleNamespace(
        outputs={output.request_id: output for output in outputs},
        inputs=read_inputs(path),
        outcome=read_outcome(path),
        backend=reader.header["backend"],
        tokenizer=reader.header["tokenizer"],
    )
    assert len(found.outputs) == len(outputs), "a request is counted twice"
    return found
