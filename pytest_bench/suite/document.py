"""Read a YAML file into plain values, with the position of every key and value.

The grammar is YAML's. Unquoted scalars follow a subset of the YAML 1.2 core schema: `true` and `false` are the only
booleans, decimal numbers the only numbers (`1e3` is one), and everything else is text: `yes`, `on`, `1:30`, `0x10`,
`2026-01-01`. Duplicate keys, explicit tags, non-finite numbers and aliases that contain themselves are problems.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from pytest_bench.suite.environment import UnsetVariableError, expand
from pytest_bench.suite.problems import Mark, Problems

Path = tuple[str | int, ...]
"""Path of a value: keys and list positions from the top of the document."""

NODE_LIMIT = 200_000
"""Largest number of values after aliases are expanded: a few nested aliases could make billions."""

_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_LONGEST_NUMBER = 400
"""Largest number of digits: more than any float has, fewer than Python's limit for parsing integers."""

_TEXT_TAG = "tag:yaml.org,2002:str"
_UNTAGGED = ""


@dataclass(frozen=True, slots=True)
class Document:
    """The values of one file, or of a file and those that it includes."""

    value: Any
    marks: dict[Path, Mark] = field(default_factory=dict)
    """Position of each value."""
    keys: dict[Path, Mark] = field(default_factory=dict)
    """Position of the key of each value in a mapping."""

    def mark(self, path: Path) -> Mark:
        """Position of the value at `path`, or of the nearest enclosing value."""
        return _nearest(self.marks, path)

    def key_mark(self, path: Path) -> Mark:
        """Position of the key at `path`; of the value if it has no key."""
        return self.keys.get(path) or self.mark(path)


class Refused:
    """Placeholder for a value whose problem has been recorded; it causes no further problems."""


REFUSED = Refused()


class _Composer(yaml.SafeLoader):
    """Composes nodes without resolving the type of plain scalars, which `_plain` does."""

    DEFAULT_SCALAR_TAG = _UNTAGGED  # type: ignore[misc] # final in the stubs, an attribute in PyYAML
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 # PyYAML's own interface


