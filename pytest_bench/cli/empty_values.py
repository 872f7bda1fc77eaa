"""Refuses arguments without a value, as a variable that is not set leaves them."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_bench.errors import UsageError


def refuse_empty(words: Iterable[str]) -> None:
    """Raises `UsageError` for an empty argument, and for an option whose value after `=` is empty."""
    for word in words:
        option, equals, value = word.partition("=")
        if not word.strip() or (word.startswith("-") and equals and not value.strip()):
            raise UsageError(
                f"{option + ': its' if option.strip() else 'a'} value is empty, as a variable that is not set leaves "
                "it; give a value, or leave the option out"
            )
