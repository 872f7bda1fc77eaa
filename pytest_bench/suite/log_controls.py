"""Controls of servers' logs, as data (`log_controls.toml`)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import msgspec


class Control(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One control of one engine."""

    values: tuple[str, ...]
    environment: str | None = None
    option: str | None = None
    flag_off: str | None = None
    silences: dict[str, tuple[str, ...]] = {}
    """Classes of lines that must be gone, and at which values."""

    def variables(self, value: str) -> dict[str, str]:
        """The variables that set `value`."""
        return {} if self.environment is None else {self.environment: value}

    def arguments(self, value: str) -> tuple[str, ...]:
        """The arguments of the server that set `value`."""
        if self.option is not None:
            return (self.option, value)
        return (self.flag_off,) if self.flag_off is not None and value == "off" else ()

    def silenced(self, value: str) -> frozenset[str]:
        """The classes of lines that `value` silences."""
        return frozenset(name for name, values in self.silences.items() if value in values)


@cache
def controls() -> Mapping[str, Mapping[str, Control]]:
    """By engine, then name."""
    text = files("pytest_bench.suite").joinpath("log_controls.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, dict[str, Control]])
