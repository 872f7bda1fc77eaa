"""`withheld.json`: no further point may run on a deployment, because an audit on it could not be completed.

The file is written before the audit begins and removed when the audit has ended `pass` or `fail`, so that a process
that replaces a crashed one also finds it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from pytest_bench.errors import BenchError
from pytest_bench.files import write_json
from pytest_bench.results.reading import read_versioned

WITHHELD_VERSION = 1
NAME = "withheld.json"


class WithheldFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of `withheld.json`."""

    version: int = WITHHELD_VERSION
    nonce: str
    """Nonce of the session."""
    audit: str
    """Point id of the audit."""
    because: str


class PointWithheld(BenchError):
    """The point is not run, because an earlier audit on its deployment could not be completed."""

    code = "withheld"


def audit_begins(folder: Path, audit: str, nonce: str) -> None:
    """Withhold later points until `audit` has ended. `folder` is the deployment's folder in the results."""
    _write(folder, WithheldFile(nonce=nonce, audit=audit, because="did not finish"))


def audit_ends(folder: Path, audit: str, nonce: str, problem: str | None) -> None:
    """Allow later points to run, or record the `problem` if the audit could not be judged."""
    if problem is None:
        (folder / NAME).unlink(missing_ok=True)
    else:
        _write(folder, WithheldFile(nonce=nonce, audit=audit, because=f"could not be judged: {problem}"))


def require_not_withheld(folder: Path) -> None:
    """Raises `PointWithheld` if an audit on this deployment has not ended `pass` or `fail`."""
    if (folder / NAME).exists():
        withheld = read_withheld(folder)
        raise PointWithheld(
            f"not run: the audit {withheld.audit} on the same deployment {withheld.because}; "
            "measurements of a system that may cheat or be broken are worthless; resolve the audit's problem first"
        )


def read_withheld(folder: Path) -> WithheldFile:
    """Read the file. Raises `EvidenceError`."""
    return read_versioned(folder / NAME, WithheldFile, WITHHELD_VERSION)


def _write(folder: Path, file: WithheldFile) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / NAME, file)
