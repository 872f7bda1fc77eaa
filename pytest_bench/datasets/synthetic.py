"""Generate prompts from a seed: plain words, each text of exactly the requested length.

A length is a number of tokens, verified by encoding every text, or a number of words if there is no tokenizer. The same
seed and name give the same rows. Input lengths, output lengths and words come from separate random streams, so changing
one does not change the others. The words also depend on the name of the dataset, so that sending one dataset does not
put another's prompts into a server's cache.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np

from pytest_bench.datasets.blocks import Blocks
from pytest_bench.datasets.writer import CannotMake, TextTokenizer, Writer
from pytest_bench.errors import DatasetError
from pytest_bench.suite.traces import read_hash_ids, read_trace

_PROMPT_COLUMN = "prompt"
_OUTPUT_COLUMN = "max_tokens"
_TEXTS_TRIED = 20
"""Number of attempts to make a text of one length that has not occurred before."""

_INPUT, _OUTPUT, _TEXT, _PREFIX, _BLOCK, _WARM_UP = range(6)
"""Random streams of one seed."""


class Length(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    distribution: Literal["fixed", "uniform", "normal", "lognormal"]
    mean: float | None = None
    stddev: float | None = None
    min: int | None = None
    max: int | None = None


class SharedPrefix(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    tokens: int
    groups: int


class Synthetic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`DatasetPlan.synthetic`, typed. The suite's schema documents the fields."""

    rows: int
    input_tokens: Length
    output_tokens: Length | None
    range_ratio: float
    shared_prefix: SharedPrefix | None
    seed: int


