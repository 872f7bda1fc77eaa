"""Input lengths as the server counts them: vLLM's `/tokenize`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pytest_bench.endpoints.client import Client, NoAnswer, excerpt
from pytest_bench.errors import EndpointError

PATH = "/tokenize"
_TIMEOUT_S = 30.0
_LIMIT_BYTES = 64 << 20
"""Of an answer, which holds the id of every token."""


class _Tokenized(msgspec.Struct):
    count: int


def count_tokens(client: Client, body: Mapping[str, Any]) -> int:
    """Tokens of one input. `body` holds `model`, and `prompt` or `messages`, as vLLM's `/tokenize` takes them.

    Raises `EndpointError` if the server does not answer with a count.
    """
    answer = client.exchange(
        "POST", PATH, body=msgspec.json.encode(body), timeout_s=_TIMEOUT_S, limit_bytes=_LIMIT_BYTES
    )
    if isinstance(answer, NoAnswer):
        raise EndpointError(f"POST {PATH}: {answer.reason}")
    if not answer.ok:
        raise EndpointError(f"POST {PATH}: {answer.status} {excerpt(answer.body)}".rstrip())
    try:
        count = msgspec.json.decode(answer.body, type=_Tokenized).count
    except msgspec.MsgspecError as error:
        raise EndpointError(f"POST {PATH}: expected a JSON object with `count`: {error}") from error
    if not 0 <= count < 2**63:
        raise EndpointError(f"POST {PATH}: {count} is not a number of tokens")
    return count
