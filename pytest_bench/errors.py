"""Every error this package raises on purpose, as one tree.

    BenchError
    ├── UsageError             the user's input is wrong; nothing has been started
    │   ├── SuiteError         YAML: every problem of every file at once, each with file:line:column
    │   └── DatasetError       a dataset row or file: names file and line
    ├── EndpointError          the deployment is not there, or is not what the suite says
    ├── LoadError              a phase could not be driven to its end
    │   ├── WorkerDied         a load worker ended, or stopped answering, before its phase did
    │   └── ClientBound        the client was the bottleneck: its numbers are not the server's
    ├── Interrupted            Ctrl-C or SIGTERM: what is complete was kept
    ├── TokensError            a tokenizer could not be loaded, or texts could not be counted
    ├── EvidenceError          a file of the results folder is missing, damaged or contradicts another
    └── NotMet                 measured, and not good enough: a bound is violated

A message says what was wrong, where, what was expected, and what to do next.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class BenchError(Exception):
    """Root of the tree. `code` is stable: it goes into verdicts, where machines read it."""

    code = "error"


class UsageError(BenchError):
    code = "usage"


class SuiteError(UsageError):
    """One or more problems in suite files, or `where` they are. `problems` holds one line each, in file order."""

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


class ClientBound(LoadError):
    code = "client-bound"


class Interrupted(BenchError):
    code = "interrupted"


class TokensError(BenchError):
    code = "tokens"


class EvidenceError(BenchError):
    code = "evidence"


class NotMet(BenchError):
    code = "not-met"


@contextmanager
def makes_sense(what: object) -> Iterator[None]:
    """Turns what arithmetic on evidence raises into an `EvidenceError`: each value may be of the right type, and
    all of them together mean nothing. `what` is where they stand."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise EvidenceError(
            f"{what}: cannot be worked out from what the files say: {type(error).__name__}: {error}"
        ) from error
