"""Problems of suites, collected so that all are reported at once."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pytest_bench.errors import SuiteError
from pytest_bench.wording import did_you_mean


class Mark(NamedTuple):
    """A position in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Problems:
    """Problems of all files, kept in the order of files and positions, each once."""

    def __init__(self) -> None:
        self._found: dict[tuple[Mark | None, str], None] = {}
        self._files: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def add(self, mark: Mark | None, what: str) -> None:
        """Record one problem. `mark` is None for a problem without a position in a file; if it is about an option of
        the command line, `what` begins with the option."""
        if mark is not None:
            self._files.setdefault(mark.file, len(self._files))
        self._found.setdefault((mark, what))

    def error(self) -> SuiteError:
        options = [mark is None and what.startswith("--") for mark, what in self._found]
        places = [*["on the command line"] * any(options), *["in the suites"] * (not all(options))]
        return SuiteError(
            [
                what if mark is None else f"{mark}: {what}"
                for mark, what in sorted(self._found, key=self._position)
            ],
            " and ".join(places),
        )

    def _position(self, problem: tuple[Mark | None, str]) -> tuple[int, int, int]:
        mark, _ = problem
        return (-1, 0, 0) if mark is None else (self._files[mark.file], mark.line, mark.column)


def nearest_file(path: Path) -> str:
    """A hint about the name of a missing file, as the end of a sentence."""
    if not path.parent.is_dir():
        return f"; there is no folder {path.parent}"
    return did_you_mean(path.name, [other.name for other in path.parent.iterdir() if other.is_file()])
