"""Samples of a session's evals as they come, until the evals have ended."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pytest_bench.checkpoints import Line
from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.evals.checkpoint_samples import PointReader
from pytest_bench.evals.sample_sources import eval_points, read_point
from pytest_bench.evals.samples import Sample
from pytest_bench.files import open_plain
from pytest_bench.lines import decode_line
from pytest_bench.results import layout
from pytest_bench.results.evidence import NAME as EVIDENCE
from pytest_bench.results.layout import CHECKPOINT
from pytest_bench.results.lock import is_in_use
from pytest_bench.scoring import SCORINGS, Scorings
from pytest_bench.suite.command_evals import is_command
from pytest_bench.suite.plan import Point

_PAUSE_S = 0.2


def follow(results: Path, scorings: Scorings = SCORINGS) -> Iterator[Sample]:
    """Yield every existing sample, then each new one as its line is written, failures included.

    Ends when every eval has ended, or the session has. Raises `UsageError` if `results` is not a session's folder.
    """
    if not (results / layout.PLAN).exists():
        raise UsageError(f"{results}: is not the results folder of a session, which --follow needs")
    open_points = [_Followed(results, point, scorings) for point in eval_points(results)]
    while open_points:
        is_running = is_in_use(results)  # checked first, so that the session's last lines are read
        found = False
        for followed in open_points.copy():
            for sample in followed.news():
                found = True
                yield sample
            if followed.ended:
                open_points.remove(followed)
        if not is_running:
            return
        if not found:
            time.sleep(_PAUSE_S)


class _Followed:
    """One point of a running session."""

    def __init__(self, results: Path, point: Point, scorings: Scorings) -> None:
        self.ended = False
        self._results, self._point = results, point
        self._folder = results / layout.point_path(point.id)
        self._path = self._folder / CHECKPOINT
        self._reader = PointReader(point, self._folder, scorings)
        self._offset = 0

    def news(self) -> Iterator[Sample]:
        self.ended = (self._folder / EVIDENCE).exists()
        if not is_command(self._point):
            yield from self._new_lines()
        elif self.ended:
            yield from read_point(self._results, self._point)

    def _new_lines(self) -> Iterator[Sample]:
        """Samples of the whole lines since the last call. The lock is the writer's; reading needs none."""
        try:
            stream = open_plain(self._path)
        except FileNotFoundError:
            return
        decode = msgspec.json.Decoder(Line).decode
        with stream:
            # A writer whose disk is full cuts the file back to its last whole line.
            self._offset = min(self._offset, os.fstat(stream.fileno()).st_size)
            stream.seek(self._offset)
            while (data := stream.readline()).endswith(b"\n"):
                try:
                    line = decode(decode_line(data))
                except (EvidenceError, msgspec.MsgspecError) as error:
                    raise EvidenceError(f"{self._path}: byte {self._offset}: {error}") from error
                self._offset += len(data)
                self.ended |= line.kind == "end"
                if line.kind == "session":
                    self.ended = False
                sample = self._reader.read(line)
                if sample is not None:
                    yield sample
