"""`${VAR}` and `${VAR:-default}` in values, as a shell would read them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pytest_bench.errors import UsageError

_REFERENCE = re.compile(
    r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\}|\$\{(?P<bad>[^}]*)\}?"
)


class UnsetVariableError(UsageError):
    """A reference to a variable that is not set and has no default, or one that names no variable."""


def expand(text: str, environ: Mapping[str, str]) -> str:
    """`text` with its references replaced. `$${` stands for a literal `${`.

    A default also stands in for a variable that is set but empty. Raises `UnsetVariableError`.
    """
    return _REFERENCE.sub(lambda match: _replacement(match, environ), text)


def _replacement(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match.group() == "$${":
        return "${"
    name, default = match["name"], match["default"]
    if name is None:
        raise UnsetVariableError(
            f"{match.group()!r} names no variable; expected ${{VAR}} or ${{VAR:-default}}, "
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
