"""Which session each file of a point belongs to.

A file that this project writes has the session's nonce: a JSON file in its field `nonce`, a log in its header, a
checkpoint in the line of each session. A file whose bytes are a server's or another tool's cannot have it. The point's
summary, which has the nonce, lists the sha256 of such a file. So a file of another session is detected even if the list
of files in `evidence.json` was made anew.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import msgspec

from pytest_bench.checkpoints import read_checkpoint
from pytest_bench.errors import EvidenceError
from pytest_bench.files import LARGEST_JSON, file_digest, open_plain, read_plain
from pytest_bench.lines import decode_line
from pytest_bench.results import evidence
from pytest_bench.results.event_log import nonce_of
from pytest_bench.results.layout import CHECKPOINT, SESSIONS
from pytest_bench.results.summary import Summary
from pytest_bench.wording import first_of, shown_name

_PHASE = r"(?P<phase>phases/[^/]+/)"
_JSON = re.compile(
    rf"(point|summary|evidence|baselines|artifacts|nodes|nodes/[0-9]+/status|server_log(\.[^/]+)?|{_PHASE}phase)\.json",
    re.ASCII | re.DOTALL,
)
_LOG = re.compile(
    rf"(rows|few_shots|{_PHASE}?(tokens|(requests|texts|raw|metrics)\.[0-9]+))\.jsonl", re.ASCII | re.DOTALL
)
_LONGEST_HEADER = 1 << 20
_SHOWN = 3


def foreign_files(folder: Path) -> dict[str, str]:
    """The sha256 of each file of a point that does not have the nonce, by its path in the point's folder."""
    found = evidence.walk(folder, "", [])
    return {name: file_digest(folder / name) for name, _ in found if not _has_nonce(name)}


def of_other_sessions(
    folder: Path, summary: Summary, *, sessions: Collection[str], phases: Mapping[str, str]
) -> Iterator[str]:
    """Yield a sentence for each file in the point's folder that is of another session than its summary.

    `sessions`: the nonces of this session and of those before it in the same results folder, of which a checkpoint may
    be. `phases`: the nonce of each phase that another session than the summary's may have driven, by label.
    """
    foreign: dict[str, str] = {}
    for name, size in evidence.walk(folder, "", []):
        if name == CHECKPOINT:
            yield from _checkpoint(folder / name, sessions)
        elif not _has_nonce(name):
            foreign[name] = file_digest(folder / name)
        elif size:  # a killed writer may leave an empty log, which is of no session
            wanted = phases.get(_phase(name), summary.nonce)
            found = _nonce_in(folder, name)
            if found != wanted:
                yield f"{shown_name(name)}: is of session {shown_name(str(found))}; expected {wanted}"
    if foreign != summary.foreign_files:
        names = foreign.keys() | summary.foreign_files.keys()
        differ = sorted(name for name in names if foreign.get(name) != summary.foreign_files.get(name))
        yield (
            f"summary.json: foreign_files: states another sha256 than the file has: "
            f"{first_of([shown_name(name) for name in differ], _SHOWN)}: it is not the file of this session"
        )


def known_sessions(results: Path, nonce: str) -> frozenset[str]:
    """The nonces of the session `nonce` and of the earlier ones of a results folder that was resumed."""
    known = {nonce}
    try:
        folders = sorted((results / SESSIONS).iterdir())
    except OSError:
        return frozenset(known)
    for folder in folders:
        try:
            earlier = nonce_of(folder)
        except EvidenceError:
            continue
        if folder.name == earlier:
            known.add(earlier)
    return frozenset(known)


def _has_nonce(name: str) -> bool:
    return name == CHECKPOINT or bool(_JSON.fullmatch(name) or _LOG.fullmatch(name))


def _phase(name: str) -> str:
    match = _JSON.fullmatch(name) or _LOG.fullmatch(name)
    return (match["phase"] or "").removeprefix("phases/").rstrip("/") if match else ""


def _checkpoint(path: Path, sessions: Collection[str]) -> Iterator[str]:
    for number, session in enumerate(read_checkpoint(path).sessions, start=1):
        if session.nonce not in sessions:
            yield (
                f"{path.name}: its session {number} is {shown_name(session.nonce)}, which is neither this session nor "
                f"one before it in this results folder ({SESSIONS}/)"
            )


class _Marked(msgspec.Struct, frozen=True):
    nonce: str


def _nonce_in(folder: Path, name: str) -> str | None:
    """The nonce that a file has; None if it has none, or if its header is damaged. Raises `OSError`."""
    path = folder / name
    try:
        if name.endswith(".json"):
            data = read_plain(path, LARGEST_JSON)
        else:
            with open_plain(path) as stream:
                data = decode_line(stream.readline(_LONGEST_HEADER))
        return msgspec.json.decode(data, type=_Marked).nonce
    except (EvidenceError, msgspec.MsgspecError):
        return None
