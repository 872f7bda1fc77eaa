"""The schema of a dataset: a file, or synthetic prompts."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from pytest_bench.suite.section import Count, Positive, Section, Seed, Text


def _fixed_length(value: object) -> object:
    if isinstance(value, dict | LengthSection):
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        raise PydanticCustomError("shape", "expected a whole number, or a mapping with a distribution")
    return {"mean": value}


_LENGTH_FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "fixed": (("mean",), ("stddev", "min", "max")),
    "uniform": (("min", "max"), ("mean", "stddev")),
    "normal": (("mean", "stddev"), ()),
    "lognormal": (("mean", "stddev"), ()),
}
"""Fields that each distribution requires, and those that it does not accept."""


class LengthSection(Section):
    """Length of texts: in tokens, or in words if there is no tokenizer. A plain number is a fixed length."""

    distribution: Literal["fixed", "uniform", "normal", "lognormal"] = "fixed"
    """`fixed` uses `mean`; `uniform` uses `min` and `max`; `normal` and `lognormal` use `mean` and `stddev`."""
    mean: Positive | None = None
    stddev: Positive | None = None
    min: Count | None = None
    """Lower limit of drawn lengths."""
    max: Count | None = None
    """Upper limit of drawn lengths."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        needs, refuses = _LENGTH_FIELDS[self.distribution]
        for name in needs:
            if getattr(self, name) is None:
                raise PydanticCustomError(
                    "length", "the distribution {d} needs '{name}'", {"d": self.distribution, "name": name}
                )
        for name in refuses:
            if getattr(self, name) is not None:
                raise PydanticCustomError(
                    "length",
                    "the distribution {d} does not accept '{name}'",
                    {"d": self.distribution, "name": name},
                )
        if self.min is not None and self.max is not None and self.min > self.max:
            raise PydanticCustomError("length", "'min' is more than 'max'")
        return self


Length = Annotated[
    LengthSection, BeforeValidator(_fixed_length, json_schema_input_type=Count | LengthSection)
]


class SharedPrefixSection(Section):
    """Texts that many prompts begin with, like system prompts."""

    tokens: Count
    """Length of each prefix, which is part of the prompt's length."""
    groups: Count = 1
    """Number of different prefixes; rows use them in turn."""


_OF_BLOCKS = {"hash_ids", "block_size"}


class SyntheticSection(Section):
    """Prompts generated from a seed, with the number and lengths given here or in a trace."""

    rows: Count | None = None
    """Number of rows."""
    input_tokens: Length | None = None
    """Length of each prompt."""
    output_tokens: Length | None = None
    """Output length that each row asks for; left out, the deployment's `max_tokens` applies."""
    range_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    """A fixed length L becomes uniform between ratio x L and L, as in SGLang's benchmark; 1 changes nothing."""
    shared_prefix: SharedPrefixSection | None = None
    trace: Text | None = None
    """Instead of the fields above: a trace file with `input_length` and `output_length`, one row for each arrival.
    Under a load that replays the same file, each arrival has its own lengths."""
    hash_ids: bool = True
    """If the trace has `hash_ids`, prompts share prefixes accordingly. False: no prompts share a prefix."""
    block_size: Count = 512
    """Number of tokens in the block of one of the `hash_ids`."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _one_kind_of_length(self) -> Self:
        if self.trace is None:
            for name in ("rows", "input_tokens"):
                if getattr(self, name) is None:
                    raise PydanticCustomError("length", "expected '{name}', or a 'trace'", {"name": name})
            if blocks := sorted(self.model_fields_set & _OF_BLOCKS):
                raise PydanticCustomError("length", "'{name}' is for a 'trace'", {"name": blocks[0]})
        elif drawn := sorted(self.model_fields_set - {"trace", "seed"} - _OF_BLOCKS):
            raise PydanticCustomError("length", "'{name}' and 'trace' exclude each other", {"name": drawn[0]})
        return self


class DatasetSection(Section):
    """The source of samples: a file, or synthetic."""

    path: Text | None = None
    """File, relative to the file that contains this."""
    format: Literal["jsonl", "json", "csv", "sharegpt", "parquet"] | None = None
    """Left out: determined by the file's suffix."""
    columns: Annotated[dict[str, Text], Field(min_length=1)] | None = None
    """Column of the API -> column of the file. Left out: the file has the API's columns."""
    skip_bad: bool = False
    """Leave out rows that cannot be used, and count them in the evidence. False: a bad row is an error."""
    synthetic: SyntheticSection | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.synthetic is None):
            raise PydanticCustomError("source", "expected exactly one of 'path' and 'synthetic'")
        if self.synthetic is not None and (
            self.format is not None or self.columns is not None or self.skip_bad
        ):
            raise PydanticCustomError(
                "source", "'format', 'columns' and 'skip_bad' belong to 'path', not to 'synthetic'"
            )
        return self
