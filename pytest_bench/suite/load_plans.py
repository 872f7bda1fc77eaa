"""Plans the load of a point: its pattern with the values of a sweep, its warm-up, and its order of samples."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from pytest_bench.suite.context import Context
from pytest_bench.suite.document import Path
from pytest_bench.suite.load_schema import LoadSection, OrderSection, WarmupSection
from pytest_bench.suite.loads import build_load, extended_to, load_complaints, warmup_load
from pytest_bench.suite.plan import Warmup
from pytest_bench.suite.sweep import Value
from pytest_bench.workload import Load, SampleOrder

_LOAD_DIMENSIONS = ("concurrency", "rate", "max_concurrency", "requests")


def plan_load(context: Context, path: Path, section: LoadSection, values: Mapping[str, Value]) -> Load | None:
    """The load of the declaration at `path`, with the values of its sweep filled in; None if it has problems."""
    swept = {name: values[name] for name in _LOAD_DIMENSIONS if name in values}
    before = len(context.problems)
    for name in swept:
        if name in section.model_fields_set:
            context.problem((*path, "load", name), "is also given by the sweep; expected one of them")
    filled = section.model_copy(update=swept)
    for where, what in load_complaints(filled):
        context.problem(
            (*path, "sweep", *where) if where[:1] and where[0] in swept else (*path, "load", *where), what
        )
    if len(context.problems) > before:
        return None
    load = build_load(filled, functools.partial(_trace, context, path))
    for where, each in [((), load), *((("stages", i), stage) for i, stage in enumerate(load.stages))]:
        if each.trace_ns and each.requests is not None and each.requests > len(each.trace_ns):
            context.problem(
                (*path, "load", *where, "requests"),
                f"is {each.requests}, and the trace has {len(each.trace_ns)} arrivals; expected no more",
            )
    return load


def require_duration(context: Context, path: Path, minimum_s: float | None, load: Load | None) -> Load | None:
    """The load, made to last at least `minimum_s`; None, with a problem, if it may end before."""
    if load is None or minimum_s is None:
        return load
    found = extended_to(load, minimum_s)
    if found is None:
        context.problem(
            (*path, "minimum_duration_s"),
            f"is {minimum_s:g}, and the load may end before; expected a 'duration_s' of at least that, with "
            "'stop: and' where there is a count too, or none",
        )
    return found


def plan_warmup(context: Context, path: Path, section: WarmupSection, load: Load) -> Warmup | None:
    """The warm-up before `load`; None, with a problem, if that has stages."""
    if load.pattern == "stages":
        context.problem((*path, "warmup"), "cannot follow stages; make the first stage the warm-up's load")
        return None
    return Warmup(load=warmup_load(section, load), samples=section.samples, handover=section.handover)


def plan_order(context: Context, path: Path, section: OrderSection) -> SampleOrder:
    """The order of samples. The number of samples is known only when the dataset is loaded."""
    if section.order == "single" and section.index is None:
        context.problem(path, "has no 'index', which order 'single' needs")
    if section.order != "single" and section.index is not None:
        context.problem((*path, "index"), f"is not for order {section.order!r}; only 'single' takes one")
    seed = context.overrides.load_seed
    return SampleOrder(
        order=section.order, count=0, index=section.index, seed=section.seed if seed is None else seed
    )


def _trace(context: Context, path: Path, where: Path, name: str) -> tuple[int, ...]:
    trace = context.trace((*path, "load", *where), name)
    return () if trace is None else trace.arrivals_ns
