"""The command line: the plugin's options, where each was given, and what they say."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_bench.errors import UsageError
from pytest_bench.verdict.events import Invocation

SIMULATOR = "simulator"

OPTIONS: Mapping[str, dict[str, Any]] = {
    "--endpoint": {
        "action": "append",
        "default": [],
        "metavar": "URL",
        "help": "use this endpoint for every selected deployment; repeat it for replicas; "
        "`simulator` asks for the built-in simulator",
    },
    "--served-model": {"metavar": "NAME", "help": "model name that requests carry"},
    "--api-key-env": {"metavar": "NAME", "help": "environment variable that holds the endpoint's API key"},
    "--tokenizer": {
        "metavar": "PATH_OR_ID",
        "help": "tokenizer that counts, for every selected deployment",
    },
    "--results": {
        "metavar": "DIR",
        "help": "folder for evidence; default results/<UTC time>-<nonce>. A used one is refused",
    },
    "--complete": {
        "action": "store_true",
        "help": "every point that the suites declare must have run and passed (for CI)",
    },
    "--expect": {
        "metavar": "FILE",
        "help": "what must have run: an expectation file, generated independently by `pytest-bench plan`",
    },
    "--load-seed": {"metavar": "N", "help": "replaces every seed of arrivals and sample order"},
    "--data-seed": {
        "metavar": "N",
        "help": "replaces the seed of every synthetic dataset: other prompts, which no cache of the server holds",
    },
    "--ready-timeout": {
        "metavar": "SECONDS",
        "help": "how long to wait for an endpoint to become ready; 0 tries once",
    },
    "--requests": {
        "metavar": "N",
        "help": "replace every number of requests that a load declares, for a smoke run; such points are labelled",
    },
    "--duration-scale": {
        "metavar": "X",
        "help": "multiply every duration, for a smoke run; points that it shortens are labelled",
    },
}
"""Every option of the plugin. Values are text until `overrides` reads them, so that the call can be refused with
red files in place; the parser of pytest would end it before."""

_NAMES = {option: option.removeprefix("--").replace("-", "_") for option in OPTIONS}
_GATES = ("results", "complete", "expect")
_POINTS_DEPEND_ON = (
    "--endpoint",
    "--served-model",
    "--api-key-env",
    "--tokenizer",
    "--load-seed",
    "--data-seed",
    "--ready-timeout",
    "--requests",
    "--duration-scale",
)
_SHOWS = ("help", "version", "markers", "cacheshow")
_COLLECTS = ("showfixtures", "show_fixtures_per_test", "collectonly", "setupplan")


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("inference-bench", "benchmarks, audits and evals of served models")
    for option, words in OPTIONS.items():
        group.addoption(option, **words)


class Given:
    """The words of a call by their source, and the options that each source gives."""

    def __init__(self, config: pytest.Config, parser: pytest.Parser) -> None:
        """Raises `UsageError` for an option of ours, or `--junitxml`, with an empty value."""
        self.invocation = Invocation(
            ini=tuple(config.getini("addopts")),
            environment=tuple(shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))),
            command_line=tuple(map(str, config.invocation_params.args)),
        )
        self.command_line = parser.parse_known_args(list(self.invocation.command_line))
        self._environment = parser.parse_known_args(list(self.invocation.environment))
        _refuse_empty(config.known_args_namespace)

    def for_this_call(self, names: tuple[str, ...] = tuple(_NAMES.values())) -> list[str]:
        """Options of ours that the command line or PYTEST_ADDOPTS gives. Those of a configuration file are meant for
        every call of a repository, whatever it runs."""
        return [
            option
            for option, name in _NAMES.items()
            if name in names
            and any(getattr(source, name, None) for source in (self.command_line, self._environment))
        ]

    def gates(self) -> list[str]:
        """Options that promise a verdict."""
        return self.for_this_call(_GATES)

    def accepted_labels(self, option: argparse.Namespace) -> tuple[str, ...]:
        """Labels that the command line itself asks for."""
        labels = []
        if self.command_line.endpoint == option.endpoint == [SIMULATOR]:
            labels.append("simulator")
        if self.command_line.duration_scale is not None:
            labels.append("shortened")
        return tuple(labels)

    def kept_for_rerun(self) -> tuple[str, ...]:
        """Words of the command line that a point depends on, for the command that runs it again."""
        said = self.command_line
        words = ["-c", said.inifilename] if said.inifilename else []
        words += ["--rootdir", said.rootdir] if said.rootdir else []
        for option, values in (("-p", said.plugins), ("-o", said.override_ini)):
            words += [word for value in values or () for word in (option, value)]
        for option in _POINTS_DEPEND_ON:
            value = getattr(said, _NAMES[option])
            values = value if isinstance(value, list) else [] if value is None else [value]
            words += [f"{option}={item}" for item in values]
        return tuple(words)


def _refuse_empty(option: argparse.Namespace) -> None:
    named = {**_NAMES, "--junitxml": "xmlpath"}
    for word, name in named.items():
        value = getattr(option, name, None)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str) and not item.strip():
                raise UsageError(
                    f"{word}: its value is empty, as a variable that is not set leaves it; give a value, or leave "
                    "the option out"
                )


def results_path(option: argparse.Namespace, here: Path, started: str, nonce: str) -> Path:
    """Where this call's evidence lands; absolute."""
    if option.results:
        return Path(os.path.normpath(here / option.results))
    return here / "results" / f"{started.replace('-', '').replace(':', '')}-{nonce[:8]}"


def junit_path(option: argparse.Namespace, here: Path) -> Path | None:
    """The JUnit file that this call names, as pytest understands the option; None if it names none."""
    if not getattr(option, "xmlpath", None):
        return None
    given = os.path.expanduser(os.path.expandvars(option.xmlpath))  # noqa: PTH111 # as pytest does
    return Path(os.path.normpath(here / given))


def shows_only(option: argparse.Namespace) -> bool:
    """Whether the call only shows something that no suite has a part in, not even a broken one."""
    return any(getattr(option, name, None) for name in _SHOWS)


def collects_only(option: argparse.Namespace) -> bool:
    """Whether the call collects and shows at most: it then runs nothing and writes nothing."""
    return any(getattr(option, name, None) for name in _COLLECTS)


def named_files(words: Sequence[str]) -> argparse.Namespace:
    """The files that a call names which pytest itself cannot read: none unless it names a results folder."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--results")
    parser.add_argument("--junitxml", "--junit-xml", dest="xmlpath")
    try:
        known, _ = parser.parse_known_args(list(words))
    except argparse.ArgumentError:
        known = argparse.Namespace(results=None)
    if known.results is None:
        known.xmlpath = None
    return known
