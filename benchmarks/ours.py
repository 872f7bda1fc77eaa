"""The load engine as one of the clients: a separate process that runs one phase and ends.

    python -m benchmarks.ours FOLDER URL WORKERS SEED LOAD [TOKENIZER LANE]

LOAD is a `workload.Load` as JSON. The logs land in FOLDER, where `load.log.read_records` reads them. With a TOKENIZER
texts are counted afterwards, and by a live lane of LANE workers meanwhile; what came of it lands in `counting.json`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from benchmarks.server import EVENTS
from pytest_bench.api import BUILTIN, Generation
from pytest_bench.api.openai_chat import OpenAIChat
from pytest_bench.errors import LoadError
from pytest_bench.load import bodies, engine
from pytest_bench.records import PhaseResult
from pytest_bench.tokens.counting import count_phase
from pytest_bench.tokens.live import lane_beside
from pytest_bench.tokens.pool import TokenizerPool
from pytest_bench.tokens.source import resolve
from pytest_bench.workload import Load, PhaseSpec, RunSpec, SampleOrder, Target

MODEL = "mock"
PROMPTS = 256
"""Distinct requests, each about twenty words long."""

COUNTING = "counting.json"


def command(
    url: str,
    folder: Path,
    load: Load,
    *,
    workers: int = 1,
    seed: int = 0,
    tokenizer: Path | None = None,
    lane: int = 0,
) -> list[str]:
    """The command line that drives `load` against `url` and leaves its records in `folder`."""
    arguments = [str(folder), url, str(workers), str(seed), msgspec.json.encode(load).decode()]
    counting = [] if tokenizer is None else [str(tokenizer), str(lane)]
    return [sys.executable, "-m", "benchmarks.ours", *arguments, *counting]


def closed_loop(url: str, connections: int, requests: int, folder: Path) -> list[str]:
    """`requests` with `connections` in flight, one load worker, texts kept."""
    load = Load(pattern="concurrency", concurrency=connections, requests=requests)
    return command(url, folder, load)


def main() -> None:
    folder, url, workers, seed, load, *counting = sys.argv[1:]
    parts = urlsplit(url)
    generation = Generation(model=MODEL, parameters={"max_tokens": EVENTS})
    prompts = (f"prompt {number}:" + " word" * 20 for number in range(PROMPTS))
    body_file = Path(folder) / "bodies.bin"
    bodies.write(body_file, (OpenAIChat.encode({"prompt": prompt}, generation) for prompt in prompts))
    target = Target(
        url=url,
        address=parts.hostname or "",
        port=parts.port or 80,
        host=parts.netloc,
        path=OpenAIChat.path,
    )
    phase = PhaseSpec(
        label="measured",
        load=msgspec.json.decode(load, type=Load),
        samples=SampleOrder(count=PROMPTS, seed=int(seed)),
        folder=folder,
        arrival_seed=int(seed),
    )
    spec = RunSpec(
        point="benchmarks/perf/engine",
        nonce="benchmark",
        api=BUILTIN["openai-chat"],
        streaming=True,
        targets=(target,),
        bodies=str(body_file),
        phases=(phase,),
        workers=int(workers),
    )
    if counting:
        result = drive_and_count(spec, Path(counting[0]), int(counting[1]))
    else:
        (result,) = engine.run(spec)
    if not result.complete or result.failed:
        raise LoadError(f"{folder}: {result.failed} of {result.issued} requests failed: {result.failures}")


def drive_and_count(spec: RunSpec, file: Path, workers: int) -> PhaseResult:
    """Drive `spec` with a live lane of `workers` behind it, none where that is 0, and count what it left."""
    folder = Path(spec.phases[0].folder)
    with TokenizerPool() as pool:
        tokenizer = pool.load(resolve(str(file)))
        live = None
        if workers:
            with lane_beside(tokenizer, folder, workers=workers, load_workers=spec.workers) as lane:
                (result,) = engine.run(msgspec.structs.replace(spec, cpus=lane.load_cpus))
                live = lane.finish()
        else:
            (result,) = engine.run(spec)
        counted = count_phase(tokenizer, folder, live=live)
    (folder / COUNTING).write_bytes(msgspec.json.encode(counted))
    return result


if __name__ == "__main__":
    main()
