"""Cost of a checkpoint: `python -m benchmarks.checkpoints [--records N] [--folder DIR]`.

Bars: 20 µs of CPU time per record at `group` on top of the request (the caller's and the writing thread's, encoding the
record included), and 2 s to open and resume 100,000 records.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks.figures import Table
from pytest_bench.checkpoints import CheckpointWriter, Generation, Key, Sync, decide, open_checkpoint
from pytest_bench.records import RequestRecord, TextRecord, Usage

TEXT = "There are 15 trees and 6 more are planted, so that there are 15 + 6 = 21 trees.\n" * 12 + "#### 21"
RECORDS = 100_000
BURST = 8
"""Records that complete together. The caller waits for them before the next ones, like an eval at this concurrency."""


def record(number: int) -> dict[str, object]:
    """A payload like that of a load worker, about 1.5 kB."""
    request_id = f"p-{number}"
    request = RequestRecord(
        seq=number,
        request_id=request_id,
        index=number,
        sample_index=number,
        send_start_ns=10**12 + number,
        request_sent_ns=10**12 + number + 1000,
        first_byte_ns=10**12 + number + 2000,
        end_ns=10**12 + number + 10**9,
        status=200,
        outcome="succeeded",
        finish_reason="stop",
        usage=Usage(input_tokens=900, output_tokens=300),
        response_bytes=4000,
    )
    return {"request": request, "text": TextRecord(request_id=request_id, sample_index=number, content=TEXT)}


def generation() -> Generation:
    return Generation(
        items="i",
        prompts="p",
        few_shots="f",
        parameters="{}",
        seed=0,
        model="m",
        revision=None,
        repeats=1,
        concurrency=BURST,
    )


def keys_of(count: int) -> list[Key]:
    return [Key(f"item-{number}", "0123456789abcdef", 0, BURST) for number in range(count)]


def write(path: Path, records: int, sync: Sync, burst: int) -> dict[str, float]:
    """Write a checkpoint and time it; all figures are microseconds per record."""
    keys = keys_of(records)
    payloads = [record(number) for number in range(records)]
    encode = msgspec.json.Encoder().encode
    began = time.process_time()
    for payload in payloads:
        encode(payload)
    encoding_s = time.process_time() - began
    awaited, wakeup = 2, os.eventfd(0, os.EFD_CLOEXEC)  # as a load worker is woken

    def written(lines: int) -> None:
        if lines >= awaited:
            os.eventfd_write(wakeup, 1)

    with open_checkpoint(path) as checkpoint:
        writer = CheckpointWriter(
            path, checkpoint.descriptor, lines=0, good_bytes=0, sync=sync, on_written=written
        )
        writer.append("header", {"log": "checkpoint", "point": "p", "generation": generation()})
        writer.append("session", {"nonce": "n", "repeats": 1, "scoring": {}, "started_ns": 1})
        os.eventfd_read(wakeup)
        append_ns = []
        cpu, wall = time.process_time(), time.perf_counter()
        for start in range(0, records, burst):
            awaited = 2 + min(start + burst, records)
            before = time.perf_counter_ns()
            for number in range(start, min(start + burst, records)):
                writer.append("result", payloads[number], keys[number])
            append_ns.append((time.perf_counter_ns() - before) / min(burst, records - start))
            os.eventfd_read(wakeup)
        writer.append("end", {"results": records})
        writer.close()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    os.close(wakeup)
    if writer.fault is not None:
        raise OSError(writer.fault)
    return {
        "CPU time": cpu / records * 1e6,
        "caller's time, median": statistics.median(append_ns) / 1e3,
        "CPU of encoding the record alone": encoding_s / records * 1e6,
        "wall time": wall / records * 1e6,
    }


def reopen(path: Path, records: int) -> tuple[float, float, float]:
    """Seconds to open the checkpoint, to resume it, and of CPU time.

    To resume: to decide what is left of `records` requests and ten more, to log the new session durably, and to read
    what that added, so that requests can be issued.
    """
    keys = keys_of(records + 10)
    began, cpu = time.perf_counter(), time.process_time()
    with open_checkpoint(path) as checkpoint:
        opened = time.perf_counter()
        decision = decide(checkpoint.contents, "p", generation(), {}, keys)
        writer = checkpoint.writer()
        writer.append("session", {"nonce": "n", "repeats": 1, "scoring": {}, "started_ns": 1})
        writer.close()
        sessions = len(checkpoint.reread().sessions)
        resumed = time.perf_counter()
    if (len(decision.pending), sessions) != (10, 2):
        raise ValueError(
            f"{len(decision.pending)} requests are pending in session {sessions}; expected 10 in 2"
        )
    return opened - began, resumed - opened, time.process_time() - cpu


def measure(table: Table, records: int) -> None:
    """One repetition: write a checkpoint at `group`, open it again, and resume it."""
    work = f"checkpoint of {records:,} records, sync group, {BURST} at a time"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.jsonl"
        figures = write(path, records, "group", BURST)
        opening_s, resuming_s, _ = reopen(path, records)
    for name, value in figures.items():
        table.add(work, f"{name}, per record", "µs", value, "<= 20" if name == "CPU time" else None)
    # the bar is for 100,000 records
    bar = "<= 2" if records == RECORDS else None
    table.add(work, "opened again and resumed", "s", opening_s + resuming_s, bar)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "checkpoint.jsonl"
        for sync, burst, records in (
            ("group", BURST, 20_000),
            ("group", 64, arguments.records),
            ("each", BURST, 500),
        ):
            path.unlink(missing_ok=True)
            figures = write(path, records, sync, burst)  # type: ignore[arg-type] # one of the two
            print(f"{records} records, sync {sync}, {burst} at a time:")
            for name, value in figures.items():
                print(f"  {name}: {value:.1f} µs per record")
            if records == arguments.records:
                opening_s, resuming_s, cpu_s = reopen(path, records)
                size = path.stat().st_size / 1e6
                print(
                    f"  opened again ({size:.0f} MB): {opening_s:.2f} s; resumed: {resuming_s:.2f} s; "
                    f"CPU time of both: {cpu_s:.2f} s"
                )


if __name__ == "__main__":
    main()
