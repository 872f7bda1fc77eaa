"""`python -m benchmarks.tokens_paired REVISION`: compare the speed of counting tokens with another revision, in pairs.

The revision is checked out into a git worktree (`.bench/revisions`). In each trial, a new process of each revision
counts the same texts in turn, in random order, so other load on the machine affects both alike. The processes are new
because two processes of one revision also differ, by their memory layout. Printed for each work: the median ratio of
the rates (working tree / revision) over the trials, by wall time and by CPU time of all processes, and the 95 %
interval of its geometric mean, by Student's t on the logarithms of the trials' ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.process import BENCH
from benchmarks.tokens import HOME, SHAPES, Corpus, fetch_tokenizer, write_log
from pytest_bench.errors import BenchError, UsageError
from pytest_bench.metrics.intervals import of_mean

ROOT = Path(__file__).resolve().parent.parent
PHASE_REQUESTS = 5_000
BAR = 0.9
"""The interval of the ratio must lie above it: no loss over 10 %."""

# Runs under either revision, so it uses only what both have.
CHILD = """
import json, os, sys, time
from pathlib import Path
from pytest_bench.tokens.counting import count_phase
from pytest_bench.tokens.pool import TokenizerPool
from pytest_bench.tokens.source import resolve

def cpu_s():
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in [os.getpid(), *pool.pids])

with TokenizerPool() as pool:
    source = resolve(sys.argv[1])
    tokenizers = {name: pool.load(source, backend=name) for name in ("fastokens", "tokenizers")}
    print("{}", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        tokenizer = tokenizers[asked["backend"]]
        cpu = cpu_s()
        if "log" in asked:
            output = Path(asked["log"] + ".counts")
            result = count_phase(tokenizer, output.parent, texts=[Path(asked["log"])], output=output)
            output.unlink()
            seconds, tokens = result.elapsed_ns / 1e9, result.output_tokens
        else:
            texts = json.loads(Path(asked["texts"]).read_text())
            start = time.perf_counter()
            tokens = sum(tokenizer.count(texts))
            seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "cpu_s": cpu_s() - cpu, "tokens": tokens}), flush=True)
"""


class Revision:
    """A process that counts with the package in `root`."""

    def __init__(self, name: str, root: Path, tokenizer: Path) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", CHILD, str(tokenizer)],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def measure(self, asked: dict[str, str]) -> dict[str, float]:
        """`seconds`, `cpu_s` and `tokens` of one piece of work. Raises `BenchError` if the process has ended."""
        if self._process.stdin is None:
            raise BenchError(f"{self.name}: has no input")
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return self._read()

    def end(self) -> None:
        self._process.communicate()

    def _read(self) -> dict[str, float]:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise BenchError(f"{self.name}: ended with status {self._process.wait()}")
        answer: dict[str, float] = json.loads(line)
        return answer


@contextlib.contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """A git worktree of `revision`, removed afterwards. Raises `UsageError` for an unknown revision."""
    folder = BENCH / "revisions" / revision.replace("/", "-")
    command = ["git", "-C", str(ROOT), "worktree"]
    done = subprocess.run(
        [*command, "add", "--force", "--detach", str(folder), revision],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise UsageError(f"{revision}: cannot be checked out: {done.stderr.strip()[-400:]}")
    try:
        yield folder
    finally:
        subprocess.run([*command, "remove", "--force", str(folder)], check=True, capture_output=True)


def pairs_of(works: list[str], count: int, folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """`count` pieces of every work, each with texts of its own, works in turn."""
    corpus = Corpus(seed=random.randrange(1 << 30))  # noqa: S311 # texts, not secrets
    for _ in range(count):
        for work in works:
            shape, _, backend = work.partition(" ")
            if shape == "phase":
                path = folder / "texts.0.jsonl"
                write_log(path, corpus, PHASE_REQUESTS)
                yield work, {"log": str(path), "backend": backend}
            else:
                path = folder / "texts.json"
                path.write_text(json.dumps(corpus.texts(*SHAPES[shape])))
                yield work, {"texts": str(path), "backend": backend}


def compare(
    old: Revision, new: Revision, pieces: Iterator[tuple[str, dict[str, str]]], warm: int
) -> dict[str, float]:
    """Geometric mean of the ratios of the rates (new / old) by work, without the first `warm` pieces."""
    ratios: dict[str, list[float]] = {}
    for number, (work, asked) in enumerate(pieces):
        found = {side.name: side.measure(asked) for side in random.sample([old, new], 2)}
        before, after = found[old.name], found[new.name]
        if before["tokens"] != after["tokens"]:
            raise BenchError(f"{work}: the revisions count differently: {found}")
        if number >= warm:
            for name, unit in (("", "seconds"), (", by CPU time", "cpu_s")):
                ratios.setdefault(f"{work}{name}", []).append(before[unit] / after[unit])
    return {work: statistics.geometric_mean(values) for work, values in ratios.items()}


def interval(ratios: list[float], confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the geometric mean. Raises `UsageError` for fewer than two ratios."""
    found = of_mean(np.log(ratios), confidence)
    if found is None:
        raise UsageError("two trials or more are needed")
    return math.exp(found[0]), math.exp(found[1])


def main() -> int:
    works = ["long fastokens", "short fastokens", "phase fastokens", "long tokenizers"]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tokens_paired", description=__doc__)
    parser.add_argument("revision", help="what to compare the working tree with, such as HEAD~1")
    parser.add_argument("--trials", type=int, default=10, metavar="N", help="number of trials (default 10)")
    parser.add_argument(
        "--pairs", type=int, default=3, metavar="N", help="pairs of each work in a trial (default 3)"
    )
    parser.add_argument("--only", action="append", choices=works, help="this work alone; may be repeated")
    options = parser.parse_args()
    wanted = options.only or works
    tokenizer = fetch_tokenizer()
    ratios: dict[str, list[float]] = {}
    with checked_out(options.revision) as root, tempfile.TemporaryDirectory(dir=HOME) as folder:
        for _ in range(options.trials):
            old, new = Revision(options.revision, root, tokenizer), Revision("working tree", ROOT, tokenizer)
            pieces = pairs_of(wanted, options.pairs + 1, Path(folder))
            for work, ratio in compare(old, new, pieces, warm=len(wanted)).items():
                ratios.setdefault(work, []).append(ratio)
            old.end()
            new.end()
    print(f"{platform.platform()}, {len(os.sched_getaffinity(0))} cores; working tree / {options.revision}")
    held = True
    for work, values in ratios.items():
        low, high = interval(values)
        held = held and low > BAR
        print(
            f"{work:32} {len(values)} trials, median {statistics.median(values):.3f}, "
            f"95 % interval {low:.3f} to {high:.3f}, {'above' if low > BAR else 'NOT above'} {BAR}"
        )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
