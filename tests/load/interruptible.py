"""A process that drives a load until it is interrupted, as pytest does.

Arguments: folder, endpoint, number of load workers, concurrency. Prints the pids of its load workers, then progress.
"""

import os
import signal
import sys
from pathlib import Path

import msgspec
from driving import SAMPLES, Driver, workers_of

from pytest_bench.api import Generation
from pytest_bench.api.openai_chat import OpenAIChat
from pytest_bench.errors import BenchError
from pytest_bench.load import bodies, engine
from pytest_bench.workload import Load


def interrupt(_number, _frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt("SIGTERM")


signal.signal(signal.SIGTERM, interrupt)
folder, url, workers, concurrency = sys.argv[1:]
spec, _ = Driver(Path(folder)).spec(
    url,
    Load(pattern="concurrency", concurrency=int(concurrency), duration_s=60.0),
    workers=int(workers),
    knobs={"ttft_ms": 20, "fault": "stall=0.05"},
)


def show(progress):
    if progress.succeeded > 20:
        print(*workers_of(os.getpid()), flush=True)


rows = ({"prompt": str(number)} for number in range(SAMPLES))
encoded = (OpenAIChat.encode(row, Generation(model="simulated", stream=True)) for row in rows)
try:
    with bodies.anonymous(encoded) as path:
        engine.run(msgspec.structs.replace(spec, bodies=path), show)
except KeyboardInterrupt:
    sys.exit(130)
except BenchError as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.exit(1)
