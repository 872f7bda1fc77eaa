"""What every request to an endpoint carries: headers, and parameters of the query.

Keys are read from the environment here, and hidden from everything that this process writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import quote, urlencode

import msgspec

from pytest_bench.errors import UsageError
from pytest_bench.files import canonical_json
from pytest_bench.redaction import SHORTEST, hide
from pytest_bench.suite.command_evals import secrets_of
from pytest_bench.suite.plan import Plan, Secret

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?|")

_OURS = frozenset(
    {"accept-encoding", "connection", "content-length", "content-type", "expect", "host", "te"}
    | {"trailer", "transfer-encoding", "upgrade"}
)
"""Headers that describe the message itself: the HTTP client writes them."""


class Headers(msgspec.Struct, frozen=True):
    """Headers with their values, and the query. Its `repr` shows names only."""

    pairs: tuple[tuple[str, str], ...] = ()
    """Each name once, spelled as in `X-Api-Key`."""
    secrets: tuple[str, ...] = ()
    """Values that came from the environment."""
    api_key_env: str | None = None
    """The variable that held the API key."""
    query: str = ""
    """Parameters that every URL carries, encoded, without `?`."""

    def __repr__(self) -> str:
        return f"Headers({', '.join(name for name, _ in self.pairs)})"


NO_HEADERS = Headers()


def read_headers(
    declared: Mapping[str, str | Secret],
    api_key: Secret | None,
    environ: Mapping[str, str],
    *,
    query: Mapping[str, str | Secret] = MappingProxyType({}),
) -> Headers:
    """The headers of a deployment, with `api_key` as `Authorization: Bearer …`, and its query.

    Raises `UsageError` for a variable that is unset or empty, a value that a header cannot hold (often the
    final newline of a key file), a name given twice, and a header that describes the message itself.
    """
    pairs: dict[str, tuple[str, str]] = {}
    secrets: list[str] = []

    def value_of(value: str | Secret, what: str) -> str:
        if isinstance(value, str):
            return value
        secrets.append(_secret(value, environ, what))
        return secrets[-1]

    for name, value in declared.items():
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is not a header name")
        if name.lower() in _OURS:
            raise UsageError(f"the header {name!r} cannot be set: it follows from the message itself")
        if name.lower() in pairs:
            raise UsageError(f"the header {name!r} is given twice: names of headers ignore case")
        text = value_of(value, f"the header {name!r}")
        if not _VALUE.fullmatch(text):
            raise UsageError(f"the header {name!r} must be printable ASCII without outer spaces")
        pairs[name.lower()] = (name.title(), text)
    if api_key is not None:
        if "authorization" in pairs:
            raise UsageError("the header 'Authorization' and api_key mean the same: give one of them")
        pairs["authorization"] = ("Authorization", f"Bearer {value_of(api_key, 'the API key')}")
    parameters = {name: value_of(value, f"the query parameter {name!r}") for name, value in query.items()}
    hide(secrets)
    return Headers(
        tuple(pairs.values()),
        tuple(secrets),
        api_key.from_env if api_key else None,
        urlencode(parameters, quote_via=quote),
    )


def hide_secrets(plan: Plan, environ: Mapping[str, str]) -> None:
    """Hide the value of every secret that `plan` names from what this process writes.

    Raises `UsageError` for a value that also occurs in the plan, because redaction would hide it there too.
    """
    written = canonical_json(plan).decode()
    named = [(point.origin, secret) for point, secret in secrets_of(plan.points)]
    for deployment in plan.deployments.values():
        own = (
            deployment.api_key,
            *deployment.headers.values(),
            *deployment.query.values(),
            *(value for container in deployment.containers for value in container.environment.values()),
        )
        named += [(deployment.origin, secret) for secret in own if isinstance(secret, Secret)]
    for origin, secret in named:
        value = environ.get(secret.from_env)
        if not value:
            continue  # where it is read, a missing one is reported
        if len(value) >= SHORTEST and value in written:
            raise UsageError(
                f"{origin}: the value of the environment variable {secret.from_env} is also a word "
                "of the suites, so it cannot be kept out of the results: export another value"
            )
        hide([value])


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
