"""Plan the points that a suite declares: expand sweeps, resolve references, fill in defaults."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import create_model

from pytest_bench.bounds import Bound
from pytest_bench.labels import Label
from pytest_bench.suite.checking import as_json
from pytest_bench.suite.command_evals import plan_command_eval
from pytest_bench.suite.context import Context
from pytest_bench.suite.dataset_plans import check_columns, with_lengths
from pytest_bench.suite.deployment_schema import GenerationSection
from pytest_bench.suite.deployments import plan_parameters
from pytest_bench.suite.document import Path
from pytest_bench.suite.limits import NamedBounds, check_metrics, plan_bounds, plan_limits
from pytest_bench.suite.load_plans import plan_load, plan_order, plan_warmup, require_duration
from pytest_bench.suite.load_schema import LoadSection, OrderSection
from pytest_bench.suite.names import name_complaint
from pytest_bench.suite.plan import DatasetPlan, Kind, Point
from pytest_bench.suite.replay import refuse_trace_lengths, with_trace_lengths
from pytest_bench.suite.schema import (
    AuditSection,
    DrivenSection,
    EvalSection,
    PerfSection,
)
from pytest_bench.suite.section import Section
from pytest_bench.suite.shortening import labelled, shortened
from pytest_bench.suite.sweep import Value, combinations, segment
from pytest_bench.suite.table_evals import plan_table_eval
from pytest_bench.suite.vocabulary import ApiWords, AuditWords
from pytest_bench.wording import one_of
from pytest_bench.workload import HealthBudget, Load, Timeouts

_LENGTH_DIMENSIONS = ("isl", "osl")

S = TypeVar("S", bound=Section)


class PointPlanner:
    """Makes the points of one suite. A declaration with problems makes none; its problems go to the context."""

    def __init__(
        self,
        context: Context,
        suite: str,
        api: ApiWords | None,
        datasets: Mapping[str, DatasetPlan | None],
        named_bounds: NamedBounds,
    ) -> None:
        self.datasets = {name: plan for name, plan in datasets.items() if plan is not None}
        """Datasets of the suite, and those derived from them by sweeps over lengths."""
        self._context = context
        self._suite = suite
        self._api = api
        self._declared = datasets
        self._named_bounds = named_bounds
        self._perf: dict[str, Point] = {}
        self._broken_perf: set[str] = set()

    def perf(self, name: str, value: Mapping[str, Any]) -> list[Point]:
        """The performance points of the declaration `name`."""
        before = len(self._context.problems)
        points = self._perf_points(name, value)
        if len(self._context.problems) > before:
            self._broken_perf.add(name)
            return []
        self._perf.update((point.name, point) for point in points)
        return points

    def _perf_points(self, name: str, value: Mapping[str, Any]) -> list[Point]:
        context, path = self._context, ("perf", name)
        self._check_name(path)
        section = context.check(PerfSection, path, value)
        if section is None:
            self._check_parts("perf", path, value)
            return []
        dataset = self._dataset((*path, "dataset"), section.dataset)
        order = plan_order(context, (*path, "order"), section.order)
        bounds = plan_bounds(context, (*path, "bounds"), section.bounds, "perf", self._named_bounds)
        slo = plan_limits(context, (*path, "slo"), section.slo, "slo")
        points: list[Point] = []
        for values in combinations(section.sweep):
            load = require_duration(
                context, path, section.minimum_duration_s, plan_load(context, path, section.load, values)
            )
            chosen = None if dataset is None else self._with_lengths(path, dataset, values)
            if load is None or chosen is None:
                continue
            point = shortened(
                self._context.overrides,
                self._point("perf", name, section, values)(
                    dataset=chosen.name,
                    load=load,
                    samples=order,
                    warmup=None
                    if section.warmup is None
                    else plan_warmup(context, path, section.warmup, load),
                    bounds=bounds,
                    slo=slo,
                    texts=section.texts,
                ),
            )
            points.append(with_trace_lengths(context, path, section, point, chosen, self.datasets))
        return points

    def audit(self, name: str, value: Mapping[str, Any]) -> list[Point]:
        """The audit point of the declaration `name`. Perf points must have been made before."""
        context, path = self._context, ("audit", name)
        self._check_name(path)
        test = value.get("test")
        if not isinstance(test, str):
            context.check(
                AuditSection, path, {key: value[key] for key in value if key in AuditSection.model_fields}
            )
            return []
        words = context.known((*path, "test"), "audit", test, context.vocabulary.audits)
        if words is None:
            return []
        section = context.check(with_fields(AuditSection, words.fields), path, value)
        if section is None:
            self._check_parts("audit", path, value)
            return []
        before = len(context.problems)
        settings = self._audit_settings(path, section, words)
        if settings is None or len(context.problems) > before:
            return []
        options = {"test": test, "of": section.of, **_own_fields(section, words.fields)}
        point = self._point("audit", name, section, {})(**settings, options=options)
        if section.of is None:
            return [shortened(self._context.overrides, point)]
        # The load is the perf point's, already shortened.
        return [labelled(point, self._perf[section.of].labels)]

    def _audit_settings(self, path: Path, section: AuditSection, words: AuditWords) -> dict[str, Any] | None:
        """Dataset, load and limits of an audit: its own, or those of the perf point that it is `of`."""
        context = self._context
        if section.of is not None:
            for key in ("load", "dataset"):
                if getattr(section, key) is not None:
                    context.problem((*path, key), "is also taken from 'of'; expected one of them")
            point = self._perf_point((*path, "of"), section.of)
            if point is None or point.load is None:
                return None
            self._check_pattern((*path, "of"), point.load, words)
            taken = (
                "timeouts",
                "budget",
                "max_response_bytes",
                "workers",
                "arrival_seed",
                "minimum_duration_s",
                "unofficial",
            )
            inherited = {key: getattr(point, key) for key in taken if key not in section.model_fields_set}
            return {"dataset": point.dataset, "load": point.load, "samples": point.samples, **inherited}
        if section.load is None:
            context.problems.add(
                context.document.key_mark(path),
                f"audit {path[-1]!r} has neither 'of' nor 'load'; expected one of them",
            )
            return None
        name = section.dataset
        if name is None and len(self._declared) == 1:
            name = next(iter(self._declared))
        if name is None:
            context.problems.add(
                context.document.key_mark(path),
                f"audit {path[-1]!r} names no 'dataset'; "
                "it may be left out only where the suite has exactly one",
            )
            return None
        dataset = self._dataset((*path, "dataset"), name)
        load = plan_load(context, path, section.load, {})
        refuse_trace_lengths(context, path, section.load, "an audit")
        if dataset is None or load is None:
            return None
        self._check_pattern((*path, "load", "pattern"), load, words)
        return {
            "dataset": dataset.name,
            "load": load,
            "samples": plan_order(context, path, OrderSection()),
        }

    def eval(self, name: str, value: Mapping[str, Any]) -> list[Point]:
        """The eval points of the declaration `name`, one for each concurrency."""
        context, path = self._context, ("eval", name)
        self._check_name(path)
        fields = context.vocabulary.eval_fields
        if fields is None:
            context.problems.add(
                context.document.key_mark(("eval",)),
                "this installation does not run evals; remove the section",
            )
            return []
        if "tables" in value:
            return plan_table_eval(context, self._suite, name, value)
        if "command" in value:
            return plan_command_eval(context, self._suite, name, value)
        section = context.check(with_fields(EvalSection, fields), path, value)
        if section is None:
            self._check_parts("eval", path, value)
            return []
        before = len(context.problems)
        if section.dataset not in self._declared:
            context.known((*path, "dataset"), "dataset of this suite", section.dataset, self._declared)
        self._check_eval(path, section)
        if (section.concurrency is None) == (section.sweep is None):
            context.problems.add(
                context.document.key_mark(path),
                f"eval {name!r} needs exactly one of 'concurrency' and 'sweep: {{concurrency: […]}}'",
            )
        bounds = plan_bounds(context, (*path, "bounds"), section.bounds, "eval", self._named_bounds)
        self._check_eval_metrics(path, section, bounds)
        if len(context.problems) > before:
            return []
        shots = {} if section.few_shots is None else {"few_shots": as_json(section.few_shots)}
        limit = context.overrides.eval_limit
        limited = {} if limit is None else {"limit": limit}
        points: list[Point] = []
        for values in combinations(section.sweep):
            concurrency = section.concurrency or int(values["concurrency"])
            point = self._point("eval", name, section, values)(
                dataset=section.dataset,
                load=Load(pattern="concurrency", concurrency=concurrency),
                bounds=bounds,
                options={**shots, **limited, **_own_fields(section, fields)},
            )
            points.append(labelled(point, [Label.LIMITED] if limited else []))
        return points

    def _check_eval_metrics(self, path: Path, section: EvalSection, bounds: Sequence[Bound]) -> None:
        """Record bounds on scores that no scorer of the eval reports."""
        metrics_of = self._context.vocabulary.eval_metrics
        if metrics_of is None:
            return
        known = metrics_of(section)
        for bound in bounds:
            if bound.metric not in known:
                self._context.problem(
                    (*path, "bounds", bound.metric),
                    f"is not reported by the scorers of this eval; expected one of {one_of(known)}",
                )

    def _check_eval(self, path: Path, section: EvalSection) -> None:
        """Record settings of the load engine that an eval cannot have, and a dataset of examples that is unknown."""
        if section.workers not in {None, 1}:
            self._context.problem(
                (*path, "workers"),
                f"is {section.workers}; an eval has one load worker, which writes its checkpoint",
            )
        if section.minimum_duration_s is not None:
            self._context.problem(
                (*path, "minimum_duration_s"), "does not apply to an eval, which asks each item"
            )
        generation = getattr(section, "generation", None)
        if isinstance(generation, GenerationSection):
            plan_parameters(self._context, (*path, "generation"), generation)
        shots = section.few_shots
        if shots is not None and shots.dataset not in self._declared:
            self._context.known(
                (*path, "few_shots", "dataset"), "dataset of this suite", shots.dataset, self._declared
            )

    def _point(
        self, kind: Kind, name: str, section: DrivenSection, values: Mapping[str, Value]
    ) -> functools.partial[Point]:
        """A point without the fields that its kind adds."""
        full = f"{name}/{segment(values)}" if values else name
        seed, scale = self._context.overrides.load_seed, self._context.overrides.duration_scale
        minimum = section.minimum_duration_s
        return functools.partial(
            Point,
            id=f"{self._suite}/{kind}/{full}",
            suite=self._suite,
            kind=kind,
            name=full,
            origin=str(self._context.document.key_mark((kind, name))),
            timeouts=Timeouts(**as_json(section.timeouts)),
            budget=HealthBudget(**as_json(section.budget)),
            max_response_bytes=section.max_response_bytes,
            workers=section.workers,
            arrival_seed=section.arrival_seed if seed is None else seed,
            minimum_duration_s=None if minimum is None else minimum * scale,
            labels=() if minimum is None or scale == 1.0 else (Label.SHORTENED,),
            unofficial=section.unofficial,
            sweep=dict(values),
        )

    def _check_parts(self, kind: Kind, path: Path, value: Mapping[str, Any]) -> None:
        """Record the problems in the well-formed parts of a malformed declaration."""
        context = self._context
        dataset, of = value.get("dataset"), value.get("of")
        if isinstance(dataset, str):
            context.known((*path, "dataset"), "dataset of this suite", dataset, self._declared)
        if isinstance(of, str) and kind == "audit":
            self._perf_point((*path, "of"), of)
        bounds, slo = value.get("bounds"), value.get("slo")
        if kind != "audit" and isinstance(bounds, dict):
            check_metrics(context, (*path, "bounds"), bounds.keys() - {"use"}, kind)
        if kind == "perf" and isinstance(slo, dict):
            check_metrics(context, (*path, "slo"), slo, "slo")
        if not isinstance(value.get("load"), dict) or "sweep" in value:
            return
        load = context.check(LoadSection, (*path, "load"), value["load"])
        if load is not None:
            plan_load(context, path, load, {})

    def _check_name(self, path: Path) -> None:
        complaint = name_complaint(str(path[-1]))
        if complaint:
            self._context.problems.add(self._context.document.key_mark(path), complaint)

    def _dataset(self, path: Path, name: str) -> DatasetPlan | None:
        """The dataset of this name, its columns checked against the API."""
        if name not in self._declared:
            self._context.known(path, "dataset of this suite", name, self._declared)
            return None
        dataset = self._declared[name]
        if dataset is not None and self._api is not None:
            check_columns(self._context, dataset, self._api)
        return dataset

    def _with_lengths(
        self, path: Path, dataset: DatasetPlan, values: Mapping[str, Value]
    ) -> DatasetPlan | None:
        lengths = [name for name in _LENGTH_DIMENSIONS if name in values]
        if not lengths:
            return dataset
        if dataset.synthetic is None or "trace" in dataset.synthetic:
            kind = "is a file" if dataset.synthetic is None else "has the lengths of a trace"
            self._context.problem(
                (*path, "sweep", lengths[0]), f"needs a synthetic dataset, and {dataset.name!r} {kind}"
            )
            return None
        derived = with_lengths(dataset, values)
        if derived.name in self._declared:
            self._context.problem(
                (*path, "sweep"),
                f"makes a dataset {derived.name!r}, which the suite declares; expected another name",
            )
            return None
        self.datasets[derived.name] = derived
        return derived

    def _check_pattern(self, path: Path, load: Load, words: AuditWords) -> None:
        if load.pattern not in words.patterns:
            self._context.problem(
                path,
                f"has the load pattern {load.pattern!r}, which cannot show what the audit looks for; "
                f"expected {one_of(sorted(words.patterns))}",
            )

    def _perf_point(self, path: Path, name: str) -> Point | None:
        """The perf point called `name`. No problem is added for one whose declaration already has problems."""
        declared = name.partition("/")[0]
        if declared in self._broken_perf:
            return None
        swept = [known for known in self._perf if known.startswith(f"{name}/")]
        if name not in self._perf and swept:
            self._context.problem(
                path, f"is {name!r}, which sweeps; expected one of its points: {one_of(swept)}"
            )
            return None
        known: dict[str, Point | None] = {**self._perf, **dict.fromkeys(self._broken_perf)}
        return self._context.known(path, "perf point of this suite", name, known)


@functools.cache
def with_fields(base: type[S], fields: type[Section]) -> type[S]:
    """`base` with the fields of an audit or eval in addition to its own."""
    bases: tuple[type[Any], ...] = (fields, base)
    combined: type[S] = create_model(fields.__name__, __base__=bases, __doc__=fields.__doc__)
    return combined


def _own_fields(section: Section, fields: type[Section]) -> dict[str, Any]:
    return {name: value for name, value in as_json(section).items() if name in fields.model_fields}
