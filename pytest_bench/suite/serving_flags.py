"""Whether the flags that containers give to launchers agree with one another and with the suite.

A wrong one does not show at once: a decode server with the sizes of the prefill still answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_bench.suite.container_plan import ContainerPlan
from pytest_bench.suite.document import Path as Where
from pytest_bench.suite.secret import Secret

_FOR_EVALS = ("EVAL_ONLY", "RUN_EVAL")
_TRUE = frozenset({"1", "true", "yes"})
_STAGES = ("prefill", "decode")
_SIZES = {"TP": "tp", "EP": "ep", "DP_ATTN": "dp_attention", "NUM_WORKERS": "num_workers"}
_VARIABLES = {
    f"{stage.upper()}_{size}": f"{stage}_{word}" for stage in _STAGES for size, word in _SIZES.items()
}
"""The names of sizes in variables, and in `deployment.labels`."""
_OPTIONS = {
    "TP": frozenset({"--tp", "--tp-size", "-tp", "--tensor-parallel-size"}),
    "EP": frozenset({"--ep", "--ep-size", "--expert-parallel-size"}),
}

Problem = tuple[Where, str]
"""The path in the suite, and what is wrong with it."""


def inconsistencies(
    containers: Sequence[ContainerPlan],
    *,
    labels: Mapping[str, object],
    has_eval: bool,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Problem]:
    """Flags and sizes that contradict one another. With `environ`, those that the host's variables set count, too."""
    for plan in containers:
        yield from _flags(plan, _values(plan, environ), has_eval=has_eval)
    known = {
        name: (_plain(labels[label]), f"deployment.labels.{label}")
        for name, label in _VARIABLES.items()
        if label in labels
    }
    for plan in containers:
        for name, value in _values(plan, environ).items():
            here = (_plain(value), f"{plan.place}.environment.{name}")
            if name in _VARIABLES and (first := known.setdefault(name, here))[0] != here[0]:
                yield _at(plan, name), f"is {value!r}, but {first[1]} says {first[0]!r}"
    for plan in containers:
        yield from _arguments(plan, known)


def _flags(plan: ContainerPlan, values: Mapping[str, str], *, has_eval: bool) -> Iterator[Problem]:
    for name, value in values.items():
        if name in _FOR_EVALS and value.lower() in _TRUE and not has_eval:
            yield _at(plan, name), f"is {value!r}, but the suite declares no eval; leave it out"
    for name, declared in plan.environment.items():
        if isinstance(declared, Secret) and name in _VARIABLES and declared.from_env == _other(name):
            yield _at(plan, name), f"is read from {declared.from_env}, the size of the other stage"


def _arguments(plan: ContainerPlan, known: Mapping[str, tuple[str, str]]) -> Iterator[Problem]:
    """Sizes in the arguments of a prefill or decode server that are not those that are declared."""
    for stage in _STAGES:
        for size, options in _OPTIONS.items() if plan.role.startswith(stage) else ():
            found = _given(plan.arguments, options)
            declared = known.get(f"{stage.upper()}_{size}")
            if found is not None and declared is not None and found != declared[0]:
                path = (*plan.place.split("."), "arguments")
                yield (
                    path,
                    f"give the {stage} server a {size} of {found}, but {declared[1]} says {declared[0]!r}",
                )


def _values(plan: ContainerPlan, environ: Mapping[str, str] | None) -> dict[str, str]:
    """The values that are known: written ones and, with `environ`, those that are forwarded."""
    written = {name: value for name, value in plan.environment.items() if isinstance(value, str)}
    names = () if environ is None else (*plan.forward, *plan.forward_if_set)
    return written | {name: environ[name] for name in names if environ and name in environ}


def _given(arguments: Sequence[str], options: frozenset[str]) -> str | None:
    """The value of an option, written as `--name value` or `--name=value`."""
    for place, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name in options:
            return value if equals else next(iter(arguments[place + 1 :]), "")
    return None


def _other(name: str) -> str:
    """The variable of the other stage for the same size."""
    stage, _, size = name.partition("_")
    return f"{'DECODE' if stage == 'PREFILL' else 'PREFILL'}_{size}"


def _plain(value: object) -> str:
    """`true` and `True` are one value."""
    return str(value).lower()


def _at(plan: ContainerPlan, name: str) -> Where:
    return (*plan.place.split("."), "environment", name)
