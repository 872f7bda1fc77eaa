"""The names of the models that a server lists."""

from __future__ import annotations

import msgspec

from pytest_bench.endpoints.address import parse_url
from pytest_bench.endpoints.client import Client, NoAnswer, excerpt
from pytest_bench.endpoints.headers import Headers
from pytest_bench.errors import EndpointError

MODELS_PATH = "/v1/models"
MODELS_LIMIT_BYTES = 16 << 20
"""Gateways list thousands of models."""

_TIMEOUT_S = 10.0


class _Model(msgspec.Struct):
    id: str


class _ModelList(msgspec.Struct):
    data: list[_Model]


def names_in(body: bytes) -> tuple[str, ...] | None:
    """The names in a list of models; None if `body` is not one."""
    try:
        listed = msgspec.json.decode(body, type=_ModelList)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return tuple(entry.id for entry in listed.data)


def served_models(url: str, headers: Headers) -> tuple[str, ...]:
    """The names of the models that the server at `url` lists, asked once.

    Raises `UsageError` for an invalid URL, and `EndpointError` if the server does not answer with a list.
    """
    address = parse_url(url)
    asked = f"{address.url}: GET {MODELS_PATH}"
    answer = Client(address, headers).exchange(
        "GET", MODELS_PATH, timeout_s=_TIMEOUT_S, limit_bytes=MODELS_LIMIT_BYTES
    )
    if isinstance(answer, NoAnswer):
        raise EndpointError(f"{asked}: {answer.reason}")
    if not answer.ok:
        raise EndpointError(f"{asked}: {answer.status} {excerpt(answer.body)}".rstrip())
    names = names_in(answer.body)
    if names is None:
        raise EndpointError(f"{asked}: the answer is not a list of models")
    return names
