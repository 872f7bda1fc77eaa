"""Merge the fragments that a suite includes. No key may be given twice."""

from __future__ import annotations

import hashlib
import os.path
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_bench.errors import EvidenceError
from pytest_bench.files import read_plain
from pytest_bench.suite.discovery import LARGEST_SUITE
from pytest_bench.suite.document import Document, read_document
from pytest_bench.suite.document import Path as Where
from pytest_bench.suite.problems import Mark, Problems

KEY = "include"


class Reader:
    """Reads suite files and records their digests."""

    def __init__(self, root: Path, environ: Mapping[str, str], problems: Problems) -> None:
        self.digests: dict[str, str] = {}
        """sha256 of each file read, by the name that messages show."""
        self._root = root
        self._environ = environ
        self._problems = problems

    def shown(self, path: Path) -> str:
        """`path` as messages and evidence show it: relative to the working folder if it is inside."""
        return path.relative_to(self._root).as_posix() if path.is_relative_to(self._root) else path.as_posix()

    def read(self, path: Path, wanted_by: Mark | None = None) -> Document | None:
        """The document at `path`. Records a problem and returns None if it cannot be read."""
        name = self.shown(path)
        try:
            data = read_plain(path, LARGEST_SUITE)
        except EvidenceError as error:
            self._problems.add(wanted_by, str(error))
            return None
        except OSError as error:
            self._problems.add(wanted_by, f"{name} cannot be read: {error.strerror or error}")
            return None
        except ValueError as error:
            self._problems.add(wanted_by, f"{name!r} is not a file name: {error}")
            return None
        self.digests[name] = hashlib.sha256(data).hexdigest()
        return read_document(data, name, self._environ, self._problems)

    def read_suite(self, path: Path) -> Document | None:
        """The document at `path`, merged with the fragments that it includes."""
        suite = self.read(path)
        if suite is None or not isinstance(suite.value, dict):
            return suite
        included = suite.value.get(KEY)
        if not isinstance(included, list):
            return suite
        for position, name in enumerate(included):
            if not isinstance(name, str) or not name:
                continue  # the schema reports it
            mark = suite.mark((KEY, position))
            fragment = self.read(beside(path, name), mark)
            if fragment is None:
                continue
            if not isinstance(fragment.value, dict):
                self._problems.add(fragment.mark(()), "a fragment must be a mapping, as a suite is")
            elif KEY in fragment.value:
                self._problems.add(
                    fragment.key_mark((KEY,)),
                    "a fragment cannot include other files; include them in the suite",
                )
            else:
                suite = self._merged(suite, fragment)
        return suite

    def _merged(self, suite: Document, fragment: Document) -> Document:
        return Document(
            self._merge(suite, fragment, suite.value, fragment.value, ()),
            {**fragment.marks, **suite.marks},
            {**fragment.keys, **suite.keys},
        )

    def _merge(
        self, suite: Document, fragment: Document, mine: dict[str, Any], theirs: dict[str, Any], where: Where
    ) -> dict[str, Any]:
        merged = dict(mine)
        for key, value in theirs.items():
            here = (*where, key)
            own = merged.get(key)
            if key not in merged:
                merged[key] = value
            elif isinstance(own, dict) and isinstance(value, dict):
                merged[key] = self._merge(suite, fragment, own, value, here)
            else:
                self._problems.add(
                    suite.key_mark(here),
                    f"the key {key!r} is also given at {fragment.key_mark(here)}, which is included; "
                    "expected each key once",
                )
        return merged


def beside(file: Path, name: str) -> Path:
    """The path that `name` denotes in `file`: relative to its folder."""
    return Path(os.path.normpath(file.parent / name))
