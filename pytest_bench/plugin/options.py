"""The plugin's command-line options, the source of each value, and the values."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_bench.errors import UsageError
from pytest_bench.labels import Label
from pytest_bench.results.layout import LATEST
from pytest_bench.verdict.events import Invocation

SIMULATOR = "simulator"
VLLM = "vllm"

OPTIONS: Mapping[str, dict[str, Any]] = {
    "--endpoint": {
        "action": "append",
        "default": [],
        "metavar": "URL",
        "help": "use this endpoint for every selected deployment; repeat it for replicas; "
        "`simulator` starts the built-in simulator",
    },
    "--served-model": {"metavar": "NAME", "help": "model name to send in requests"},
    "--api-key-env": {"metavar": "NAME", "help": "environment variable that holds the endpoint's API key"},
    "--tokenizer": {
        "metavar": "PATH_OR_ID",
        "help": "tokenizer for counting tokens, for every selected deployment",
    },
    "--results": {
        "metavar": "DIR",
        "help": "folder for evidence, new or empty; default results/<UTC time>-<nonce>",
    },
    "--resume": {
        "metavar": "DIR",
        "help": "continue the evals of the session in this results folder, or in the newest one with `latest`; other "
        "points run anew",
    },
    "--complete": {
        "action": "store_true",
        "help": "require every point that the suites declare to run and pass (for CI)",
    },
    "--expect": {
        "metavar": "FILE",
        "help": "require the points in this expectation file, generated independently by `pytest-bench plan`",
    },
    "--show-progress": {
        "action": "store_true",
        "help": "show the progress of points with -q, too",
    },
    "--slurm": {
        "action": "store_true",
        "help": "inside a Slurm allocation: run one xdist worker on every node, each point on one of them",
    },
    "--load-seed": {"metavar": "N", "help": "replace every seed of arrival times and sample order"},
    "--data-seed": {
        "metavar": "N",
        "help": "replace the seed of every synthetic dataset, for prompts that are not in the server's cache",
    },
    "--ready-timeout": {
        "metavar": "SECONDS",
        "help": "time to wait for an endpoint to become ready; 0 means one attempt",
    },
    "--requests": {
        "metavar": "N",
        "help": "replace the number of requests of every load, for a smoke run; the points are labelled",
    },
    "--eval-limit": {
        "metavar": "N",
        "help": "ask only the first N items of every eval, for a smoke run; the points are labelled, and never pass "
        "under --complete",
    },
    "--summary": {
        "metavar": "vllm",
        "help": "with `vllm`, also print performance points in the shape of `vllm bench serve`",
    },
    "--duration-scale": {
        "metavar": "X",
        "help": "multiply every duration, for a smoke run; points with changed durations are labelled",
    },
}
"""Every option of the plugin. `overrides` converts the values, so that an invalid one is refused with red files;
pytest's parser would exit before they are written."""

_NAMES = {option: option.removeprefix("--").replace("-", "_") for option in OPTIONS}
_GATES = ("results", "resume", "complete", "expect")
_POINTS_DEPEND_ON = (
    "--endpoint",
    "--served-model",
    "--api-key-env",
    "--tokenizer",
    "--load-seed",
    "--data-seed",
    "--ready-timeout",
    "--requests",
    "--eval-limit",
    "--duration-scale",
)
_SHOWS = ("help", "version", "markers", "cacheshow")
_COLLECTS = ("showfixtures", "show_fixtures_per_test", "collectonly", "setupplan")


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("inference-bench", "benchmarks, audits and evals of served models")
    for option, words in OPTIONS.items():
        group.addoption(option, **words)


class OptionSources:
    """The arguments of a call by source, and the options that each source gives."""

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
        if config.known_args_namespace.results and config.known_args_namespace.resume:
            raise UsageError("--results and --resume both name a results folder; give one of them")

    def for_this_call(self, names: tuple[str, ...] = tuple(_NAMES.values())) -> list[str]:
        """Return the plugin's options that the command line or PYTEST_ADDOPTS gives. Options in a configuration file
        apply to every call in a repository, with or without suites, so they are not included."""
        return [
            option
            for option, name in _NAMES.items()
            if name in names
            and any(getattr(source, name, None) for source in (self.command_line, self._environment))
        ]

    def gates(self) -> list[str]:
        """Return the given options that require a verdict."""
        return self.for_this_call(_GATES)

    def accepted_labels(self, option: argparse.Namespace) -> tuple[str, ...]:
        """Return the labels that the command line itself accepts."""
        labels: list[str] = []
        if self.command_line.endpoint == option.endpoint == [SIMULATOR]:
            labels.append(Label.SIMULATOR)
        if self.command_line.duration_scale is not None:
            labels.append(Label.SHORTENED)
        return tuple(labels)

    def rerun_options(self) -> tuple[str, ...]:
        """Return the arguments of the command line that a point depends on, for its rerun command."""
        given = self.command_line
        words = ["-c", given.inifilename] if given.inifilename else []
        words += ["--rootdir", given.rootdir] if given.rootdir else []
        for option, values in (("-p", given.plugins), ("-o", given.override_ini)):
            words += [word for value in values or () for word in (option, value)]
        for option in _POINTS_DEPEND_ON:
            value = getattr(given, _NAMES[option])
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
                    f"{word}: the value is empty, perhaps because a variable is not set; give a value, or remove "
                    "the option"
                )


def results_path(option: argparse.Namespace, here: Path, started: str, nonce: str) -> Path:
    """Return the absolute path of this call's results folder, or of the one that it resumes."""
    if option.resume:
        named = here / "results" / LATEST if option.resume == LATEST else here / option.resume
        return Path(os.path.realpath(named))
    if option.results:
        return Path(os.path.normpath(here / option.results))
    return here / "results" / f"{started.replace('-', '').replace(':', '')}-{nonce[:8]}"


def junit_path(option: argparse.Namespace, here: Path) -> Path | None:
    """Return the JUnit file that this call names, expanded as pytest does, or None."""
    if not getattr(option, "xmlpath", None):
        return None
    given = os.path.expanduser(os.path.expandvars(option.xmlpath))  # noqa: PTH111 # as pytest does
    return Path(os.path.normpath(here / given))


def shows_only(option: argparse.Namespace) -> bool:
    """Whether the call only shows information that does not depend on suites; it works even if a suite is invalid."""
    return any(getattr(option, name, None) for name in _SHOWS)


def collects_only(option: argparse.Namespace) -> bool:
    """Whether the call collects but runs no test. Such a call writes nothing."""
    return any(getattr(option, name, None) for name in _COLLECTS)


def named_files(words: Sequence[str], *, is_ours: bool = False) -> argparse.Namespace:
    """Return the files named by a call that pytest cannot parse.

    A JUnit file counts only if the call also names a results folder, or if `is_ours`: other calls may not concern
    suites.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--results")
    parser.add_argument("--resume")
    parser.add_argument("--junitxml", "--junit-xml", dest="xmlpath")
    try:
        known, _ = parser.parse_known_args(list(words))
    except argparse.ArgumentError:
        known = argparse.Namespace(results=None, resume=None, xmlpath=None)
    if known.results is None and known.resume is None and not is_ours:
        known.xmlpath = None
    return known
