"""Waits until an endpoint serves the model that the suite names, and reports what it is.

An endpoint is ready when its declared probe answers; without one, `/health`, then `/v1/models`, then a one-token
request: real servers lack one or the other. A server that is still starting (connection refused, 5xx, 429) is
waited for. What waiting cannot change (a missing path, a refused key, another model, a redirect) ends the wait
at once.

A gateway may serve although its `/health` answers with 5xx, or calls other servers and times out: after
`_HEALTH_FAILURES` of these in a row the API decides, if it has a cheap request; otherwise the model list does,
except against a 503, by which a server says that it is loading.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import NoReturn, TypeVar

import msgspec

from pytest_bench.endpoints.address import Address, parse_url
from pytest_bench.endpoints.advice import CHECK_ADDRESS, NO_MODEL, about_silence, about_status
from pytest_bench.endpoints.client import BODY_LIMIT_BYTES, Answer, Client, NoAnswer, excerpt, server_line
from pytest_bench.endpoints.headers import NO_HEADERS, Headers
from pytest_bench.endpoints.models import MODELS_LIMIT_BYTES, MODELS_PATH, names_in
from pytest_bench.errors import EndpointError
from pytest_bench.wording import first_of, nearest

_T = TypeVar("_T")

_PROBE_TIMEOUT_S = 5.0
_SHORTEST_TIMEOUT_S = 1.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_HEALTH_FAILURES = 3
_NAMES_SHOWN = 8

_NOT_THERE = frozenset({404, 405, 410, 501})
_NOT_YET = frozenset({408, 425, 429})
_BAD_REQUEST = frozenset({400, 422})


class OneToken(msgspec.Struct, frozen=True, kw_only=True):
    """The cheapest request that the API has. APIs without a cheap one (videos) have none."""

    path: str
    """The API's path below the endpoint."""
    bodies: tuple[bytes, ...]
    """JSON. Later ones are tried if the server refuses those before as bad requests."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was tried, and its last answer."""

    request: str
    """Method and path."""
    answer: str
    times: int = 1

    def __str__(self) -> str:
        times = f" ({self.times} times)" if self.times > 1 else ""
        return f"{self.request}: {self.answer}{times}"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says about itself. Its texts are printable and short."""

    url: str
    ready_by: str
    """The request whose answer showed that the server is ready."""
    api_path: str | None
    """The API's path, if a one-token request proved that it exists."""
    served_models: tuple[str, ...] | None
    """Names from `/v1/models`; None if the server does not list them."""
    version: str | None
    """From `/version`."""
    server: str | None
    """The Server header."""
    waited_s: float
    tried: tuple[Attempt, ...]


def wait_ready(
    url: str,
    *,
    model: str,
    headers: Headers = NO_HEADERS,
    probe: str | None = None,
    one_token: OneToken | None = None,
    models_path: str = MODELS_PATH,
    check_model: bool = True,
    timeout_s: float = 60.0,
    not_yet: Callable[[str], None] | None = None,
) -> Identity:
    """Wait until the endpoint can be given load for `model`, and return its identity.

    With `one_token`, the API's own path has answered before this returns; without, it is not proven to exist.
    `check_model` compares `model` with the names at `models_path`. `not_yet` is called between attempts with the
    result of the last one; it may raise. At least one round of attempts is made, whatever `timeout_s` is.

    Raises `UsageError` for an invalid URL and `EndpointError` for everything else, with what was tried.
    """
    address = parse_url(url)
    started = time.monotonic()
    deadline = started + timeout_s
    pause_s = _FIRST_PAUSE_S
    prober = _Prober(
        address, headers, deadline, model=model, models_path=models_path, check_model=check_model
    )
    while True:
        try:
            identity = prober.probe(probe, one_token)
        except _NotYet as unready:
            last = unready
        else:
            return msgspec.structs.replace(identity, waited_s=round(time.monotonic() - started, 3))
        if not_yet is not None:
            not_yet(last.why)
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            prober.refuse(f"not ready within {timeout_s:.3g} s: {last.why}", last.remedy, shown=last.request)
        time.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


class _NotYet(Exception):
    """Waiting may help."""

    def __init__(self, request: str, why: str, remedy: str) -> None:
        super().__init__(why)
        self.request, self.why, self.remedy = request, why, remedy


class _Version(msgspec.Struct):
    version: str


