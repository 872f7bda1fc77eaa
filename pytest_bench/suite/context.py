"""What every part of planning one suite has at hand."""

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
    """What the command line says over the suites; None, or empty, says nothing."""

    endpoints: tuple[str, ...] = ()
    """URLs, or the single word `simulator`, for every deployment."""
    served_model: str | None = None
    api_key_env: str | None = None
    """Name of the environment variable that holds the key."""
    tokenizer: str | None = None
    load_seed: int | None = None
    """Stands in for every seed of arrivals and of sample order."""
    duration_scale: float = 1.0
    """Multiplies every duration, for a shortened smoke run."""
    requests: int | None = None
    """Replaces every number of requests that a load declares, for a shortened smoke run."""


@dataclass(frozen=True, slots=True)
class Context:
    """One suite's document, and where its problems go."""

    document: Document
    root: Path
    """The working folder: what marks are relative to."""
    vocabulary: Vocabulary
    overrides: Overrides
    problems: Problems
    digests: dict[Path, str | None]
    """Of the data that suites name; one for all of them, so that no file is read for it twice."""
    _traces: dict[Path, Trace | None] = field(default_factory=dict)

    def mark(self, path: Where) -> Mark:
        return self.document.mark(path)

    def problem(self, path: Where, what: str) -> None:
        """Record that the value at `path` is wrong; `what` continues its dotted name."""
        self.problems.add(self.mark(path), f"{checking.dotted(path)} {what}")

    def check(self, section: type[S], path: Where, value: object) -> S | None:
        return checking.check(section, self.document, path, value, self.problems)

    def known(self, path: Where, what: str, word: str, words: Mapping[str, T]) -> T | None:
        """`words[word]`; None where there is no such word, which is then a recorded problem."""
        if word in words:
            return words[word]
        self.problem(
            path, f"is {word!r}, no {what}; expected {one_of(sorted(words))}{did_you_mean(word, words)}"
        )
        return None

    def file(self, path: Where, name: str) -> Path:
        """The path that `name` means, relative to the file in which the value at `path` is written."""
        return beside(self.root / self.mark(path).file, name)

    def contents(self, file: Path) -> str | None:
        """sha256 of the bytes of `file`; None where it cannot be read, of which whoever needs its rows complains."""
        if file not in self.digests:
            try:
                with open_plain(file) as stream:
                    self.digests[file] = hashlib.file_digest(stream, "sha256").hexdigest()
            except (OSError, EvidenceError, ValueError):
                self.digests[file] = None
        return self.digests[file]

    def trace(self, path: Where, name: str) -> Trace | None:
        """The trace that `name` means, read once; None where it cannot be used: a problem, recorded once."""
        file = self.file(path, name)
        if file not in self._traces:
            try:
                self._traces[file] = read_trace(file)
            except UsageError as error:
                self._traces[file] = None
                self.problem(path, f"cannot be used: {error}")
        return self._traces[file]
