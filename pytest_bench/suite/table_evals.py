"""Evals whose results are tables that another tool leaves on one or several nodes: declaration and points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from pytest_bench.bounds import Bound, parse_bound
from pytest_bench.errors import UsageError
from pytest_bench.suite.checking import as_json
from pytest_bench.suite.command_evals import holds, only, refuse_keys
from pytest_bench.suite.context import Context
from pytest_bench.suite.deployment_schema import Header
from pytest_bench.suite.document import Path
from pytest_bench.suite.plan import Point
from pytest_bench.suite.section import Count, Seconds, SecondsOrNone, Section, Text, VariableName

PLACEHOLDERS: dict[str, str] = {
    "endpoint": "URL of the endpoint, without a path of its own",
    "model": "name of the served model",
    "output": "empty folder of this node for the tool's files",
    "rank": "number of the node, from 0",
    "nodes": "number of nodes",
    "first_node": "name of the node of rank 0",
    "job": "id of the Slurm job; outside of one, the nonce of the session",
}
"""Words in braces that a command and its environment may hold, with their meaning."""

PATH_PLACEHOLDERS: dict[str, str] = {
    "job": PLACEHOLDERS["job"],
    "user": "name of the user on the node",
}
"""Words in braces that a pattern of paths may hold, with their meaning."""

DEFAULT_PATHS = (
    "perf.csv",
    "results_dir/**/*.csv",
    "slurm_output/perf_csv/**/*.csv",
    "/shared_inference/{user}/{job}/**/*.csv",
)
"""Where launchers of madengine leave their results."""

Argument = Annotated[str, AfterValidator(only(PLACEHOLDERS))]
Pattern = Annotated[str, AfterValidator(only(PATH_PLACEHOLDERS))]


class RowSection(Section):
    """A row of the tables."""

    model: Text
    metric: Text


class TablesSection(Section):
    """CSV files with the columns `model`, `performance` and `metric`. All `*.csv` in `{output}` are candidates, too."""

    paths: Annotated[list[Pattern], Field(min_length=1)] = Field(default_factory=lambda: list(DEFAULT_PATHS))
    """Patterns of further candidates (`*`, `?`, `**`), relative to the suite's folder. `{job}` and `{user}` are
    replaced. An absolute path must hold `{job}`, because it is not known otherwise whose files these are. Left out:
    where launchers of madengine leave results, `perf.csv`, `results_dir/**/*.csv`, `slurm_output/perf_csv/**/*.csv` and
    `/shared_inference/{user}/{job}/**/*.csv`."""
    wait_s: SecondsOrNone = 30
    """How long files may take to appear after the command ended, on a slow shared file system."""
    combine: dict[Text, Literal["pick", "equal", "sum", "mean", "max"]] = Field(default_factory=dict)
    """How the values of several nodes become one, by metric. `pick`, the default, takes them from the best table; the
    others need a value of every node."""
    expect_rows: list[RowSection] = Field(default_factory=list)
    """Rows without which the point fails."""

    @model_validator(mode="after")
    def _names_the_job(self) -> Self:
        for pattern in self.paths:
            if pattern.startswith("/") and not holds(pattern, "job"):
                raise PydanticCustomError(
                    "path",
                    "{why}",
                    {
                        "why": f"'paths' has {pattern!r}; an absolute path must hold {{job}}, the id of the job"
                    },
                )
        return self


class TableEvalSection(Section):
    """A point whose work another tool does, such as madengine, on one or several nodes. Its results are the rows of the
    tables that it leaves. It is never resumed."""

    command: Annotated[list[Argument], Field(min_length=1)]
    """Program and arguments, run once on each node, in the suite's folder and without a shell. `{endpoint}`, `{model}`,
    `{output}` (an empty folder of this node for the tool's files), `{rank}`, `{nodes}`, `{first_node}` and `{job}` are
    replaced. If no point of the suite needs `{endpoint}`, nothing is served and no endpoint is needed."""
    environment: dict[VariableName, Header] = Field(default_factory=dict)
    """Variables of the tool, whose values may hold the same placeholders. A key must be given as `{from_env: NAME}`.
    Beside these it has PATH, HOME, LANG, LC_ALL, TMPDIR and TZ only."""
    nodes: Count = 1
    """Number of nodes. 1: this host. More: the first nodes of the Slurm allocation that the session runs in."""
    tables: TablesSection
    bounds: dict[Text, Text] = Field(default_factory=dict)
    """Limits by row, `<model> <metric>`: `"chat throughput": ">= 100"`, in the unit of the table."""
    time_limit_s: Seconds = 14_400
    """The tool is ended on every node, with all of its processes, after this time, and the point is red."""
    resume: Literal["never"] = "never"
    """What `--resume` does with this point: its files are kept, and it is not continued."""

    @model_validator(mode="after")
    def _holds_no_key(self) -> Self:
        refuse_keys(self.environment, PLACEHOLDERS)
        return self


def plan_table_eval(context: Context, suite: str, name: str, value: Mapping[str, Any]) -> list[Point]:
    """The point of an eval with `tables`. Problems go to the context."""
    path: Path = ("eval", name)
    section = context.check(TableEvalSection, path, value)
    if section is None:
        return []
    bounds = tuple(_bounds(context, path, section))
    if len(bounds) < len(section.bounds):
        return []
    texts = [*section.command, *(text for text in section.environment.values() if isinstance(text, str))]
    return [
        Point(
            id=f"{suite}/eval/{name}",
            suite=suite,
            kind="eval",
            name=name,
            origin=str(context.document.key_mark(path)),
            dataset=None,
            load=None,
            bounds=bounds,
            options={
                **{field: given for field, given in as_json(section).items() if field != "bounds"},
                "needs_endpoint": any(holds(text, "endpoint") for text in texts),
            },
        )
    ]


def _bounds(context: Context, path: Path, section: TableEvalSection) -> Iterator[Bound]:
    for row, text in section.bounds.items():
        where = (*path, "bounds", row)
        try:
            yield parse_bound(row, text, "the unit of its table", origin=str(context.mark(where)))
        except UsageError as error:
            context.problem(where, f"is not a bound: {error}")


def has_tables(point: Point) -> bool:
    """Whether the results of the point are tables that another tool leaves."""
    return "tables" in point.options
