"""`withheld.json`: nothing more may run on a deployment, because an audit on it could not be carried out.

The file is written before the audit begins and removed when the audit has ended `pass` or `fail`, so that a process
that replaces one that died knows it too.
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
    """What `withheld.json` holds."""

    version: int = WITHHELD_VERSION
    nonce: str
    """Of the session."""
    audit: str
    """Id of the audit."""
    because: str


class PointWithheld(BenchError):
    """The point is not run, because of what happened before it on its deployment."""

    code = "withheld"


def audit_begins(folder: Path, audit: str, nonce: str) -> None:
    """Withhold later points until `audit` has ended. `folder` is the deployment's own in the results."""
    _write(folder, WithheldFile(nonce=nonce, audit=audit, because="did not come to its end"))


def audit_ends(folder: Path, audit: str, nonce: str, problem: str | None) -> None:
    """Let later points run; or, if the audit could not be judged, record the `problem`."""
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
            "measurements of a system that may be cheating or broken mean nothing"
        )


def read_withheld(folder: Path) -> WithheldFile:
    """Raises `EvidenceError`."""
    return read_versioned(folder / NAME, WithheldFile, WITHHELD_VERSION)


def _write(folder: Path, file: WithheldFile) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / NAME, file)
