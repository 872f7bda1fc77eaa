"""The module that `cluster/preflight.py` runs on every node of an allocation. It reads, and changes nothing.

It answers a request on standard input with a report, and every further line with the time of its clock.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import msgspec

from pytest_bench.cluster.preflight import ClockReading, Report, Request
from pytest_bench.containers.engine import connect
from pytest_bench.containers.gpus import requested
from pytest_bench.errors import BenchError, EvidenceError
from pytest_bench.host import gpu_names
from pytest_bench.results.event_log import nonce_of

_DISTRIBUTIONS = ("pytest-inference-bench", "pytest", "pytest-xdist", "execnet")


def versions() -> dict[str, str]:
    """Versions of this process that must be equal on all nodes."""
    return {"Python": platform.python_version(), **{name: version(name) for name in _DISTRIBUTIONS}}


def report(request: Request, environ: Mapping[str, str]) -> Report:
    """Answer a request about this node."""
    return Report(
        host=platform.node(),
        versions=versions(),
        has_folder=Path(request.folder).is_dir(),
        results_problem=_results_problem(request),
        free_bytes={
            folder: shutil.disk_usage(folder).free
            for folder in dict.fromkeys((request.results, tempfile.gettempdir()))
            if Path(folder).is_dir()
        },
        gpus=gpu_names(),
        problems=tuple(_problems(request, environ)),
    )


def _results_problem(request: Request) -> str | None:
    try:
        found = nonce_of(Path(request.results))
    except EvidenceError as error:
        return str(error)
    return None if found == request.nonce else f"it belongs to session {found}, not to {request.nonce}"


def _problems(request: Request, environ: Mapping[str, str]) -> Iterator[str]:
    if request.needs_docker:
        try:
            with connect(environ):
                pass
        except BenchError as error:
            yield str(error)
    for origin, asked in request.gpus.items():
        try:
            requested(asked, environ)
        except BenchError as error:
            yield f"{origin}: {error}"


def main() -> None:
    request = msgspec.json.decode(sys.stdin.readline(), type=Request)
    _write(request, report(request, os.environ))
    for _ in iter(sys.stdin.readline, ""):
        _write(request, ClockReading(realtime_ns=time.time_ns()))


def _write(request: Request, answer: Report | ClockReading) -> None:
    sys.stdout.write(f"{request.token} {msgspec.json.encode(answer).decode()}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