def read_document(data: bytes, file: str, environ: Mapping[str, str], problems: Problems) -> Document | None:
    """Build the values of a YAML file, with `${VAR}` in values expanded from `environ`.

    Problems are added to `problems`. The result is None if the file cannot be parsed; otherwise it holds every value
    that could be built.
    """
    start = Mark(file, 1, 1)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        problems.add(Mark(file, line, column), "the file is not UTF-8 here; save it as UTF-8")
        return None
    try:
        loader = _Composer(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Mark(file, mark.line + 1, mark.column + 1) if mark else start
        problems.add(where, f"not valid YAML: {' '.join((error.problem or str(error)).split())}")
        return None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        problems.add(Mark(file, line, column), "not valid YAML: a character that YAML does not allow")
        return None
    except (ValueError, OverflowError) as error:
        # PyYAML does not convert the errors of chr() and int() about escapes and directives out of range.
        problems.add(start, f"not valid YAML: {error}")
        return None
    except RecursionError:
        problems.add(start, "not valid YAML: nested too deeply")
        return None
    if node is None:
        problems.add(start, "the file is empty; expected a mapping that begins with `suite:`")
        return None
    builder = _Builder(file, environ, problems)
    try:
        value = builder.build(node, ())
    except RecursionError:
        problems.add(start, "not valid YAML: nested too deeply")
        return None
    if builder.count > NODE_LIMIT:
        problems.add(start, f"more than {NODE_LIMIT} values once its aliases are expanded")
        return None
    return Document(value, builder.marks, builder.keys)


class _Builder:
    def __init__(self, file: str, environ: Mapping[str, str], problems: Problems) -> None:
        self.marks: dict[Path, Mark] = {}
        self.keys: dict[Path, Mark] = {}
        self.count = 0
        self._file = file
        self._environ = environ
        self._problems = problems
        self._open: set[int] = set()

    def build(self, node: yaml.Node, path: Path) -> object:
        self.count += 1
        mark = self._mark(node)
        self.marks[path] = mark
        if self.count > NODE_LIMIT:
            return REFUSED
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, mark)
        if node.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            return self._refuse(mark, f"the tag {node.tag!r} is not part of the suite language; leave it out")
        if id(node) in self._open:
            return self._refuse(mark, "an alias that contains itself")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for name, (key, child) in self._pairs(node).items():
            here = (*path, name)
            self.keys[here] = self._mark(key)
            value[name] = self.build(child, here)
        return value

    def _pairs(self, node: yaml.MappingNode) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Nodes by key: the mapping's own, then those merged in with `<<` that it does not have."""
        pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: list[yaml.Node] = []
        for key, child in node.value:
            self.count += 1
            if isinstance(key, yaml.ScalarNode) and key.value == "<<" and key.style is None:
                merged.extend(child.value if isinstance(child, yaml.SequenceNode) else [child])
            elif self._usable(key, pairs):
                pairs[key.value] = (key, child)
        for source in merged:
            for name, pair in self._merged(source).items():
                pairs.setdefault(name, pair)
        return pairs

    def _usable(self, key: yaml.Node, pairs: Mapping[str, tuple[yaml.Node, yaml.Node]]) -> bool:
        if not isinstance(key, yaml.ScalarNode):
            self._refuse(self._mark(key), "a key that is a list or a mapping; expected a word")
        elif _LONE_SURROGATE.search(key.value):
            self._refuse(self._mark(key), "a key with a lone surrogate, which UTF-8 cannot encode")
        elif key.value in pairs:
            first = self._mark(pairs[key.value][0])
            self._refuse(
                self._mark(key), f"the key {key.value!r} was given before, at {first}; expected each key once"
            )
        else:
            return True
        return False

    def _merged(self, source: yaml.Node) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        if self.count > NODE_LIMIT:
            return {}
        if not isinstance(source, yaml.MappingNode):
            self._refuse(self._mark(source), "`<<` takes a mapping or a list of mappings")
            return {}
        if id(source) in self._open:
            self._refuse(self._mark(source), "an alias that contains itself")
            return {}
        self._open.add(id(source))
        pairs = self._pairs(source)
        self._open.discard(id(source))
        return pairs

    def _scalar(self, node: yaml.ScalarNode, mark: Mark) -> object:
        if node.tag not in (_UNTAGGED, _TEXT_TAG):
            return self._refuse(mark, f"the tag {node.tag!r} is not part of the suite language; leave it out")
        try:
            text = expand(node.value, self._environ)
        except UnsetVariableError as error:
            return self._refuse(mark, str(error))
        if _LONE_SURROGATE.search(text):
            return self._refuse(mark, "text with a lone surrogate, which UTF-8 cannot encode")
        # A value that expands to nothing, as in `endpoint: ${URL:-}`, is empty text and not YAML's null.
        if node.style is not None or node.tag == _TEXT_TAG or (node.value and not text):
            return text
        return self._plain(text, mark)

    def _plain(self, text: str, mark: Mark) -> object:
        if text in _WORDS:
            return _WORDS[text]
        if _NOT_FINITE.fullmatch(text):
            return self._refuse(mark, f"{text} is not a finite number")
        if not _FLOAT.fullmatch(text):
            return text
        if len(text) > _LONGEST_NUMBER:
            return self._refuse(mark, f"a number of {len(text)} digits is out of range")
        if _INTEGER.fullmatch(text):
            return int(text)
        number = float(text)
        if not math.isfinite(number):
            return self._refuse(mark, f"{text} is out of range: not a finite number")
        return number

    def _refuse(self, mark: Mark, what: str) -> Refused:
        self._problems.add(mark, what)
        return REFUSED

    def _mark(self, node: yaml.Node) -> Mark:
        return Mark(self._file, node.start_mark.line + 1, node.start_mark.column + 1)


def _nearest(marks: Mapping[Path, Mark], path: Path) -> Mark:
    """The mark of the longest part of `path` that exists in the document."""
    known: Path = ()
    for step in path:
        if (*known, step) in marks:
            known = (*known, step)
    return marks[known]
