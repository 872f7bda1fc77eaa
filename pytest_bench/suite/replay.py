"""Replay traces with lengths: assign prompts to arrivals, and refuse what cannot be replayed."""

from __future__ import annotations

import msgspec

from pytest_bench.suite.context import Context
from pytest_bench.suite.document import Path
from pytest_bench.suite.load_schema import LoadSection
from pytest_bench.suite.plan import DatasetPlan, Point
from pytest_bench.suite.schema import PerfSection


def with_trace_lengths(
    context: Context,
    path: Path,
    section: PerfSection,
    point: Point,
    dataset: DatasetPlan,
    datasets: dict[str, DatasetPlan],
) -> Point:
    """`point` with samples that have the lengths of its trace, arrival by arrival; unchanged for any other load.

    The dataset made for it is added to `datasets`. A trace that cannot be replayed is recorded as a problem.
    """
    for position, stage in enumerate(section.load.stages or ()):
        refuse_trace_lengths(context, path, stage, "a stage", ("stages", position))
    where = (*path, "load", "trace")
    lengths = _lengths_of(context, where, section.load)
    if lengths is None or section.load.trace is None or point.load is None or point.samples is None:
        return point
    synthetic = dataset.synthetic or {}
    if synthetic.get("trace") != str(context.file(where, section.load.trace)):
        kind = "is a file" if dataset.synthetic is None else "is not made of this trace"
        context.problem(
            where,
            f"{lengths}, and dataset {dataset.name!r} {kind}; expected a dataset with "
            f"`synthetic: {{trace: {section.load.trace}}}`, or a trace with times only",
        )
        return point
    if point.samples.order != "sequential" and "order" in section.order.model_fields_set:
        context.problem(
            (*path, "order", "order"),
            f"is {point.samples.order!r}, and the trace {lengths}; expected 'sequential', or no order",
        )
        return point
    warmup = point.warmup
    ahead = 0 if warmup is None or warmup.samples == "salted" else warmup.load.most_requests or 0
    own = msgspec.structs.replace(
        dataset,
        name=f"{dataset.name}-{point.name.replace('/', '-')}",
        synthetic={**synthetic, "rows": ahead + (point.load.most_requests or 0), "ahead": ahead},
    )
    if own.name in datasets:
        context.problem((*path, "dataset"), f"makes a dataset {own.name!r}, which there is; use another name")
        return point
    datasets[own.name] = own
    samples = msgspec.structs.replace(point.samples, order="sequential")
    return msgspec.structs.replace(point, dataset=own.name, samples=samples)


def refuse_trace_lengths(
    context: Context, path: Path, load: LoadSection, what: str, inside: Path = ()
) -> None:
    """Record a problem if a trace in `load` has lengths, because `what` cannot replay them."""
    where = (*path, "load", *inside, "trace")
    lengths = _lengths_of(context, where, load)
    if lengths is not None:
        context.problem(where, f"{lengths}, which {what} cannot replay; expected a trace with times only")


def _lengths_of(context: Context, where: Path, load: LoadSection) -> str | None:
    """A phrase with the position of the lengths, if the load's trace has any."""
    if load.trace is None:
        return None
    trace = context.trace(where, load.trace)
    if trace is None or not trace.lengths:
        return None
    return f"has lengths ({context.file(where, load.trace)}:{trace.first_line})"
