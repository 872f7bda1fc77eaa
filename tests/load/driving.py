"""Runs the engine against a server, and returns results, records and what the server saw."""

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from pytest_bench.api import Generation
from pytest_bench.api.openai_chat import OpenAIChat
from pytest_bench.endpoints.address import parse_url, resolve
from pytest_bench.lines import LineReader
from pytest_bench.load import bodies, engine
from pytest_bench.load.log import read_records
from pytest_bench.load.supervisor import Progress
from pytest_bench.records import REQUESTS_VERSION, PhaseResult, RequestRecord, TextRecord
from pytest_bench.simulator import Simulator, Truth, read_truth
from pytest_bench.workload import HealthBudget, Load, PhaseSpec, RunSpec, SampleOrder, Target

SAMPLES = 64
PATIENT = HealthBudget(vacancy=1.0, schedule_lateness_ms=1e4, cpu_share=10.0, achieved_share=0.0)
"""Tests share their machine with others: only tests of the budget itself hold the client to one."""


@dataclass
class Driven:
    """One run: phases by label, and what the server saw of each."""

    folder: Path
    nonce: str
    results: list[PhaseResult] = field(default_factory=list)

    @property
    def result(self) -> PhaseResult:
        return self.results[-1]

    def records(self, label: str = "main") -> list[RequestRecord]:
        """In the order of issue."""
        return sorted(
            read_records(self.folder / label),
            key=lambda record: (record.send_start_ns, record.index),
        )

    def texts(self, label: str = "main") -> dict[str, TextRecord]:
        decode = msgspec.json.Decoder(TextRecord).decode
        found = [
            decode(line)
            for path in (self.folder / label).glob("texts.*.jsonl")
            for line in LineReader(path, "texts", REQUESTS_VERSION)
        ]
        return {text.request_id: text for text in found}

    def ids_by_worker(self, label: str = "main") -> list[set[str]]:
        """Ids of the requests in each load worker's log, which may have no end."""
        decode = msgspec.json.Decoder(RequestRecord).decode
        return [
            {decode(line).request_id for line in LineReader(path, "requests", REQUESTS_VERSION)}
            for path in sorted((self.folder / label).glob("requests.*.jsonl"))
        ]

    def errors(self) -> dict[str | None, int]:
        """Records by type of failure; None counts those that succeeded."""
        kinds = [record.error for record in self.records()]
        return {kind: kinds.count(kind) for kind in set(kinds)}


def phase(load: Load, label: str = "main", **fields) -> PhaseSpec:
    """A phase whose folder `drive` fills in."""
    samples = fields.pop("samples", SampleOrder(count=SAMPLES, order="sequential"))
    return PhaseSpec(label=label, load=load, samples=samples, folder="", **fields)


class Driver:
    """Runs each load in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs = 0

    def spec(
        self,
        urls: str | Sequence[str],
        *phases: PhaseSpec | Load,
        streaming: bool = True,
        max_tokens: int = 4,
        knobs: dict | None = None,
        targets: tuple[Target, ...] | None = None,
        api: type = OpenAIChat,
        padding: int = 0,
        **fields,
    ) -> tuple[RunSpec, Driven]:
        """What `engine.run` takes; `knobs` are of the simulator, for the requests of this run."""
        self.runs += 1
        folder = self.root / f"run{self.runs}"
        nonce = secrets.token_hex(4)
        specs = []
        for each in [each if isinstance(each, PhaseSpec) else phase(each) for each in phases]:
            (folder / each.label).mkdir(parents=True)
            specs.append(msgspec.structs.replace(each, folder=str(folder / each.label)))
        generation = Generation(model="simulated", stream=streaming, parameters={"max_tokens": max_tokens})
        rows = [{"prompt": f"{nonce} {number}"} for number in range(SAMPLES)]
        rows[0]["prompt"] += " long" * (padding // 5)
        bodies.write(folder / "bodies", [api.encode(row, generation) for row in rows])
        urls = [urls] if isinstance(urls, str) else urls
        headers = tuple(
            (f"X-Sim-{name.replace('_', '-')}", str(value)) for name, value in (knobs or {}).items()
        )
        fields.setdefault("budget", PATIENT)
        spec = RunSpec(
            point="suite/perf/point",
            nonce=nonce,
            api=f"{api.__module__}:{api.__qualname__}",
            streaming=streaming,
            targets=targets or tuple(resolve(parse_url(url), api.path) for url in urls),
            bodies=str(folder / "bodies"),
            phases=tuple(specs),
            headers=headers + fields.pop("headers", ()),
            **fields,
        )
        return spec, Driven(folder, nonce)

    def __call__(
        self,
        urls: str | Sequence[str],
        *phases: PhaseSpec | Load,
        on_progress: Callable[[Progress], None] | None = None,
        **fields,
    ) -> Driven:
        spec, driven = self.spec(urls, *phases, **fields)
        driven.results = engine.run(spec, on_progress)
        return driven


def truth_of(simulator: Simulator, driven: Driven) -> Truth:
    """What the simulator saw of one run, in order of arrival; only requests of this run are counted in."""
    deadline = time.monotonic() + 10
    while True:
        truth = read_truth(simulator.log)
        truth.records = [record for record in truth.records if record.request_id.startswith(driven.nonce)]
        # It writes a record when the request is over, which it may learn after the client.
        if len(truth.records) >= sum(result.issued for result in driven.results):
            truth.records.sort(key=lambda record: record.number)
            return truth
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(truth.records)} requests reached the simulator's log")
        time.sleep(0.01)


def workers_of(parent: int) -> list[int]:
    """Pids of the load workers that a process has started."""
    found = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"pytest_bench.load.worker" in command:
                found.append(child)
    return sorted(found)


def until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition never held")
        time.sleep(0.005)


def gone(pid: int) -> bool:
    """Whether a process has ended; one that only waits to be reaped has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread
