"""`pytest-bench repeat`: run sessions again and again, of one endpoint or of two in turn, and report their spread.

Each session is a `pytest-bench run` with a results folder of its own.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from pytest_bench import clock
from pytest_bench.cli.empty_values import refuse_empty
from pytest_bench.cli.judging import is_session
from pytest_bench.cli.process import end_descendants, start, wait_with_signals
from pytest_bench.cli.sides import read_verified
from pytest_bench.comparison import repeats, text
from pytest_bench.comparison.compare import Wanted, compare
from pytest_bench.comparison.sessions import Session
from pytest_bench.comparison.values import Side
from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.files import write_json
from pytest_bench.metrics.shifts import FIRST_STAGE
from pytest_bench.results.claim import read_verdict
from pytest_bench.results.layout import VERDICT
from pytest_bench.results.reading import read_versioned
from pytest_bench.verdict.verdict import exit_status
from pytest_bench.wording import first_of, printable

SUMMARY = "run sessions repeatedly, of one endpoint or of two in turn, and report how their values spread"
EXAMPLE = f'pytest-bench repeat 12 --precision "{repeats.PRECISION}" -- suites/ --endpoint=http://host:8000'

GREEN, NOT_GOOD, USAGE, NOT_PRECISE, INTERRUPTED = 0, 1, 2, 4, 130
REPEATS_VERSION = 1
NAME = "repeats.json"
_SIDES = ("baseline", "candidate")
_RUN = "from pytest_bench.cli import main; raise SystemExit(main())"
_OURS = ("--results", "--resume", "--junitxml", "--junit-xml")
_WORDS = {0: "green", NOT_GOOD: "not green", USAGE: "refused", INTERRUPTED: "interrupted"}
_SHOWN = 8


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """A session that ended."""

    folder: str
    """Relative to the folder of the repeats."""
    status: int
    """Exit status of `pytest-bench run`."""


class Repeats(msgspec.Struct, frozen=True, kw_only=True):
    """Content of `repeats.json`: what is repeated, and every session that ended."""

    version: int = REPEATS_VERSION
    words: tuple[str, ...]
    """Arguments of pytest, without those that are added for each session."""
    endpoints: tuple[str, ...] = ()
    """Two: of the baseline and of the candidate. None: those that `words` say."""
    sessions: tuple[Ran, ...] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("times", type=int, metavar="N", help="sessions of each endpoint, in all")
    parser.add_argument(
        "--endpoints",
        nargs=2,
        metavar=("BASELINE", "CANDIDATE"),
        help="run sessions of these two endpoints in turn, as pairs whose order alternates",
    )
    parser.add_argument(
        "--precision",
        metavar="PRECISION",
        help="stop before N if the 95%% interval of a metric is narrow enough at every performance point: the metric "
        f"and the half-width, such as {repeats.PRECISION.replace('%', '%%')!r}; with two endpoints, of the difference",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="folder for the sessions; if it holds sessions of the same call, more are added up to N (default: "
        "results/repeats-<UTC time>-<random>)",
    )
    parser.add_argument(
        "pytest",
        nargs="*",
        metavar="-- ARGUMENT",
        help="everything that pytest takes, without a results folder",
    )


def run_words(words: Sequence[str]) -> int:
    """0 if all sessions are green and precise enough; 1 if one is not green or does not verify; 2 if one was refused;
    4 if the precision was not reached; 130 if interrupted."""
    own, for_pytest = _split(words)
    parser = argparse.ArgumentParser(
        prog="pytest-bench repeat", description=f"{SUMMARY}.", epilog=f"example: {EXAMPLE}"
    )
    add_arguments(parser)
    arguments = parser.parse_args(own)
    if arguments.times < 1:
        raise UsageError(f"{arguments.times}: expected 1 or more sessions")
    precision = None if arguments.precision is None else repeats.parse_precision(arguments.precision)
    if precision is not None and arguments.times < FIRST_STAGE:
        raise UsageError(
            f"--precision: an interval needs {FIRST_STAGE} sessions; expected N of {FIRST_STAGE} or more"
        )
    for word in for_pytest:
        option = word.partition("=")[0]
        if option in _OURS or (option == "--endpoint" and arguments.endpoints):
            raise UsageError(f"{word}: `pytest-bench repeat` sets {option} for each session; leave it out")
    name = f"repeats-{clock.utc_now().replace('-', '').replace(':', '')}-{secrets.token_hex(4)}"
    folder = arguments.output or Path("results") / name
    wanted = Repeats(words=tuple(for_pytest), endpoints=tuple(arguments.endpoints or ()))
    ran = _open(folder, wanted)
    ending, ran = _repeat(folder, ran, arguments.times, precision)
    return _report(folder, ran, precision, ending)


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    at = list(words).index("--") if "--" in words else len(words)
    refuse_empty(words[:at])
    if at == len(words):
        raise UsageError(f"no suites: expected the arguments of pytest after `--`, as in {EXAMPLE}")
    return list(words[:at]), list(words[at + 1 :])


def _open(folder: Path, wanted: Repeats) -> Repeats:
    """The sessions in the folder so far. Raises `UsageError` if it holds anything but repeats of the same call, and if
    a session was removed: those that are left would be a choice."""
    path = folder / NAME
    if path.exists():
        before = read_versioned(path, Repeats, REPEATS_VERSION)
        if (before.words, before.endpoints) != (wanted.words, wanted.endpoints):
            raise UsageError(
                f"{folder}: holds repeats of another call ({' '.join((*before.endpoints, *before.words))}); "
                "name a new folder"
            )
        missing = [one for one in before.sessions if not (folder / one.folder).is_dir()]
        for one in missing:
            if one.status not in {USAGE, INTERRUPTED}:  # these may have left nothing
                raise UsageError(
                    f"{folder / one.folder}: was removed, and the sessions that are left would be a choice; name a new "
                    "folder"
                )
        known = [one for one in before.sessions if one not in missing]
        return msgspec.structs.replace(before, sessions=(*known, *_unrecorded(folder, before)))
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder}: is not empty, and holds no {NAME}; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, wanted)
    return wanted


def _unrecorded(folder: Path, before: Repeats) -> Iterator[Ran]:
    """Sessions that ran when this command was killed, with the verdict that they left."""
    recorded = {one.folder for one in before.sessions}
    for side in _SIDES if before.endpoints else ("",):
        for path in sorted((folder / side).glob("[0-9]*")):
            name = path.relative_to(folder).as_posix()
            if name not in recorded and path.is_dir():
                try:
                    is_green = exit_status(read_verdict(path / VERDICT)) == 0
                except EvidenceError:
                    is_green = False
                yield Ran(folder=name, status=GREEN if is_green else NOT_GOOD)


Ending = Literal["all", "precise", "refused", "interrupted"]


def _repeat(
    folder: Path, ran: Repeats, times: int, precision: repeats.Precision | None
) -> tuple[Ending, Repeats]:
    """Run sessions until there are `times` of each side, or until they are precise enough."""
    sides = _SIDES if ran.endpoints else ("",)
    known: dict[Path, Session | None] = {}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    while True:
        counts = [_count(ran, side) for side in sides]
        if min(counts) == max(counts) and precision is not None and min(counts) >= FIRST_STAGE:
            width = repeats.widest([_sessions(folder, side, known, []) for side in sides], precision)
            if width is not None and width <= precision.half_width:
                return "precise", ran
        if min(counts) >= times:
            return "all", ran
        side = _next(counts)
        name = _free_name(folder, sides[side])
        endpoint = (f"--endpoint={ran.endpoints[side]}",) if ran.endpoints else ()
        print(f"session {sum(counts) + 1} of at most {times * len(sides)}: {folder / name}", flush=True)
        command = [sys.executable, "-c", _RUN, "run", "--", *ran.words, *endpoint]
        child = start([*command, f"--results={folder / name}"], mask=mask)
        status, ended = wait_with_signals(child)
        end_descendants()
        ran = msgspec.structs.replace(ran, sessions=(*ran.sessions, Ran(folder=name, status=status)))
        write_json(folder / NAME, ran)
        if ended or status == INTERRUPTED:
            return "interrupted", ran
        if status == USAGE:
            return "refused", ran


def _count(ran: Repeats, side: str) -> int:
    return sum(_side_of(one) == side for one in ran.sessions)


def _side_of(ran: Ran) -> str:
    return ran.folder.rpartition("/")[0]


def _next(counts: Sequence[int]) -> int:
    """Whose turn it is: the side that lags behind; otherwise the baseline begins every other pair."""
    if len(counts) == 1 or counts[0] < counts[1]:
        return 0
    if counts[1] < counts[0]:
        return 1
    return counts[0] % 2


def _free_name(folder: Path, side: str) -> str:
    """The folder of the next session, relative to that of the repeats."""
    inside = folder / side
    inside.mkdir(exist_ok=True)
    numbers = [int(path.name) for path in inside.iterdir() if path.name.isdecimal()]
    name = f"{max(numbers, default=0) + 1:02}"
    return f"{side}/{name}" if side else name


def _sessions(
    folder: Path, side: str, known: dict[Path, Session | None], refused: list[str]
) -> list[Session]:
    """The sessions of a side that verify, in the order of time. What a session without a plan left is not read."""
    paths = [path for path in sorted((folder / side).glob("[0-9]*")) if path.is_dir() and is_session(path)]
    for path in paths:
        if path not in known:
            known[path] = read_verified(path.name, path, (), refused)
    found = [session for path in paths if (session := known[path]) is not None]
    return sorted(found, key=lambda session: session.verdict.started or "")


def _report(folder: Path, ran: Repeats, precision: repeats.Precision | None, ending: Ending) -> int:
    """Print what there is, and the verdict. Returns the exit status."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    refused: list[str] = []
    known: dict[Path, Session | None] = {}
    names = _SIDES if ran.endpoints else ("",)
    sides = [Side(name or folder.name, tuple(_sessions(folder, name, known, refused))) for name in names]
    for side in sides:
        found = list(repeats.spreads(side.sessions))
        if found and ran.endpoints:
            print(f"\n{side.name}")
        print("\n".join(repeats.spread_lines(found, text.WIDTH)))
    wrong = [f"does not verify: {line}" for line in refused]
    if ran.endpoints and len(sides[0].sessions) == len(sides[1].sessions) > 0:
        wrong += _compare(folder, sides[0], sides[1])
    for line in wrong:
        print(f"error: {printable(line)}", file=sys.stderr)
    red = bool(wrong) or any(one.status for one in ran.sessions)
    imprecise = precision is not None and ending != "precise"
    good = not (red or imprecise or ending == "interrupted")
    print(f"verdict: {'pass' if good else 'not good'} - {printable(_verdict(ran, precision, ending, wrong))}")
    print(f"evidence: {folder}")
    status = {"interrupted": INTERRUPTED, "refused": USAGE}.get(ending)
    return status or (NOT_GOOD if red else NOT_PRECISE if imprecise else GREEN)


def _compare(folder: Path, baseline: Side, candidate: Side) -> tuple[str, ...]:
    """Print the differences of two sides; what could not be compared."""
    with tempfile.TemporaryDirectory() as scratch:
        compared = compare(baseline, candidate, Wanted(), Path(scratch))
    print(text.plain_text(compared, text.changed(baseline, candidate)))
    print(
        f"to judge them: pytest-bench compare {folder / baseline.name} {folder / candidate.name} --fail-on ..."
    )
    return compared.problems


def _verdict(ran: Repeats, precision: repeats.Precision | None, ending: Ending, wrong: Sequence[str]) -> str:
    """How many sessions are green, those that are not, and whether the precision was reached."""
    count = len(ran.sessions)
    red = [
        f"{one.folder} ({_WORDS.get(one.status, f'exit status {one.status}')})"
        for one in ran.sessions
        if one.status
    ]
    sentence = f"all {count} sessions are green"
    if red:
        sentence = f"{len(red)} of {count} sessions are not green: {first_of(red, _SHOWN)}"
    elif wrong:
        sentence += ", but not all could be read or compared"
    if ending == "interrupted":
        sentence = f"interrupted; {sentence}"
    if precision is not None:
        reached = "reached" if ending == "precise" else "not reached"
        sentence += f"; the precision {precision.text} was {reached}"
    return sentence
