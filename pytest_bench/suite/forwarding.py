"""Presets of environment variables that a container takes from the host (`forwarding.toml`)."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

PREFIX = "preset:"


@cache
def presets() -> dict[str, tuple[str, ...]]:
    """The names of each preset."""
    text = files("pytest_bench.suite").joinpath("forwarding.toml").read_text(encoding="utf-8")
    return {name: tuple(names) for name, names in tomllib.loads(text).items()}
