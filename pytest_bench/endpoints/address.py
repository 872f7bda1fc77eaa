"""Endpoint URLs: parsed strictly, normalised, and their names looked up once."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Literal

import msgspec

from pytest_bench.errors import EndpointError, UsageError
from pytest_bench.workload import Target, with_query

_CONNECT_TIMEOUT_S = 10.0
_DEFAULT_PORTS = {"http": 80, "https": 443}

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>\[[^\[\]]*\]|[^/:\[\]]*)(?::(?P<port>[^/]*))?(?P<path>/.*)?"
)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
_PATH = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})+)*")


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a valid endpoint URL. Two spellings of one URL are equal."""

    scheme: Literal["http", "https"]
    host: str
    """A name in lower case or an IP address; an IPv6 address without brackets."""
    port: int
    prefix: str = ""
    """Path below which the API's paths lie, without a final slash; empty for most servers."""

    @property
    def authority(self) -> str:
        """Host and port as a Host header holds them: the scheme's own port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.authority}"

    @property
    def url(self) -> str:
        """The normalised URL, with the prefix: evidence and leases use it."""
        return self.origin + self.prefix


def parse_url(text: str) -> Address:
    """Parse an endpoint URL. Raises `UsageError` with what to write instead.

    User info, query and fragment may hold a secret: they are refused, and not repeated in the message.
    """
    if not text.strip():
        raise UsageError("the endpoint is empty: expected a URL such as http://localhost:8000")
    if "@" in text:
        raise UsageError(
            "an endpoint URL holds no credentials (found '@'): give a key as api_key: {from_env: NAME} in "
            "the deployment or with --api-key-env NAME, other headers under `headers`"
        )
    for sign, part in (("?", "query"), ("#", "fragment")):
        bare, found, _ = text.partition(sign)
        if found:
            raise UsageError(
                f"an endpoint URL has no {part}: write {bare!r} without the {sign!r} and what follows it; "
                "a query is given as deployment.query, a key as api_key: {from_env: NAME}"
            )
    match = _URL.fullmatch(text)
    if match is None:
        remedy = "" if "/" in text.partition(":")[2][:2] else f"; did you mean 'http://{text.lstrip('/')}'?"
        raise UsageError(f"{text!r} is not an endpoint URL: expected http://HOST:PORT{remedy}")
    scheme = match["scheme"].lower()
    if scheme not in _DEFAULT_PORTS:
        raise UsageError(f"{text!r}: an endpoint speaks http or https, not {scheme}")
    return Address(
        scheme=scheme,  # type: ignore[arg-type] # one of the keys of _DEFAULT_PORTS
        host=_host(text, match["host"]),
        port=_DEFAULT_PORTS[scheme] if match["port"] is None else _port(text, match["port"]),
        prefix=_prefix(text, match["path"] or ""),
    )


def resolve(address: Address, api_path: str, *, query: str = "") -> Target:
    """Look the host up, once, and return the target of the load: `api_path` below the endpoint's prefix.

    If a name has several addresses, the first that accepts a connection is used: a server that listens on
    IPv4 only is found although `localhost` also means `::1`. Raises `EndpointError`.
    """
    found = _lookup(address)
    chosen = found[0] if len(found) == 1 else _first_reachable(address, found)
    return Target(
        url=address.url,
        address=chosen,
        port=address.port,
        tls=address.scheme == "https",
        host=address.authority,
        server_name=address.host,
        path=with_query(address.prefix + api_path, query),
        prefix=address.prefix,
        query=query,
    )


def server(url: str) -> str:
    """Normalised HOST:PORT of an endpoint, its name not looked up. Returns other text unchanged."""
    try:
        address = parse_url(url)
    except UsageError:
        return url
    return _host_port(address.host, address.port)


def servers(url: str) -> frozenset[str]:
    """Every server that `url` may lead to: `server(url)`, and HOST:PORT of each address of its name.

    Two endpoints whose sets intersect may be one server. No connection is made; for a name that cannot be
    looked up the set holds `server(url)` alone.
    """
    try:
        address = parse_url(url)
        found = _lookup(address)
    except (UsageError, EndpointError):
        return frozenset({server(url)})
    return frozenset({server(url), *(_host_port(host, address.port) for host in found)})


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host(text: str, written: str) -> str:
    if written.startswith("["):
        try:
            parsed = ipaddress.IPv6Address(written[1:-1])
        except ValueError as error:
            raise UsageError(f"{text!r}: {written} is not an IPv6 address: {error}") from error
        if parsed.scope_id is not None:
            raise UsageError(f"{text!r}: zones ('%{parsed.scope_id}') are not supported: use a name")
        return parsed.compressed
    host = written.lower()
    if not host:
        raise UsageError(f"{text!r} has no host: expected http://HOST:PORT")
    if not _HOST.fullmatch(host):
        raise UsageError(
            f"{text!r}: {written!r} is not a host name: expected letters, digits, '-', '_' and '.' (IDNs as xn--…)"
        )
    if host.rstrip(".").rpartition(".")[2].isdigit():
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError as error:
            raise UsageError(f"{text!r}: {written} is not an IPv4 address: {error}") from error
    return host


def _port(text: str, written: str) -> int:
    # A lost variable in "http://host:${PORT:-}" leaves an empty port, which must not mean the default.
    if not re.fullmatch(r"[0-9]{1,5}", written) or not 0 < int(written) < 65536:
        raise UsageError(f"{text!r}: {written!r} is not a port: expected a number from 1 to 65535")
    return int(written)


def _prefix(text: str, path: str) -> str:
    prefix = path.rstrip("/")
    if not _PATH.fullmatch(prefix) or any(part in {".", ".."} for part in prefix.split("/")):
        raise UsageError(
            f"{text!r}: {path!r} is not a path prefix: expected segments as in /team/model, percent-encoded"
        )
    return prefix


def _lookup(address: Address) -> list[str]:
    try:
        entries = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise EndpointError(
            f"{address.url}: the name {address.host!r} cannot be looked up: {error.strerror or error}; "
            "check its spelling, or give an IP address"
        ) from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def _first_reachable(address: Address, candidates: list[str]) -> str:
    refusals = []
    for candidate in candidates:
        try:
            socket.create_connection((candidate, address.port), timeout=_CONNECT_TIMEOUT_S).close()
        except OSError as error:
            refusals.append(f"{candidate}: {error.strerror or error}")
        else:
            return candidate
    raise EndpointError(
        f"{address.url}: no address of {address.host!r} accepts a connection on port {address.port}: "
        + "; ".join(refusals)
    )
