"""Requests between phases that change a server's state."""

from __future__ import annotations

from pytest_bench import clock
from pytest_bench.endpoints.address import parse_url
from pytest_bench.endpoints.client import Client, NoAnswer, excerpt
from pytest_bench.endpoints.headers import NO_HEADERS, Headers
from pytest_bench.errors import EndpointError
from pytest_bench.records import CacheReset

_TIMEOUT_S = 30.0


def reset_cache(url: str, path: str, *, headers: Headers = NO_HEADERS) -> CacheReset:
    """POST to `path` below the endpoint, which empties the server's caches.

    Raises `EndpointError` unless the server confirms it with a 2xx status: otherwise the cache may still hold
    samples of an earlier phase, and would be measured as if it were empty.
    """
    address = parse_url(url)
    asked_ns = clock.monotonic_ns()
    answer = Client(address, headers).exchange("POST", path, body=b"", timeout_s=_TIMEOUT_S)
    if isinstance(answer, NoAnswer):
        result = answer.reason
    elif answer.ok:
        return CacheReset(
            url=address.url,
            path=path,
            status=answer.status,
            asked_ns=asked_ns,
            confirmed_ns=clock.monotonic_ns(),
        )
    else:
        result = f"{answer.status} {excerpt(answer.body)}".rstrip()
    raise EndpointError(
        f"{address.url}: the cache was not reset: POST {path}: {result}. Next: check deployment.cache_reset, "
        "and that the server allows it (SGLang: /flush_cache, with no request in flight; vLLM: "
        "/reset_prefix_cache, in its development mode)"
    )
