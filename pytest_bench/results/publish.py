"""Writes the verdict and the JUnit file: red ones from the start, and the final ones together with the last event."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from pytest_bench.files import write_atomic, write_json
from pytest_bench.results import junit, layout
from pytest_bench.results.event_log import EventLog
from pytest_bench.results.settle import Settled, settle
from pytest_bench.verdict.events import Ended, Fault
from pytest_bench.verdict.outcome import Reason


def write_verdict(results: Path) -> None:
    """Settle a results folder, and write its JUnit file and its verdict.

    Both are red as long as the last event is missing. Raises `OSError`.
    """
    settled = settle(results)
    write_atomic(results / settled.called.junit, settled.junit)
    write_json(results / layout.VERDICT, settled.verdict)


def end_session(results: Path, log: EventLog, ended: Ended, preview: Settled | None = None) -> Settled:
    """Append the last event to `log`, settle, and write verdict and JUnit file.

    If a file cannot be written the verdict is red, and the other files say so. `preview` is the session as it was
    settled just before, if it was: its evidence is not checked again.
    """
    release_space(results)
    log.flush()
    if log.problem is not None:
        log.append(_unwritten(log.problem, results))
    settled = preview or settle(results, pending={log.process: ended})
    path = results / settled.called.junit
    try:
        _require_room(path, settled.junit)
    except OSError as error:
        log.append(_unwritten(error, path))
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)  # frees space for a shorter one
    log.append(ended)
    settled = settle(results, evidence=settled.evidence)
    for rendered in (settled.junit, junit.render(msgspec.structs.replace(settled.verdict, points=()))):
        try:
            write_atomic(path, rendered)
            break
        except OSError:
            continue
    try:
        write_json(results / layout.VERDICT, settled.verdict)
    except OSError as error:  # the red verdict from the start remains
        fault = _unwritten(error, results)
        return settled._replace(
            verdict=msgspec.structs.replace(
                settled.verdict,
                status="error",
                faults=(*settled.verdict.faults, Reason(fault.code, fault.sentence)),
            )
        )
    return settled


def _require_room(path: Path, data: bytes) -> None:
    """Raises `OSError` if there is no space for `data`. `path` itself stays red until the last event is logged."""
    probe = path.with_name(f".{path.name}.probe")
    try:
        probe.write_bytes(data)
    finally:
        probe.unlink(missing_ok=True)


def release_space(results: Path) -> None:
    """Release the space reserved for the verdict."""
    with contextlib.suppress(OSError):
        (results / layout.RESERVE).unlink(missing_ok=True)


def _unwritten(error: OSError, path: Path) -> Fault:
    sentence = f"{error.filename or path}: cannot be written: {error.strerror or error}"
    return Fault(code="unwritten", sentence=sentence)
