"""Expand `${VAR}` and `${VAR:-default}` in values, as a shell does."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pytest_bench.errors import UsageError

_REFERENCE = re.compile(
    r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\}|\$\{(?P<bad>[^}]*)\}?"
)


class UnsetVariableError(UsageError):
    """A reference to an unset variable without a default, or a malformed reference."""


def expand(text: str, environ: Mapping[str, str]) -> str:
    """`text` with its references replaced. `$${` is an escaped `${`.

    A default also replaces an empty value. Raises `UnsetVariableError`.
    """
    return _REFERENCE.sub(lambda match: _replacement(match, environ), text)


def _replacement(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match.group() == "$${":
        return "${"
    name, default = match["name"], match["default"]
    if name is None:
        raise UnsetVariableError(
            f"{match.group()!r} is not a reference to a variable; expected ${{VAR}} or ${{VAR:-default}}, "
            "and $${ for a literal ${"
        )
    value = environ.get(name)
    if default is not None:
        return value or default.removeprefix(":-")
    if value is None:
        raise UnsetVariableError(
            f"the environment variable {name} is not set; set it, or give a default: ${{{name}:-default}}"
        )
    return value
