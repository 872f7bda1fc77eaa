"""Headers that every request to an endpoint carries.

Keys are read from the environment here, and shown nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from pytest_bench.errors import UsageError
from pytest_bench.suite.plan import Secret

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?|")

_OURS = frozenset(
    {"accept-encoding", "connection", "content-length", "content-type", "expect", "host", "te"}
    | {"trailer", "transfer-encoding", "upgrade"}
)
"""Headers that describe the message itself: who writes the message writes them."""


class Headers(msgspec.Struct, frozen=True):
    """Headers with their values, and what must not be shown of them. Its `repr` holds names only."""

    pairs: tuple[tuple[str, str], ...] = ()
    """Each name once, spelled as in `X-Api-Key`."""
    secrets: tuple[str, ...] = ()
    """Values that came from the environment."""
    api_key_env: str | None = None
    """The variable that held the API key."""

    def __repr__(self) -> str:
        return f"Headers({', '.join(name for name, _ in self.pairs)})"

    def redact(self, text: str) -> str:
        """`text`, which a server wrote, without any secret it repeats."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


NO_HEADERS = Headers()


def read_headers(
    declared: Mapping[str, str | Secret], api_key: Secret | None, environ: Mapping[str, str]
) -> Headers:
    """The headers of a deployment, with `api_key` as `Authorization: Bearer …`.

    Raises `UsageError` for a variable that is unset or empty, a value that no header can hold (a key file's
    final newline is the usual one), a name given twice, and a header that belongs to the message itself.
    """
    pairs: dict[str, tuple[str, str]] = {}
    secrets: list[str] = []
    for name, value in declared.items():
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is no header name")
        if name.lower() in _OURS:
            raise UsageError(f"the header {name!r} cannot be set: it follows from the message itself")
        if name.lower() in pairs:
            raise UsageError(f"the header {name!r} is given twice: names of headers ignore case")
        if isinstance(value, Secret):
            text = _secret(value, environ, f"the header {name!r}")
            secrets.append(text)
        else:
            text = value
            if not _VALUE.fullmatch(text):
                raise UsageError(f"the header {name!r} must be printable ASCII without outer spaces")
        pairs[name.lower()] = (name.title(), text)
    if api_key is not None:
        if "authorization" in pairs:
            raise UsageError("the header 'Authorization' and api_key mean the same: give one of them")
        key = _secret(api_key, environ, "the API key")
        secrets.append(key)
        pairs["authorization"] = ("Authorization", f"Bearer {key}")
    return Headers(tuple(pairs.values()), tuple(secrets), api_key.from_env if api_key else None)


def _secret(secret: Secret, environ: Mapping[str, str], what: str) -> str:
    value = environ.get(secret.from_env)
    if not value:
        state = "is not set" if value is None else "is empty"
        raise UsageError(
            f"{what} comes from the environment variable {secret.from_env}, which {state}: export it"
        )
    if not _VALUE.fullmatch(value):
        raise UsageError(
            f"{what} cannot be sent: the value of {secret.from_env} must be printable ASCII without outer spaces "
            "or line breaks; a trailing newline is the usual cause"
        )
    return value
