"""Shared by the tests of suites: a vocabulary, the beginning of a suite, and a folder to write suites to."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from pytest_bench.errors import SuiteError, UsageError
from pytest_bench.metrics.names import slo_unit_of, unit_of
from pytest_bench.suite.context import Overrides
from pytest_bench.suite.loading import load_plan
from pytest_bench.suite.section import Section
from pytest_bench.suite.vocabulary import ApiWords, AuditWords, Vocabulary


class OutputCaching(Section):
    """Finds servers that answer from a cache."""

    samples: int | None = None
    """Reference count."""
    threshold: float = Field(default=0.1, gt=0, lt=1)


class Task(Section):
    """An eval."""

    task: str
    repeats: int = 1


def eval_unit_of(metric: str) -> str:
    if metric != "exact_match,strict-match":
        raise UsageError(f"there is no metric {metric!r}; did you mean 'exact_match,strict-match'?")
    return "fraction"


def check_simulator(behaviour):
    for word in behaviour:
        if word not in {"ttft_ms", "answers"}:
            raise UsageError(f"there is no {word!r}; expected ttft_ms")


VOCABULARY = Vocabulary(
    apis={
        "openai-chat": ApiWords(
            "somewhere:Chat",
            {"prompt": "text", "messages": "a conversation", "max_tokens": "a limit"},
            frozenset({"prompt", "messages"}),
            streaming=True,
        ),
        "videos": ApiWords(
            "somewhere:Videos",
            {"prompt": "text", "negative_prompt": "text"},
            frozenset({"prompt"}),
            streaming=False,
        ),
    },
    unit_of={"perf": unit_of, "slo": slo_unit_of, "eval": eval_unit_of},
    check_simulator=check_simulator,
    audits={"output-caching": AuditWords(OutputCaching, frozenset({"burst", "concurrency"}))},
    eval_fields=Task,
)

HEAD = """\
suite: chat
deployment: {api: openai-chat, model: m, endpoint: "http://host:8000"}
datasets:
  prompts: {path: data/prompts.jsonl}
  made: {synthetic: {rows: 10, input_tokens: 128, output_tokens: 16}}
"""
"""The first five lines of a suite, which tests continue on line 6."""


class Bench:
    """A folder of suites, and the plan they make."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ: dict[str, str] = {}
        self.vocabulary = VOCABULARY

    def write(self, text: str, name: str = "chat.yaml") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def load(self, *names: str, **overrides):
        files = [self.folder / name for name in names or ("chat.yaml",)]
        return load_plan(files, self.vocabulary, Overrides(**overrides), self.environ, root=self.folder)

    def plan(self, text: str, **overrides):
        """The plan of one suite."""
        self.write(text)
        return self.load(**overrides)

    def body(self, text: str, **overrides):
        """The plan of one suite that begins with `HEAD`."""
        return self.plan(HEAD + text, **overrides)

    def problems(self, text: str, **overrides) -> tuple[str, ...]:
        """What is wrong with one suite."""
        with pytest.raises(SuiteError) as caught:
            self.plan(text, **overrides)
        return caught.value.problems

    def body_problems(self, text: str, **overrides) -> tuple[str, ...]:
        return self.problems(HEAD + text, **overrides)
