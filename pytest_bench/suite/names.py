"""Names of points and datasets: they become parts of ids and of paths."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from pytest_bench.suite.section import Name

_NAME: TypeAdapter[str] = TypeAdapter(Name)


def name_complaint(name: str) -> str | None:
    """A complaint about a name that cannot be part of an id; None if it can."""
    try:
        _NAME.validate_python(name)
    except ValidationError:
        return (
            f"{name!r} is not a valid name; expected lower-case letters, digits, '-' and '_', "
            "beginning with a letter or digit, at most 80 characters"
        )
    return None
