"""Sides of a comparison: folders of one or several sessions, each verified before it is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_bench.cli.judging import is_session, judges_for
from pytest_bench.comparison.sessions import Session, names, read_session
from pytest_bench.comparison.values import Side
from pytest_bench.errors import UsageError
from pytest_bench.verify import verify_session
from pytest_bench.wording import printable


def session_folders(folder: Path) -> list[Path]:
    """The folder itself if it holds a session; otherwise those in it, which must all hold one.

    Raises `UsageError` if there is none, or if a folder in it holds something else.
    """
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: is not a folder; name the results folder of a session, or one of several"
        )
    if is_session(folder):
        return [folder]
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    for path in inside:
        if not is_session(path):
            raise UsageError(f"{path}: holds no results of a session; expected sessions only in {folder}")
    if not inside:
        raise UsageError(f"{folder}: holds no results of a session; name a folder with a plan.json")
    return inside


def read_side(folder: Path, plugins: Sequence[str], refused: list[str]) -> Side:
    """Verify and read the sessions of a side. Reasons why one does not verify are added to `refused`.

    Raises `UsageError` as `session_folders`.
    """
    folders = session_folders(folder)
    sessions = [
        session
        for name, path in zip(names(folders), folders, strict=True)
        if (session := read_verified(name, path, plugins, refused)) is not None
    ]
    sessions.sort(key=lambda session: session.verdict.started or "")
    return Side(names([folder])[0], tuple(sessions))


def read_verified(name: str, folder: Path, plugins: Sequence[str], refused: list[str]) -> Session | None:
    """Verify and read a session; None, with its problems in `refused`, if it does not verify."""
    verified = verify_session(folder, **judges_for(folder, plugins)._asdict())
    refused += (f"{folder}: {printable(problem)}" for problem in verified.problems)
    if not verified.sound:
        return None
    if verified.plan is None:
        refused.append(f"{folder}: has no plan")
        return None
    return read_session(name, folder, verified.verdict, verified.plan)