class _Prober:
    """Tries the requests of one endpoint, and remembers their answers."""

    def __init__(
        self,
        address: Address,
        headers: Headers,
        deadline: float,
        *,
        model: str,
        models_path: str,
        check_model: bool,
    ) -> None:
        self._client = Client(address, headers)
        self._address = address
        self._headers = headers
        self._deadline = deadline
        self._model = model
        self._models_path = models_path
        self._check_model = check_model
        self._tried: dict[str, Attempt] = {}
        self._server: str | None = None
        self._health_failures = 0
        """Consecutive 5xx and time-outs of /health."""

    def probe(self, probe: str | None, one_token: OneToken | None) -> Identity:
        """Make one round. Raises `_NotYet` if another may succeed, `EndpointError` if none can."""
        ready_by, unwell = (self._declared(probe), None) if probe is not None else self._health()
        models, unclear = self._models()
        if ready_by is None and models is not None:
            ready_by = f"GET {self._models_path}"
        if unwell is not None and one_token is None and (models is None or unwell.status == 503):
            raise unwell.reason
        if one_token is not None:
            self._one_token(one_token, ready=ready_by is not None)
            ready_by = f"POST {one_token.path}" if ready_by is None or unwell is not None else ready_by
        if ready_by is None:
            if unclear is not None:
                raise unclear
            self.refuse("no model server answers here", f"{CHECK_ADDRESS}; or declare deployment.probe")
        return Identity(
            url=self._address.url,
            ready_by=ready_by,
            api_path=one_token.path if one_token else None,
            served_models=models,
            version=self._version(),
            server=server_line(self._server) if self._server else None,
            waited_s=0.0,
            tried=tuple(self._tried.values()),
        )

    def refuse(self, what: str, remedy: str, *, shown: str | None = None) -> NoReturn:
        """Raise `EndpointError` with `what` is wrong and all that was tried; `what` already shows `shown`."""
        rest = [str(attempt) for name, attempt in self._tried.items() if name != shown]
        tried = f" Tried{' too' if shown else ''}: {'; '.join(rest)}." if rest else ""
        end = "" if what.endswith("?") else "."
        raise EndpointError(f"{self._address.url}: {what}{end}{tried} Next: {remedy}")

    def _declared(self, path: str) -> str:
        answer = self._request("GET", path)
        if isinstance(answer, Answer) and answer.status in _NOT_THERE:
            self.refuse(
                f"the declared probe {path} answered {answer.status}",
                "correct deployment.probe, or leave it out",
            )
        if isinstance(answer, NoAnswer) or not answer.ok:
            raise self._unready(f"GET {path}", answer)
        return f"GET {path}"

    def _health(self) -> tuple[str | None, _Unhealthy | None]:
        """The request that showed readiness, or why /health is left aside after repeated failures."""
        answer = self._request("GET", "/health")
        if isinstance(answer, NoAnswer) or _may_change(answer):
            reason = self._unready("GET /health", answer)
            broken = answer.cause == "silent" if isinstance(answer, NoAnswer) else answer.status >= 500
            self._health_failures = self._health_failures + 1 if broken else 0
            if self._health_failures < _HEALTH_FAILURES:
                raise reason
            return None, _Unhealthy(answer.status if isinstance(answer, Answer) else None, reason)
        self._health_failures = 0
        # Some web servers answer every path with a page.
        return ("GET /health" if answer.ok and not answer.is_page else None), None

    def _models(self) -> tuple[tuple[str, ...] | None, _NotYet | None]:
        """Names that the server lists, or why it may list them later."""
        name = f"GET {self._models_path}"
        answer = self._request("GET", self._models_path, limit_bytes=MODELS_LIMIT_BYTES)
        if isinstance(answer, NoAnswer) or _may_change(answer):
            return None, self._unready(name, answer)
        if not answer.ok:
            return None, None
        names = names_in(answer.body)
        if names is None:
            return None, None
        if not names and not self._check_model:
            return None, None  # models are loaded on request
        if not names:
            raise _NotYet(name, f"{name}: lists no model", NO_MODEL)
        if self._check_model and self._model not in names:
            self._refuse_model(names)
        return tuple(map(server_line, names)), None

    def _one_token(self, request: OneToken, *, ready: bool) -> None:
        name = f"POST {request.path}"
        answers = []
        for body in request.bodies:
            answer = self._request("POST", request.path, body)
            answers.append(answer)
            if isinstance(answer, NoAnswer) or answer.status not in _BAD_REQUEST:
                break
        else:
            answer = answers[0]
            self._note(name, answer)
        if isinstance(answer, NoAnswer) or _may_change(answer):
            raise self._unready(name, answer)
        if answer.status in _NOT_THERE:
            if _names(excerpt(answer.body), self._model) and not answer.is_page:
                self.refuse(f"the server does not serve {self._model!r}", _MODEL_REMEDY)
            what = "the API's path does not exist" if ready else "no model server answers here"
            self.refuse(f"{what}: {name} answered {answer.status}", self._path_remedy(request.path))
        if not answer.ok:
            self.refuse(
                f"the one-token request was refused: {name} answered {answer.status}",
                "every request of the load would be; correct deployment.generation or deployment.api",
            )
        streamed = answer.content_type.startswith("text/event-stream")
        if not streamed and not _is_json(answer.body):
            self.refuse(
                f"{name} answered {answer.status} with something that is not a response of the API",
                CHECK_ADDRESS,
            )

    def _version(self) -> str | None:
        answer = self._client.exchange("GET", "/version", timeout_s=_PROBE_TIMEOUT_S)
        reported = _decode(answer.body, _Version) if isinstance(answer, Answer) and answer.ok else None
        return server_line(reported.version) if reported else None

    def _request(
        self, method: str, path: str, body: bytes | None = None, *, limit_bytes: int = BODY_LIMIT_BYTES
    ) -> Answer | NoAnswer:
        """Send a request and note the answer. Raises `EndpointError` for answers that mean the same on every path."""
        timeout_s = max(_SHORTEST_TIMEOUT_S, self._deadline - time.monotonic())
        if body is None:
            # A server's first real request may compile kernels; a probe has nothing to wait for.
            timeout_s = min(timeout_s, _PROBE_TIMEOUT_S)
        answer = self._client.exchange(method, path, body=body, timeout_s=timeout_s, limit_bytes=limit_bytes)
        self._note(f"{method} {path}", answer)
        if isinstance(answer, NoAnswer):
            if answer.final:
                self.refuse(answer.reason, about_silence(answer), shown=f"{method} {path}")
            return answer
        self._server = answer.server or self._server
        if answer.status in {401, 403}:
            self._refuse_key(answer.status)
        if 300 <= answer.status < 400:
            where = server_line(answer.location or "nowhere")
            self.refuse(
                f"{method} {path} answered {answer.status}, a redirect to {where}",
                "redirects are never followed: give the URL that serves",
            )
        return answer

    def _unready(self, name: str, answer: Answer | NoAnswer) -> _NotYet:
        """The result of request `name`, as a reason to wait."""
        remedy = about_silence(answer) if isinstance(answer, NoAnswer) else about_status(answer.status)
        return _NotYet(name, str(self._tried[name]), remedy)

    def _note(self, name: str, answer: Answer | NoAnswer) -> None:
        if isinstance(answer, NoAnswer):
            said = answer.reason
        elif answer.is_page:
            said = f"{answer.status}, a web page"
        elif answer.ok:
            said = str(answer.status)
        else:
            said = f"{answer.status} {excerpt(answer.body)}".rstrip()
        before = self._tried.get(name)
        self._tried[name] = Attempt(request=name, answer=said, times=before.times + 1 if before else 1)

    def _refuse_key(self, status: int) -> NoReturn:
        name = self._headers.api_key_env
        if name is None:
            self.refuse(
                f"the server asks for a key ({status})",
                "give one as api_key: {from_env: NAME} in the deployment or with --api-key-env NAME",
            )
        self.refuse(f"the key in {name} is refused ({status})", f"export a valid key in {name}")

    def _refuse_model(self, names: tuple[str, ...]) -> NoReturn:
        near = nearest(self._model, names, similarity=0.4)  # a path may be long before the part that differs
        ordered = [*near, *(name for name in names if name not in near)]
        shown = first_of([repr(server_line(name)) for name in ordered], _NAMES_SHOWN)
        meant = f"; did you mean {server_line(near[0])!r}?" if near else ""
        self.refuse(f"the server serves {shown}, not {self._model!r}{meant}", _MODEL_REMEDY)

    def _path_remedy(self, path: str) -> str:
        last = self._address.prefix.rpartition("/")[2]
        if last and path.startswith(f"/{last}/"):
            return f"leave '/{last}' out of the endpoint: the API's path {path} begins with it"
        return "check the endpoint's prefix and deployment.api"


_MODEL_REMEDY = (
    "correct deployment.model, or pass --served-model; if the server accepts names that it does not list, "
    "set deployment.check_model: false"
)


class _Unhealthy(msgspec.Struct, frozen=True):
    """/health keeps failing."""

    status: int | None
    """None if it does not answer."""
    reason: _NotYet


def _names(text: str, model: str) -> bool:
    """Whether `text` holds `model` as a whole name: `m` is not in `model`, nor `qwen` in `qwen-72b`."""
    return re.search(rf"(?<![\w./:@-]){re.escape(model)}(?![\w/@-]|[.:]\w)", text) is not None


def _may_change(answer: Answer) -> bool:
    return answer.status not in _NOT_THERE and (answer.status >= 500 or answer.status in _NOT_YET)


def _decode(body: bytes, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _is_json(body: bytes) -> bool:
    return _decode(body, msgspec.Raw) is not None
