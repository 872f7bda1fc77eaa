"""Identifies the code of a scorer's part that is not shipped with this package."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import msgspec

from pytest_bench.errors import UsageError
from pytest_bench.files import file_digest

_FOREIGN_TO_SCORERS = frozenset({object, msgspec.Struct})


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """The code of a type. It covers what its files import only by the version of their own distribution."""

    type: str
    """Its qualified name."""
    distributions: tuple[str, ...]
    """`name==version` of each installed distribution that has the type's top-level package; empty for a conftest.py or
    another single file."""
    files: tuple[str, ...]
    """sha256 (hex) of each file that defines a method of the type, those of its base classes included."""


def identify(type_: type) -> Code:
    """Raises `UsageError` for a type whose methods were not defined in files that can be read, so that a change of them
    could not be noticed."""
    digests: set[str] = set()
    for name in set(_files(type_)):
        try:
            digests.add(file_digest(Path(name)))
        except OSError as error:
            raise UsageError(
                f"cannot be identified: the code of {type_.__qualname__} is in {name!r}, which cannot be read: define "
                "it in a file, so that a change of it is noticed"
            ) from error
    top = type_.__module__.partition(".")[0]
    return Code(
        type=type_.__qualname__,
        distributions=tuple(f"{name}=={metadata.version(name)}" for name in _distributions().get(top, ())),
        files=tuple(sorted(digests)),
    )


def _files(type_: type) -> Iterator[str]:
    """The file of each method, as the interpreter knows it: modules in `sys.modules` may have changed."""
    for owner in type_.__mro__:
        for value in () if owner in _FOREIGN_TO_SCORERS else vars(owner).values():
            method = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if inspect.isfunction(method):
                yield method.__code__.co_filename


@lru_cache(maxsize=1)
def _distributions() -> dict[str, tuple[str, ...]]:
    """Installed distributions by top-level package."""
    found = metadata.packages_distributions()
    return {package: tuple(sorted(set(names))) for package, names in found.items()}
