"""Answers requests by their path, and holds the state of the server: slots, response cache, jobs, totals."""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable
from functools import partial
from hashlib import blake2b

import msgspec

import pytest_bench
from pytest_bench.errors import UsageError
from pytest_bench.simulator import faults, jobs, openai, replies
from pytest_bench.simulator.answers import Answers, Received
from pytest_bench.simulator.behaviour import Behaviour
from pytest_bench.simulator.connection import Connection, Request
from pytest_bench.simulator.exchange import Exchange, Slots
from pytest_bench.simulator.lag import LoopLag
from pytest_bench.simulator.output import Asked
from pytest_bench.simulator.script import SERVER, Body, Reply, Script, compose
from pytest_bench.simulator.truth import TruthLog, TruthRecord

_OPEN = frozenset({"/health", "/metrics", "/version"})
"""Paths that need no key."""


class Service:
    """Answers every request of every connection."""

    def __init__(
        self, behaviour: Behaviour, *, answers: Answers | None, api_key: str | None, log: TruthLog | None
    ) -> None:
        self.behaviour = behaviour
        self.slots = Slots(behaviour.max_concurrency)
        self.requests = 0
        """Requests for output so far."""
        self._answers = answers
        self._received = Received()
        self._authorization = None if api_key is None else f"Bearer {api_key}".encode()
        self._log = log
        self._seen: Counter[bytes] = Counter()
        self._jobs = jobs.Jobs(self.slots)
        self._lag = LoopLag(lambda: self.slots.in_flight > 0)
        self._totals: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._routes: dict[tuple[str, str], Callable[[], Body]] = {
            ("GET", "/health"): self._health,
            ("GET", "/v1/models"): self._models,
            ("GET", "/version"): self._version,
            ("GET", "/metrics"): self._metrics,
            ("POST", "/reset_cache"): self._reset_cache,
        }
        if answers is not None:
            self._routes["GET", "/received"] = lambda: Body(data=self._received.body())

    def dispatch(self, request: Request, connection: Connection) -> None:
        """Answer one request, at once or later."""
        self._lag.note_request()
        if not self._authorized(request):
            reply = openai.error(
                401, "The key is missing or wrong", "invalid_request_error", "invalid_api_key"
            )
        elif request.method == "POST" and request.path in replies.PATHS:
            self._answer_with_output(connection, request)
            return
        else:
            reply = self._plain(request)
        script = _script(request, reply, self.behaviour, frozenset())
        connection.write(script.writes[0])
        connection.end(script.ending)

    def _authorized(self, request: Request) -> bool:
        if self._authorization is None or request.path in _OPEN:
            return True
        given = request.headers.get("authorization", "").encode("latin-1")
        return hmac.compare_digest(given, self._authorization)

    # Requests that ask for output.

    def _answer_with_output(self, connection: Connection, request: Request) -> None:
        record = TruthRecord(
            number=self.requests,
            request_id=request.headers.get("x-request-id", ""),
            path=request.path,
            connection=request.connection,
            accept_ns=request.accept_ns,
            first_request_byte_ns=request.first_byte_ns,
            last_request_byte_ns=request.last_byte_ns,
            in_flight=self.slots.arrive(),
        )
        self.requests += 1
        exchange = Exchange(connection, record, self.slots, self._ended)
        behaviour, framings = self.behaviour, frozenset[str]()
        try:
            behaviour = self.behaviour.for_request(request.headers)
            record.fault, framings = faults.pick(behaviour, record.number)
            answer = self._interpret(request, record, behaviour)
        except UsageError as error:
            answer = openai.error(400, str(error), "invalid_request_error")
        except replies.Refused as refused:
            record.fault = None
            answer = refused.reply
        record.framings = sorted(framings)
        if isinstance(answer, Body):
            record.status = answer.status or None
            exchange.play(_script(request, answer, behaviour, framings), start_ns=request.last_byte_ns)
        else:
            exchange.play_in_turn(partial(self._serve, request, record, behaviour, framings, answer))

    def _interpret(
        self, request: Request, record: TruthRecord, behaviour: Behaviour
    ) -> Body | replies.Replier:
        """Return the answer if it is immediate, else the function that makes it once the request has a slot.

        Raises `Refused`.
        """
        if record.fault in faults.AT_ONCE:
            return faults.instead(record.fault, behaviour, request.path)
        if request.path == replies.VIDEOS and behaviour.video_reply == "job":
            video = replies.read_video(request.body, behaviour.model)
            ask = partial(self._circumstances, request, record, behaviour)
            job = self._jobs.start(record.number, video, ask)
            return job if record.fault is None else faults.spoil_body(job, record.fault)
        order = replies.PATHS[request.path](request.body, behaviour.model)
        if self._answers is not None and order.asked is not None:
            self._answer(self._answers, order.asked, record)
            if record.fault in faults.AT_ONCE:
                return faults.instead(record.fault, behaviour, request.path)
        return order.reply

    def _answer(self, answers: Answers, asked: Asked, record: TruthRecord) -> None:
        """Give a request the answer of the file, and its fault. A check of readiness gets a word.

        Raises `Refused` if the file has no answer.
        """
        answer = answers.find(asked)
        if answer is None and answers.may_be_invented(asked):
            return
        if answer is None:
            self._received.add_unanswered(record.request_id)
            raise replies.Refused(openai.error(422, answers.refusal(asked), "invalid_request_error"))
        record.item = answer.name
        earlier = self._received.add(answer.name, record.request_id)
        record.fault = answer.fault_of(earlier) or record.fault
        asked.given = answer.output(asked)

    def _serve(
        self,
        request: Request,
        record: TruthRecord,
        behaviour: Behaviour,
        framings: frozenset[str],
        replier: replies.Replier,
    ) -> Script:
        reply = replier(self._circumstances(request, record, behaviour))
        if record.fault is not None:
            reply = faults.spoil(reply, record.fault, behaviour)
        record.status = 200
        return _script(request, reply, behaviour, framings)

    def _circumstances(
        self, request: Request, record: TruthRecord, behaviour: Behaviour
    ) -> replies.Circumstances:
        """Count identical requests. Called when the request gets its slot."""
        if behaviour.cache_after:
            key = blake2b(request.path.encode() + b"\0" + request.body, digest_size=16).digest()
            self._seen[key] += 1
            record.cached = self._seen[key] >= behaviour.cache_after
        return replies.Circumstances(
            behaviour=behaviour,
            number=record.number,
            in_flight=record.in_flight,
            empty=record.fault == "empty",
            cached=record.cached,
        )

    def _ended(self, record: TruthRecord) -> None:
        self._totals["ended"] += 1
        self._totals["cached"] += record.cached
        self._totals["tokens"] += record.tokens
        if record.fault is not None:
            self._faults[record.fault] += 1
        if record.item and record.fault is None and not record.aborted:
            self._received.complete(record.item)
        if self._log is not None:
            self._log.add(record)
            if self.slots.in_flight == 0:
                self._log.flush()

    # Everything else.

    def _plain(self, request: Request) -> Body:
        route = self._routes.get((request.method, request.path))
        if route is not None:
            return route()
        if request.method == "GET" and request.path.startswith(jobs.PREFIX):
            return self._jobs.answer(request.path)
        known = {path for _, path in self._routes} | set(replies.PATHS)
        if request.path in known:
            return openai.error(
                405, f"{request.path} does not know {request.method}", "invalid_request_error"
            )
        return openai.error(404, f"There is no {request.path} here", "invalid_request_error")

    def _health(self) -> Body:
        if self.behaviour.no_health:
            return openai.error(404, "There is no /health here", "invalid_request_error")
        return Body(data=b"")

    def _models(self) -> Body:
        if self.behaviour.no_models:
            return openai.error(500, "The list of models is not available", "server_error")
        model = {"id": self.behaviour.model, "object": "model", "created": 0, "owned_by": SERVER}
        return Body(data=msgspec.json.encode({"object": "list", "data": [model]}))

    def _version(self) -> Body:
        version = self.behaviour.reported_version or pytest_bench.__version__
        return Body(data=msgspec.json.encode({"version": version, "server": SERVER}))

    def _metrics(self) -> Body:
        lines = [
            *_metric(
                "requests_in_flight",
                "gauge",
                "requests that have arrived and not ended",
                self.slots.in_flight,
            ),
            *_metric(
                "requests_waiting", "gauge", "requests in flight that wait for a slot", self.slots.waiting
            ),
            *_metric(
                "requests_in_flight_peak",
                "gauge",
                "highest number of requests in flight so far",
                self.slots.peak,
            ),
            *_metric("requests_total", "counter", "requests for output that arrived", self.requests),
            *_metric(
                "requests_ended_total", "counter", "requests for output that ended", self._totals["ended"]
            ),
            *_metric(
                "requests_cached_total", "counter", "requests answered from the cache", self._totals["cached"]
            ),
            *_metric("output_tokens_total", "counter", "output tokens written", self._totals["tokens"]),
            "# HELP simulator_faults_total requests with an injected fault",
            "# TYPE simulator_faults_total counter",
            *(
                f'simulator_faults_total{{fault="{name}"}} {count}'
                for name, count in sorted(self._faults.items())
            ),
            *self._lag.lines(),
        ]
        return Body(data="\n".join((*lines, "")).encode(), content_type="text/plain; version=0.0.4")

    def _reset_cache(self) -> Body:
        forgotten = len(self._seen)
        self._seen.clear()
        return Body(data=msgspec.json.encode({"forgotten": forgotten}))


def _script(request: Request, reply: Reply, behaviour: Behaviour, framings: frozenset[str]) -> Script:
    request_id = request.headers.get("x-request-id", "")
    return compose(reply, behaviour, framings, request_id=request_id, keep_alive=request.keep_alive)


def _metric(name: str, kind: str, meaning: str, value: int) -> list[str]:
    full = f"simulator_{name}"
    return [f"# HELP {full} {meaning}", f"# TYPE {full} {kind}", f"{full} {value}"]
