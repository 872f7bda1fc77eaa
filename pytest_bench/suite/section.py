"""The base class of every mapping of the suite language, and the types of its scalars."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A mapping of the suite language.

    Unknown keys, wrong types and non-finite numbers are refused. The docstring under a field becomes its description
    in the JSON Schema.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )

    @classmethod
    def keys_beside(cls, _given: Mapping[str, Any]) -> Iterable[str]:
        """Valid keys, given those already present; offered in the complaint about an unknown key."""
        return cls.model_fields


def unique(values: list[Any]) -> list[Any]:
    """Validate that a list holds each value once, and return it."""
    for position, value in enumerate(values):
        if isinstance(value, Hashable) and value in values[:position]:
            raise PydanticCustomError(
                "repeated", "repeats {value}; expected each value once", {"value": repr(value)}
            )
    return values


Text = Annotated[str, StringConstraints(min_length=1)]
_NAME = r"^[a-z0-9][a-z0-9_-]*$"
_SUITE_NAME = r"^[a-z0-9][a-z0-9-]*$"
_URL_PATH = r"^/[!-~]*$"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"

PATTERNS: dict[str, str] = {
    _NAME: "lower-case letters, digits, '-' and '_', beginning with a letter or digit",
    _SUITE_NAME: "lower-case letters, digits and '-', beginning with a letter or digit",
    _URL_PATH: "a path that begins with '/'",
    _VARIABLE: "the name of an environment variable",
}
"""Each pattern in words, for messages."""

Name = Annotated[str, StringConstraints(pattern=_NAME, max_length=80)]
"""Part of an id: safe as a file name, and with characters that `-k` accepts only."""
SuiteName = Annotated[str, StringConstraints(pattern=_SUITE_NAME, max_length=80)]
UrlPath = Annotated[str, StringConstraints(pattern=_URL_PATH)]
VariableName = Annotated[str, StringConstraints(pattern=_VARIABLE)]
Count = Annotated[int, Field(gt=0, le=2**53)]
Seed = Annotated[int, Field(ge=0, lt=2**64)]
Seconds = Annotated[float, Field(gt=0, le=10**9)]
SecondsOrNone = Annotated[float, Field(ge=0, le=10**9)]
Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(ge=1e-6, le=1e9)]
Share = Annotated[float, Field(gt=0, lt=1)]
Counts = Annotated[list[Count], Field(min_length=1), AfterValidator(unique)]
Rates = Annotated[list[Rate], Field(min_length=1), AfterValidator(unique)]
Texts = Annotated[list[Text], Field(min_length=1), AfterValidator(unique)]


def text_or_secret(value: object) -> str:
    """The tag of a value that is written as a text or as `{from_env: NAME}`."""
    return "secret" if isinstance(value, dict | SecretSection) else "text"


class SecretSection(Section):
    """A value that is read from an environment variable when it is used, and is never written to a file."""

    from_env: VariableName
    """Name of the environment variable."""
