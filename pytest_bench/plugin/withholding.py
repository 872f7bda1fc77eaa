"""After an audit that could not be carried out, later points on its deployment do not run.

Kept as a file, so that a process that stands in for one that died knows it too: the file is there from
before the audit until the audit has ended `pass` or `fail`.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from pytest_bench.errors import BenchError
from pytest_bench.files import read_json, write_json
from pytest_bench.suite.plan import Point
from pytest_bench.verdict.record import WITHHELD as NAME
from pytest_bench.verdict.record import WithheldFile


class PointWithheld(BenchError):
    """The point is not run, because of what happened before it on its deployment."""

    code = "withheld"


def audit_begins(folder: Path, audit: Point, nonce: str) -> None:
    """Withhold what follows until `audit` has ended. `folder` is the deployment's own in the results."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / NAME, WithheldFile(nonce=nonce, audit=audit.id, because="did not come to its end"))


def audit_ends(folder: Path, audit: Point, nonce: str, problem: str | None) -> None:
    """Let what follows run; or, where the audit could not be judged, say why it does not."""
    if problem is None:
        (folder / NAME).unlink(missing_ok=True)
    else:
        folder.mkdir(parents=True, exist_ok=True)  # a hook of others' may have kept it from beginning
        because = f"could not be judged: {problem}"
        write_json(folder / NAME, WithheldFile(nonce=nonce, audit=audit.id, because=because))


def require_not_withheld(folder: Path) -> None:
    """Raises `PointWithheld` where an audit on this deployment has not ended `pass` or `fail`."""
    path = folder / NAME
    if path.exists():
        withheld = msgspec.convert(read_json(path), WithheldFile)
        raise PointWithheld(
            f"not run: the audit {withheld.audit} on the same deployment {withheld.because}; "
            "what is measured on a system that may be cheating, or broken, says nothing"
        )
