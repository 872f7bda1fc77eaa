"""Evals that another tool runs: how a suite declares the command, and the points that it makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from pytest_bench.labels import Label
from pytest_bench.suite.checking import as_json
from pytest_bench.suite.context import Context
from pytest_bench.suite.deployment_schema import Header
from pytest_bench.suite.document import Path
from pytest_bench.suite.plan import Point, Secret
from pytest_bench.suite.schema import EvalSweepSection
from pytest_bench.suite.section import Count, Seconds, Section, Text, Texts, VariableName
from pytest_bench.suite.sweep import combinations, segment
from pytest_bench.wording import did_you_mean, one_of
from pytest_bench.workload import Load

PLACEHOLDERS: dict[str, str] = {
    "endpoint": "URL of the endpoint, without a path of its own",
    "model": "name of the served model",
    "concurrency": "number of requests in flight",
    "output": "empty folder that receives the tool's files",
}
"""Words in braces that a command and its environment may hold, with their meaning."""

_REQUIRED = ("endpoint", "concurrency", "output")
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_KEY = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD)$")

Unit = Annotated[float, Field(ge=0, le=1)]


def _refuse_unknown(text: str, placeholders: Mapping[str, str]) -> str:
    for word in _PLACEHOLDER.findall(text):
        if word not in placeholders:
            known = one_of(f"{{{name}}}" for name in placeholders)
            hint = did_you_mean(word, placeholders)
            # Braces in the text would be taken for fields of pydantic's own message.
            raise PydanticCustomError(
                "placeholder",
                "{why}",
                {"why": f"holds {{{word}}}, which is not a placeholder; expected {known}{hint}"},
            )
    return text


def only(placeholders: Mapping[str, str]) -> Callable[[str], str]:
    """The validator of a text that may hold these placeholders and no others."""
    return lambda text: _refuse_unknown(text, placeholders)


def refuse_keys(environment: Mapping[str, Any], placeholders: Mapping[str, str] = PLACEHOLDERS) -> None:
    """Raises `PydanticCustomError` for keys in the environment of a command, and for unknown placeholders there."""
    for name, value in environment.items():
        if isinstance(value, str):
            _refuse_unknown(value, placeholders)
            if _KEY.search(name.upper()):
                raise PydanticCustomError(
                    "key",
                    "holds a key in 'environment.{name}', which a suite must not contain; expected {how}",
                    {"name": name, "how": "{from_env: NAME}"},
                )


def holds(text: str, word: str) -> bool:
    """Whether `text` holds the placeholder `word`."""
    return word in _PLACEHOLDER.findall(text)


Argument = Annotated[str, AfterValidator(only(PLACEHOLDERS))]


class CommandEvalSection(Section):
    """An accuracy eval that another tool runs, such as lm-eval, with one point for each concurrency. Its files are
    judged by the evidence rules for lm-eval's layout. It is never resumed: a point that was interrupted runs anew in
    another session."""

    command: Annotated[list[Argument], Field(min_length=1)]
    """Program and arguments, run in the suite's folder without a shell. `{endpoint}`, `{model}`, `{concurrency}` and
    `{output}` (an empty folder for the tool's files) are replaced. All but `{model}` must occur here or in
    `environment`."""
    environment: dict[VariableName, Header] = Field(default_factory=dict)
    """Variables of the tool, whose values may hold the same placeholders. A key must be given as `{from_env: NAME}`.
    Beside these it has PATH, HOME, LANG, LC_ALL, TMPDIR and TZ only."""
    concurrency: Count | None = None
    """Requests in flight; `sweep` gives several values instead."""
    sweep: EvalSweepSection | None = None
    tasks: Texts
    """Tasks that every result must have."""
    metric_prefix: Text = "exact_match,"
    """Prefix of the metrics that are judged, as lm-eval names them: `metric,filter`."""
    thresholds: dict[Text, Unit] = Field(default_factory=dict)
    """Least score by task."""
    min_score: Unit | None = None
    """Least score of tasks that `thresholds` does not name."""
    limit: Count | None = None
    """Number of items to which the command limits each task; the point is then labelled `limited`. Left out: the tool
    must evaluate all of them. `--eval-limit` does not apply to a command."""
    unproven_concurrency: Literal["refused", "allowed"] = "refused"
    """What becomes of a point whose concurrency neither the tool's files nor the server's metrics prove: it is an
    error, or it is labelled `concurrency-unproven`."""
    time_limit_s: Seconds = 14_400
    """The tool is ended, with all of its processes, after this time, and the point is red."""
    resume: Literal["never"] = "never"
    """What `--resume` does with this eval: its tool's files are kept, and it is not continued."""

    @model_validator(mode="after")
    def _refers_to_its_point(self) -> Self:
        texts = [*self.command, *(value for value in self.environment.values() if isinstance(value, str))]
        used = {word for text in texts for word in _PLACEHOLDER.findall(text)}
        for word in _REQUIRED:
            if word not in used:
                raise PydanticCustomError(
                    "placeholder",
                    "{why}",
                    {
                        "why": f"does not hold {{{word}}} in 'command' or 'environment'; without it the tool does not "
                        f"receive the {PLACEHOLDERS[word]}"
                    },
                )
        refuse_keys(self.environment)
        if (self.concurrency is None) == (self.sweep is None):
            raise PydanticCustomError(
                "concurrency",
                "needs exactly one of 'concurrency' and {sweep}",
                {"sweep": "'sweep: {concurrency: […]}'"},
            )
        for task in self.tasks:
            if self.min_score is None and task not in self.thresholds:
                raise PydanticCustomError(
                    "threshold",
                    "has no threshold for the task '{task}'; expected one in 'thresholds', or 'min_score'",
                    {"task": task},
                )
        return self


def plan_command_eval(context: Context, suite: str, name: str, value: Mapping[str, Any]) -> list[Point]:
    """The points of an eval with a `command`, one for each concurrency. Problems go to the context."""
    path: Path = ("eval", name)
    section = context.check(CommandEvalSection, path, value)
    if section is None:
        return []
    points: list[Point] = []
    for values in combinations(section.sweep):
        full = f"{name}/{segment(values)}" if values else name
        concurrency = section.concurrency or int(values["concurrency"])
        points.append(
            Point(
                id=f"{suite}/eval/{full}",
                suite=suite,
                kind="eval",
                name=full,
                origin=str(context.document.key_mark(path)),
                dataset=None,
                load=Load(pattern="concurrency", concurrency=concurrency),
                labels=(Label.LIMITED,) if section.limit is not None else (),
                sweep=dict(values),
                options={
                    field: given
                    for field, given in as_json(section).items()
                    if field not in {"concurrency", "sweep"}
                },
            )
        )
    return points


def is_command(point: Point) -> bool:
    """Whether another tool runs the point."""
    return "command" in point.options


def filled_in(text: str, values: Mapping[str, str]) -> str:
    """`text` with its placeholders replaced by `values`."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)


def secrets_of(points: Iterable[Point]) -> Iterator[tuple[Point, Secret]]:
    """The secrets in the environments of commands."""
    for point in points:
        if is_command(point):
            for value in point.options["environment"].values():
                if isinstance(value, Mapping):
                    yield point, Secret(from_env=value["from_env"])
