"""The results folder and the JUnit file: claimed by this session, and red until it has ended well."""

from __future__ import annotations

import contextlib
import fcntl
import os
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_bench import host
from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.files import write_json
from pytest_bench.plugin import junit
from pytest_bench.plugin.options import junit_path
from pytest_bench.suite.plan_file import NAME as PLAN
from pytest_bench.suite.plan_file import read_plan, write_plan
from pytest_bench.verdict.kept import kept_names, way_back
from pytest_bench.verdict.outcome import Reason
from pytest_bench.verdict.record import LOCK
from pytest_bench.verdict.record import NAME as LEDGER
from pytest_bench.verdict.verdict import born_red, read_verdict, refusal, write_verdict

if TYPE_CHECKING:
    from pytest_bench.plugin.session import Session

VERDICT = "verdict.json"
ENVIRONMENT = "environment.json"
JUNIT = "junit.xml"
LATEST = "latest"

_HELD = pytest.StashKey[int]()

_RESERVE = ".reserve"
_OURS = frozenset({PLAN, VERDICT, LEDGER, ENVIRONMENT, LOCK, _RESERVE, "points", "deployments", "recounts"})
"""What a results folder holds: no names for a JUnit file."""
_RESERVED_BYTES = 256 << 10
_RESERVED_BYTES_A_POINT = 32 << 10
"""Ample for a ledger, a verdict, and pytest's JUnit file beside ours."""


def path_of(config: pytest.Config, nonce: str) -> Path:
    """Where this call's evidence lands; absolute."""
    here = config.invocation_params.dir
    if config.option.results:
        return Path(here, config.option.results).absolute()
    return here / "results" / f"{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}-{nonce[:8]}"


def versions() -> dict[str, str]:
    """What measured and judged: for the verdict."""
    return {
        name: version(name)
        for name in ("pytest-inference-bench", "pytest", "pytest-xdist", "tokenizers", "fastokens")
    }


def claim(config: pytest.Config, session: Session) -> None:
    """Make the results folder ours, and red, and the JUnit file too.

    Raises `UsageError` for a used folder, one that another session has just claimed, and one that cannot be
    written.
    """
    results = session.results
    names = tuple(point.id for point in session.plan.points)
    if _is_misplaced(config, results):
        raise UsageError(
            f"--junitxml: {config.option.xmlpath} is a name that the results folder itself uses; name {JUNIT}"
        )
    try:
        _require_unused(config, results)
        results.mkdir(parents=True, exist_ok=True)
        if not _hold(config, results):
            raise UsageError(
                f"--results: {results} is in use by a session that is running; name a new folder"
            )
        _require_unused(config, results)  # by one that has ended since
        (results / JUNIT).unlink(missing_ok=True)  # a refused call's
        write_plan(results, session.plan, session.nonce)
        expectation = session.expectation
        write_verdict(
            results / VERDICT,
            born_red(
                nonce=session.nonce,
                point_ids=names,
                plan_digest=session.plan.digest(),
                expectation_digest=expectation.digest if expectation else None,
                complete_required=config.option.complete,
                versions=versions(),
                invocation=session.invocation,
                started=session.started,
            ),
        )
        write_json(results / ENVIRONMENT, host.environment(config.invocation_params.dir, session.nonce))
        if config.option.xmlpath is None:
            config.option.xmlpath = str(results / JUNIT)
        (results / LOCK).write_text(str(junit_path(config)), encoding="utf-8")
        _reserve_space(results, _RESERVED_BYTES + _RESERVED_BYTES_A_POINT * len(names))
    except OSError as error:
        raise UsageError(
            f"--results: {error.filename or results}: {error.strerror}; name a folder that can be written, "
            "with room for a verdict"
        ) from error
    try:
        path = junit_path(config)
        path.parent.mkdir(parents=True, exist_ok=True)
        junit.write_red(path, names, "the session has not ended")
        if not config.option.results:
            _point_latest(results)
    except OSError as error:
        raise UsageError(f"--junitxml: {error.filename}: {error.strerror}; name another file") from error


def _is_misplaced(config: pytest.Config, results: Path) -> bool:
    """Whether the JUnit file would take the place of something else in the results folder."""
    if getattr(config.option, "xmlpath", None) is None:
        return False
    path, results = junit_path(config), Path(os.path.normpath(results))
    return path.is_relative_to(results) and not _OURS.isdisjoint(path.relative_to(results).parts[:1])


def _require_unused(config: pytest.Config, results: Path) -> None:
    """What a refused call has left is no use: the call that was meant may take its place."""
    if not results.exists():
        return
    if results.is_dir():
        names = {path.name for path in results.iterdir()} - {LOCK}
        own = {junit_path(config).name} if config.option.xmlpath is not None else set[str]()
        if not names or (names <= {VERDICT, JUNIT, *own} and _is_refusal(results / VERDICT)):
            return
    raise UsageError(
        f"--results: {results} holds something already; name a new folder, or leave --results out"
    )


