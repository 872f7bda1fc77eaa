"""The errors that rooms share, as one tree.

    BenchError
    ├── UsageError             wrong input; nothing has been started
    │   ├── SuiteError         YAML: every problem of every file at once, each with file:line:column
    │   └── DatasetError       a dataset or one of its rows; names file and line
    ├── EndpointError          the deployment is not reachable, or is not what the suite declares
    ├── LoadError              a phase could not be driven to its end
    │   └── WorkerDied         a load worker ended, or stopped answering, before its phase was over
    ├── TokensError            a tokenizer could not be loaded, or texts could not be counted
    ├── EvidenceError          a file of the results folder is missing, damaged or contradicts another
    └── NotMet                 measured, but a bound is violated

An error that only one room raises is defined there, as a subclass of `BenchError`.
A message says what is wrong, where, what was expected, and what to do next.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class BenchError(Exception):
    """Root of the tree. `code` is stable: verdicts contain it for machines to read."""

    code = "error"


class UsageError(BenchError):
    code = "usage"


class SuiteError(UsageError):
    """One or more problems found at `where`. `problems` holds one line each, in file order."""

    code = "suite"

    def __init__(self, problems: list[str], where: str = "in the suites") -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"{count} problem{'' if count == 1 else 's'} {where}:"
        super().__init__("\n".join([head, *(f"  {problem}" for problem in self.problems)]))


class DatasetError(UsageError):
    code = "dataset"


class EndpointError(BenchError):
    code = "endpoint"


class LoadError(BenchError):
    code = "load"


class WorkerDied(LoadError):
    code = "worker-died"


class TokensError(BenchError):
    code = "tokens"


class EvidenceError(BenchError):
    code = "evidence"


class NotMet(BenchError):
    code = "not-met"


@contextmanager
def makes_sense(what: object) -> Iterator[None]:
    """Convert what arithmetic on evidence raises into `EvidenceError`.

    Every value may have the right type, and all of them together may still be inconsistent. `what` names the file
    or folder that holds them.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise EvidenceError(
            f"{what}: the evidence is inconsistent: {type(error).__name__}: {error}"
        ) from error
