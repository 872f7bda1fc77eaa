"""Validate values against sections, and turn pydantic's errors into sentences with positions."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pytest_bench.suite.document import REFUSED, Document, Path
from pytest_bench.suite.problems import Problems
from pytest_bench.suite.section import PATTERNS, Section
from pytest_bench.wording import did_you_mean, one_of

S = TypeVar("S", bound=Section)

_EXPECTED: dict[str, str] = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "finite_number": "a finite number",
    "greater_than": "a number greater than {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number less than {lt}",
    "less_than_equal": "a number of at most {le}",
    "literal_error": "{expected}",
    "string_too_long": "at most {max_length} characters",
}
"""What was expected, by the type of pydantic's error; filled in with the error's context."""

_NUMBERS = frozenset({"int_type", "float_type", "int_from_float"})


def check(
    section: type[S],
    document: Document,
    path: Path,
    value: object,
    problems: Problems,
    validation_context: object = None,
) -> S | None:
    """Validate `value` at `path`. Records its problems and returns None if it is not valid.

    Validators of the section may read `validation_context`.
    """
    try:
        return section.model_validate(value, context=validation_context)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            _record(section, document, path, value, details, problems)
        return None


def _record(
    section: type[Section],
    document: Document,
    path: Path,
    value: object,
    details: ErrorDetails,
    problems: Problems,
) -> None:
    loc, kind = details["loc"], details["type"]
    if details["input"] is REFUSED:
        return
    here = (*path, *_written(document, path, loc))
    if kind == "extra_forbidden":
        word, known = str(loc[-1]), sorted(_known_keys(section, value, loc[:-1]))
        problems.add(
            document.key_mark((*path, *loc)),
            f"unknown key {word!r} in {dotted(here[:-1])}; "
            f"expected one of {one_of(known)}{did_you_mean(word, known)}",
        )
    elif kind == "missing":
        problems.add(document.key_mark(here), f"{dotted(here)} has no {str(loc[-1])!r}; expected one")
    else:
        problems.add(document.mark(here), f"{dotted(here)}{_complaint(here, details)}")


def _complaint(path: Path, details: ErrorDetails) -> str:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "repeated":
        return f" {details['msg']}"
    if kind in ("too_short", "string_too_short"):
        return " is empty; expected at least one"
    if kind == "string_pattern_mismatch":
        expected = PATTERNS.get(context["pattern"], f"text that matches {context['pattern']}")
    elif kind in _EXPECTED:
        expected = _EXPECTED[kind].format_map(context)
    else:
        message = details["msg"][:1].lower() + details["msg"][1:]
        return f": {message}" if isinstance(value, dict | Section) else f" is {shown(path, value)}; {message}"
    if kind in _NUMBERS and path and str(path[-1]).endswith("_s"):
        expected += " of seconds"
    return f" is {shown(path, value)}{_contrast(kind, value)}; expected {expected}{_advice(kind, value, expected)}"


def _contrast(kind: str, value: object) -> str:
    if isinstance(value, str) and (kind in _NUMBERS or kind == "bool_type"):
        return ", which is text"
    if kind == "string_type" and not isinstance(value, dict | list):
        return ", which is not text"
    return ""


def _advice(kind: str, value: object, expected: str) -> str:
    if kind == "string_type" and not isinstance(value, dict | list):
        return ": put it in quotes"
    if kind in _NUMBERS and isinstance(value, str) and value[:1].isdigit():
        return ": write it without quotes, and without a unit"
    if kind == "literal_error" and isinstance(value, str):
        return did_you_mean(value, expected.replace("'", "").replace(" or ", ", ").split(", "))
    return ""


def dotted(path: Path) -> str:
    """`path` in dotted notation: `perf.steady.load`, `sweep.concurrency[2]`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".") or "the suite"


def shown(path: Path, value: object) -> str:
    """`value` for a message, shortened. A value that may be a secret is not shown."""
    if "api_key" in path or "headers" in path:
        return "a value that is not shown here"
    if isinstance(value, dict | Section):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _written(document: Document, path: Path, loc: tuple[int | str, ...]) -> Path:
    """The steps of `loc` that exist in the document: pydantic adds its own for unions."""
    known: Path = ()
    for step in loc:
        if (*path, *known, step) in document.marks:
            known = (*known, step)
    return known


def _known_keys(section: type[Section], value: object, loc: tuple[int | str, ...]) -> Iterable[str]:
    """Valid keys of the section at `loc` inside `section`, whose written value is `value`."""
    for step in loc:
        field = section.model_fields.get(step) if isinstance(step, str) else None
        if field is not None:
            section = next(_sections(field.annotation), section)
        # pydantic adds its own steps for unions; the written value has none of them.
        match value:
            case dict() if step in value:
                value = value[step]
            case list() if isinstance(step, int):
                value = value[step]
    return section.keys_beside(value if isinstance(value, dict) else {})


def _sections(annotation: object) -> Iterator[type[Section]]:
    """Sections that an annotation mentions, including those in lists, mappings and unions."""
    if inspect.isclass(annotation):
        if issubclass(annotation, Section):
            yield annotation
        return
    for argument in typing.get_args(annotation):
        yield from _sections(argument)


def as_json(section: Section) -> dict[str, Any]:
    """The section's values, defaults included, as JSON has them."""
    # Only a value that was refused while reading has no JSON form, and its suite is not planned.
    return section.model_dump(mode="json", fallback=repr)
