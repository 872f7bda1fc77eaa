"""Plan the datasets that a suite declares. Rows are read when a point needs them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Literal

import msgspec

from pytest_bench.errors import UsageError
from pytest_bench.suite.checking import as_json
from pytest_bench.suite.context import Context
from pytest_bench.suite.dataset_schema import DatasetSection, SyntheticSection
from pytest_bench.suite.document import Path
from pytest_bench.suite.names import name_complaint
from pytest_bench.suite.plan import DatasetPlan
from pytest_bench.suite.sweep import Value, segment
from pytest_bench.suite.traces import read_hash_ids
from pytest_bench.suite.vocabulary import ApiWords
from pytest_bench.wording import did_you_mean, one_of

Format = Literal["jsonl", "json", "csv", "sharegpt", "parquet"]

SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".parquet": "parquet",
}
"""Format by suffix. ShareGPT files end in .json too, so the suite must name that format."""

LENGTHS: dict[str, str] = {"isl": "input_tokens", "osl": "output_tokens"}
"""Fields of a synthetic dataset that sweeps set."""


def plan_datasets(context: Context, sections: Mapping[str, Any]) -> dict[str, DatasetPlan | None]:
    """The suite's datasets by name; None for one with problems, so that points may still refer to it."""
    plans: dict[str, DatasetPlan | None] = {}
    for name, value in sections.items():
        path = ("datasets", name)
        section = context.check(DatasetSection, path, value)
        complaint = name_complaint(name)
        if complaint:
            context.problems.add(context.document.key_mark(path), complaint)
        plans[name] = None if section is None else _plan(context, name, section)
    return plans


def _plan(context: Context, name: str, section: DatasetSection) -> DatasetPlan:
    path = ("datasets", name)
    file = None if section.path is None else context.file((*path, "path"), section.path)
    chosen: Format | None = section.format
    if file is not None and chosen is None:
        chosen = SUFFIXES.get(PurePath(file).suffix.lower())
        if chosen is None:
            context.problem((*path, "path"), f"is {section.path!r}, whose suffix is not known; add `format:`")
    synthetic = None if section.synthetic is None else as_json(section.synthetic)
    read = file
    if section.synthetic is not None and section.synthetic.trace is not None:
        where = (*path, "synthetic", "trace")
        read = context.file(where, section.synthetic.trace)
        synthetic = _of_trace(context, where, section.synthetic.trace, section.synthetic)
    elif synthetic is not None:
        for of_traces in ("trace", "hash_ids", "block_size"):
            del synthetic[of_traces]
    if synthetic is not None and context.overrides.data_seed is not None:
        synthetic["seed"] = context.overrides.data_seed
    return DatasetPlan(
        name=name,
        path=None if file is None else str(file),
        format=chosen,
        columns=section.columns or {},
        skip_bad=section.skip_bad,
        synthetic=synthetic,
        contents=None if read is None else context.contents(read),
        origin=str(context.document.key_mark(path)),
    )


def _of_trace(context: Context, where: Path, name: str, section: SyntheticSection) -> dict[str, Any]:
    """The plan of a synthetic dataset with the lengths of a trace: one row for each arrival."""
    file = context.file(where, name)
    trace = context.trace(where, name)
    ids: object = ()
    if trace is not None and not trace.lengths:
        context.problem(
            where, f"has no lengths: {file}:{trace.first_line} has no 'input_length' and 'output_length'"
        )
    elif trace is not None and section.hash_ids:
        try:
            ids = read_hash_ids(file, section.block_size)
        except UsageError as error:
            context.problem(where, f"cannot be used: {error}")
    return {
        "trace": str(file),
        "rows": 0 if trace is None else len(trace.arrivals_ns),
        "ahead": 0,
        "block_size": section.block_size if ids else None,
        "seed": section.seed,
    }


def check_columns(context: Context, dataset: DatasetPlan, api: ApiWords) -> None:
    """Record a problem for each mapped column of `dataset` that `api` does not read."""
    for column in dataset.columns:
        if column not in api.columns:
            context.problems.add(
                context.document.key_mark(("datasets", dataset.name, "columns", column)),
                f"unknown column {column!r} of the API; expected {one_of(api.columns)}"
                f"{did_you_mean(column, api.columns)}",
            )


def with_lengths(dataset: DatasetPlan, values: Mapping[str, Value]) -> DatasetPlan:
    """The synthetic dataset with the lengths of a sweep, which its name states."""
    lengths = {name: values[name] for name in LENGTHS if name in values}
    if not lengths or dataset.synthetic is None:
        return dataset
    fixed = {
        LENGTHS[name]: {
            "distribution": "fixed",
            "mean": float(value),
            "stddev": None,
            "min": None,
            "max": None,
        }
        for name, value in lengths.items()
    }
    return msgspec.structs.replace(
        dataset, name=f"{dataset.name}-{segment(lengths)}", synthetic={**dataset.synthetic, **fixed}
    )
