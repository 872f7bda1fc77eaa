"""What all steps of planning one suite share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.files import open_plain
from pytest_bench.suite import checking
from pytest_bench.suite.document import Document
from pytest_bench.suite.document import Path as Where
from pytest_bench.suite.include import beside
from pytest_bench.suite.problems import Mark, Problems
from pytest_bench.suite.section import Section
from pytest_bench.suite.traces import Trace, read_trace
from pytest_bench.suite.vocabulary import Vocabulary
from pytest_bench.wording import did_you_mean, one_of

S = TypeVar("S", bound=Section)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the command line overrides in suites. None, or an empty value, overrides nothing."""

    endpoints: tuple[str, ...] = ()
    """URLs, or the single word `simulator`, for every deployment."""
    served_model: str | None = None
    api_key_env: str | None = None
    """Name of the environment variable that holds the key."""
    tokenizer: str | None = None
    load_seed: int | None = None
    """Replaces every seed of arrival times and of sample order."""
    data_seed: int | None = None
    """Replaces the seed of every synthetic dataset."""
    ready_timeout_s: float | None = None
    """How long to wait for every deployment; 0 makes one round of attempts."""
    duration_scale: float = 1.0
    """Multiplies every duration, for a shortened smoke run."""
    requests: int | None = None
    """Replaces every number of requests that a load declares, for a shortened smoke run."""
    eval_limit: int | None = None
    """Evals ask their first so many items only."""


@dataclass(frozen=True, slots=True)
class Context:
    """One suite's document, with what its sections are checked against, and the collected problems."""

    document: Document
    root: Path
    """The working folder, which marks are relative to."""
    vocabulary: Vocabulary
    overrides: Overrides
    problems: Problems
    environ: Mapping[str, str]
    """Variables of this process, from which `${VAR}` is expanded."""
    digests: dict[Path, str | None]
    """sha256 of the data files that suites name, shared by all suites so that each is read once."""
    _traces: dict[Path, Trace | None] = field(default_factory=dict)

    def mark(self, path: Where) -> Mark:
        return self.document.mark(path)

    def problem(self, path: Where, what: str) -> None:
        """Record a problem of the value at `path`; `what` follows its dotted name."""
        self.problems.add(self.mark(path), f"{checking.dotted(path)} {what}")

    def check(self, section: type[S], path: Where, value: object) -> S | None:
        return checking.check(
            section, self.document, path, value, self.problems, self.vocabulary.validation_context
        )

    def known(self, path: Where, what: str, word: str, words: Mapping[str, T]) -> T | None:
        """`words[word]`. Records a problem and returns None if there is no such word."""
        if word in words:
            return words[word]
        self.problem(
            path,
            f"is {word!r}, not a known {what}; expected {one_of(sorted(words))}{did_you_mean(word, words)}",
        )
        return None

    def file(self, path: Where, name: str) -> Path:
        """The path that `name` denotes, relative to the file that contains the value at `path`."""
        return beside(self.root / self.mark(path).file, name)

    def contents(self, file: Path) -> str | None:
        """sha256 of `file`; None if it cannot be read, which is reported when its rows are needed."""
        if file not in self.digests:
            try:
                with open_plain(file) as stream:
                    self.digests[file] = hashlib.file_digest(stream, "sha256").hexdigest()
            except (OSError, EvidenceError, ValueError):
                self.digests[file] = None
        return self.digests[file]

    def trace(self, path: Where, name: str) -> Trace | None:
        """The trace that `name` denotes, read once. Records a problem and returns None if it cannot be used."""
        file = self.file(path, name)
        if file not in self._traces:
            try:
                self._traces[file] = read_trace(file)
            except UsageError as error:
                self._traces[file] = None
                self.problem(path, f"cannot be used: {error}")
        return self._traces[file]