class Traced(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`DatasetPlan.synthetic` with the lengths of a trace."""

    trace: str
    rows: int
    ahead: int
    """Number of rows before that of the first arrival: for the warm-up, with lengths of the trace."""
    block_size: int | None = None
    """Number of tokens in the block of one of the `hash_ids`; None: prompts share no prefixes."""
    seed: int


def make_rows(
    name: str, declared: Mapping[str, Any], columns: Collection[str] | None, tokenizer: TextTokenizer | None
) -> tuple[Mapping[str, Any], ...]:
    """The rows of a synthetic dataset. They are distinct, unless a trace gives two rows the same blocks.

    Raises `DatasetError` if they cannot be made.
    """
    spec = check_declared(name, declared, columns, in_tokens=tokenizer is not None)
    try:
        return (
            _make_traced(name, spec, tokenizer) if isinstance(spec, Traced) else _make(name, spec, tokenizer)
        )
    except CannotMake as error:
        raise DatasetError(f"dataset {name!r}: {error}") from error


def check_declared(
    name: str, declared: Mapping[str, Any], columns: Collection[str] | None, *, in_tokens: bool
) -> Synthetic | Traced:
    """Validate a declared synthetic dataset before any text is made.

    `in_tokens`: whether lengths are in tokens (there is a tokenizer) or in words. Raises `DatasetError` for an API that
    does not read the columns, for a trace without a tokenizer, and for prompts that are shorter than the prefix that
    they share.
    """
    try:
        spec = (
            msgspec.convert(dict(declared), Traced)
            if "trace" in declared
            else msgspec.convert(dict(declared), Synthetic)
        )
    except msgspec.ValidationError as error:
        raise DatasetError(f"dataset {name!r}: {error}") from error
    if isinstance(spec, Traced) and not in_tokens:
        raise DatasetError(
            f"dataset {name!r}: the lengths of a trace are in tokens; name the model's tokenizer as "
            "`deployment.tokens.tokenizer`, or with --tokenizer"
        )
    asks_length = isinstance(spec, Traced) or spec.output_tokens is not None
    wanted = [_PROMPT_COLUMN, _OUTPUT_COLUMN] if asks_length else [_PROMPT_COLUMN]
    for column in wanted:
        if columns is not None and column not in columns:
            raise DatasetError(
                f"dataset {name!r}: a synthetic dataset has a column {column!r}, which this API does not read; "
                f"expected a file with some of {', '.join(columns)}"
            )
    if isinstance(spec, Synthetic) and spec.shared_prefix is not None:
        shortest = min(_input_lengths(spec))
        if shortest <= spec.shared_prefix.tokens:
            raise DatasetError(
                f"dataset {name!r}: its shortest prompt, of length {shortest}, leaves no room after the shared "
                f"prefix of length {spec.shared_prefix.tokens}; expected longer prompts (`input_tokens`, or `isl` "
                "of a sweep), or a shorter prefix"
            )
    return spec


def _make(name: str, spec: Synthetic, tokenizer: TextTokenizer | None) -> tuple[Mapping[str, Any], ...]:
    writer = Writer(tokenizer)
    inputs = _input_lengths(spec)
    outputs = (
        None
        if spec.output_tokens is None
        else draw_lengths(spec.output_tokens, spec.rows, spec.range_ratio, _stream(spec.seed, _OUTPUT))
    )
    prefixes: list[str] = []
    if spec.shared_prefix is not None:
        stream = _stream(spec.seed, _PREFIX, name)
        prefixes = [writer.text(spec.shared_prefix.tokens, stream) for _ in range(spec.shared_prefix.groups)]
    return _rows(writer, inputs, outputs, _stream(spec.seed, _TEXT, name), prefixes)


def _make_traced(name: str, spec: Traced, tokenizer: TextTokenizer | None) -> tuple[Mapping[str, Any], ...]:
    lengths = read_trace(Path(spec.trace)).lengths
    if not lengths:
        raise CannotMake(f"{spec.trace} has no 'input_length' and 'output_length'")
    order = [*range(spec.ahead), *range(spec.rows - spec.ahead)]
    inputs, outputs = zip(*(lengths[arrival % len(lengths)] for arrival in order), strict=True)
    writer = Writer(tokenizer)
    if spec.block_size is None:
        return _rows(writer, inputs, outputs, _stream(spec.seed, _TEXT, name))
    ids = read_hash_ids(Path(spec.trace), spec.block_size)
    if not ids:
        raise CannotMake(f"{spec.trace} has no 'hash_ids'")
    # The warm-up uses other blocks: those of the trace would be in the server's cache before the first arrival.
    warm_up, measured = (
        Blocks(writer, spec.block_size, _seeds(spec.seed, stream, name)) for stream in (_WARM_UP, _BLOCK)
    )
    return tuple(
        {
            _PROMPT_COLUMN: (warm_up if row < spec.ahead else measured).prompt(
                ids[arrival % len(ids)], length
            ),
            _OUTPUT_COLUMN: output,
        }
        for row, (arrival, length, output) in enumerate(zip(order, inputs, outputs, strict=True))
    )


def _rows(
    writer: Writer,
    inputs: Sequence[int],
    outputs: Sequence[int] | None,
    stream: np.random.Generator,
    prefixes: Sequence[str] = (),
) -> tuple[Mapping[str, Any], ...]:
    """One row for each length; row i begins with `prefixes[i % len(prefixes)]`."""
    seen: set[str] = set()
    rows: list[Mapping[str, Any]] = []
    for index, length in enumerate(inputs):
        prefix = prefixes[index % len(prefixes)] if prefixes else ""
        text = _new_text(writer, length, stream, prefix, seen)
        seen.add(text)
        rows.append(
            {_PROMPT_COLUMN: text}
            if outputs is None
            else {_PROMPT_COLUMN: text, _OUTPUT_COLUMN: outputs[index]}
        )
    return tuple(rows)


def _input_lengths(spec: Synthetic) -> list[int]:
    return draw_lengths(spec.input_tokens, spec.rows, spec.range_ratio, _stream(spec.seed, _INPUT))


def draw_lengths(length: Length, rows: int, range_ratio: float, stream: np.random.Generator) -> list[int]:
    """`rows` lengths, each at least 1 and within `min` and `max`."""
    if length.distribution == "uniform":
        low, high = _need(length.min), _need(length.max)
        return [int(value) for value in stream.integers(low, high, size=rows, endpoint=True)]
    mean = _need(length.mean)
    if length.distribution == "fixed":
        high = max(1, round(mean))
        low = max(1, math.ceil(range_ratio * high))
        return [int(value) for value in stream.integers(low, high, size=rows, endpoint=True)]
    stddev = _need(length.stddev)
    if length.distribution == "normal":
        drawn = stream.normal(mean, stddev, size=rows)
    else:
        # Parameters of the logarithm from the mean and standard deviation of the values themselves.
        variance = math.log1p((stddev / mean) ** 2)
        drawn = stream.lognormal(math.log(mean) - variance / 2, math.sqrt(variance), size=rows)
    bounded = np.clip(np.rint(drawn), length.min or 1, length.max or np.inf)
    return [int(value) for value in bounded]


def _new_text(writer: Writer, length: int, stream: np.random.Generator, prefix: str, seen: set[str]) -> str:
    for _ in range(_TEXTS_TRIED):
        text = writer.text(length, stream, prefix)
        if text not in seen:
            return text
    raise CannotMake(
        f"there are not enough distinct prompts of length {length}; ask for fewer rows or longer ones"
    )


def _stream(*seeds: int | str) -> np.random.Generator:
    return np.random.default_rng(_seeds(*seeds))


def _seeds(*seeds: int | str) -> tuple[int, ...]:
    return tuple(zlib.crc32(seed.encode()) if isinstance(seed, str) else seed for seed in seeds)


_Number = TypeVar("_Number", int, float)


def _need(value: _Number | None) -> _Number:
    if value is None:
        raise CannotMake("a length lacks a field that its distribution needs")
    return value