def _is_refusal(verdict: Path) -> bool:
    try:
        return read_verdict(verdict).refused
    except EvidenceError:
        return False


def told_of_kept(config: pytest.Config) -> str:
    """A line on how to have back what a refusal of this call set aside; empty where it set nothing aside."""
    if not config.option.results:
        return ""
    results = Path(config.option.results)
    try:
        told = way_back(results, read_plan(config.invocation_params.dir / results).nonce)
    except EvidenceError:
        told = None
    return f"\n{told}" if told else ""


def _hold(config: pytest.Config, results: Path) -> bool:
    """Keep other sessions out of `results` until this one has ended; False where one is in there."""
    if _HELD in config.stash:
        return True
    path = results / LOCK
    held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its session may have taken it away since it was opened: others would lock another file.
        ours = os.path.samestat(path.lstat(), os.fstat(held))
    except (BlockingIOError, FileNotFoundError):
        ours = False
    if not ours:
        os.close(held)
        return False
    config.stash[_HELD] = held
    config.add_cleanup(lambda: _let_go(path, held))
    return True


def _let_go(path: Path, held: int) -> None:
    with contextlib.suppress(OSError):
        path.unlink()  # while it is still held: whoever has opened it since finds out
    os.close(held)


def _reserve_space(results: Path, size_bytes: int) -> None:
    """Keep room for the verdict: should evidence fill the disk, there is still some to say so."""
    try:
        with (results / _RESERVE).open("xb") as stream:
            os.posix_fallocate(stream.fileno(), 0, size_bytes)
    except OSError:
        release_space(results)
        raise


def release_space(results: Path) -> None:
    """Free what was kept for the verdict, which is about to be written."""
    (results / _RESERVE).unlink(missing_ok=True)


def leave_red(config: pytest.Config, nonce: str, why: str, *, begun: bool = True) -> None:
    """After a refusal: whatever earlier files this call was to replace no longer look good.

    An earlier verdict and JUnit file are kept beside the new ones. What cannot be written is left alone: the
    exit status says it all. Only a call that had `begun` to open a session makes a results folder.
    """
    _leave_junit_red(config, nonce, why)
    results = path_of(config, nonce)
    named = bool(config.option.results)
    stale = (results if named else results.parent / LATEST) / VERDICT
    if stale.exists() or (begun and named and not results.exists()):
        _leave_verdict_red(config, nonce, why)


def leave_named_red(config: pytest.Config, nonce: str, why: str) -> None:
    """Before anything else: as `leave_red`, but for files alone that are there by the names that the call gives."""
    if getattr(config.option, "xmlpath", None) is not None and junit_path(config).exists():
        _leave_junit_red(config, nonce, why)
    if config.option.results and (path_of(config, nonce) / VERDICT).exists():
        _leave_verdict_red(config, nonce, why)


def _leave_junit_red(config: pytest.Config, nonce: str, why: str) -> None:
    results = path_of(config, nonce)
    # pytest's JUnit plugin may be off.
    if getattr(config.option, "xmlpath", None) is None or _is_misplaced(config, results):
        return
    path = junit_path(config)
    with contextlib.suppress(OSError):
        own = not (results / LOCK).exists() or _hold(config, results)
        if own or (results / LOCK).read_text(encoding="utf-8") != str(path):
            junit.write_red(path, (), why)


def _leave_verdict_red(config: pytest.Config, nonce: str, why: str) -> None:
    results = path_of(config, nonce)
    verdict = refusal(
        nonce=nonce,
        reasons=(Reason("refused", why),),
        invocation=tuple(map(str, config.invocation_params.args)),
    )
    with contextlib.suppress(OSError):
        results.mkdir(parents=True, exist_ok=True)
        if not _hold(config, results):  # the files of a session that is running are its own
            return
        if config.option.results:
            _set_aside(results, nonce)
        else:
            _point_latest(results)
        write_verdict(results / VERDICT, verdict)
        junit.write_red(results / JUNIT, (), why)


def _set_aside(results: Path, nonce: str) -> None:
    """Keep the verdict and the JUnit file of an earlier session, if there are any, under other names.

    Those of a call that was refused, this one or another, say nothing that is worth keeping.
    """
    if not (results / VERDICT).exists() or _is_refusal(results / VERDICT):
        return
    try:
        old = read_verdict(results / VERDICT).nonce
    except EvidenceError:
        old = f"unreadable-{nonce}"
    if old == nonce:  # this call's own: it was refused after it had begun to write
        return
    for name, aside in kept_names(old).items():
        if (results / name).exists():
            (results / name).rename(results / aside)


def _point_latest(results: Path) -> None:
    """Let `results/latest` point at this session. A link that appears whole or not at all."""
    temporary = results.parent / f".{LATEST}.{results.name}"
    temporary.symlink_to(results.name, target_is_directory=True)
    temporary.replace(results.parent / LATEST)
