"""A process that runs an eval's requests against its parent and writes their checkpoint, to be killed.

    python writer_process.py PATH ITEMS CONCURRENCY SEED

Prints a line before each request (`issue KEY`), after each line that is durable (`durable COUNT`), once the
checkpoint is open (`open KEPT`), and at the end (`end`). A request ends when its turn comes, in random order.
"""

import queue
import random
import sys
import time
from pathlib import Path

from pytest_bench.checkpoints import Generation, Key, decide, open_checkpoint


def generation(concurrency, **changes):
    fields = {
        "items": "i",
        "prompts": "p",
        "few_shots": "f",
        "parameters": "{}",
        "seed": 1,
        "model": "m",
        "revision": None,
        "repeats": 1,
        "concurrency": concurrency,
    }
    return Generation(**{**fields, **changes})


def keys_of(items, concurrency, repeats=1):
    return [
        Key(item=str(number), content=f"hash-{number}", repeat=repeat, concurrency=concurrency)
        for repeat in range(repeats)
        for number in range(items)
    ]


def report(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main():
    path, items, concurrency, seed = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    choose = random.Random(seed)
    written = queue.SimpleQueue()
    with open_checkpoint(path) as checkpoint:
        asked = generation(concurrency)
        decision = decide(checkpoint.contents, "p", asked, {"s": "1"}, keys_of(items, concurrency))
        report("open", decision.kept)
        writer = checkpoint.writer(on_written=written.put, on_durable=lambda count: report("durable", count))
        if decision.fresh:
            writer.append("header", {"log": "checkpoint", "point": "p", "generation": asked})
        session = {"nonce": str(seed), "repeats": 1, "scoring": {"s": "1"}, "started_ns": time.time_ns()}
        start = writer.append("session", session)
        while written.get() <= start:
            pass
        pending, in_flight, appended, unwritten = list(decision.pending), [], start + 1, 0
        while pending or in_flight or unwritten:
            while pending and len(in_flight) + unwritten < concurrency:
                key = pending.pop(0)
                report("issue", key.item)
                in_flight.append(key)
            if in_flight:
                key = in_flight.pop(choose.randrange(len(in_flight)))
                appended = writer.append("result", {"answer": key.item * choose.randrange(1, 200)}, key) + 1
                unwritten += 1
            while unwritten and (not written.empty() or not in_flight):
                unwritten = appended - written.get()  # several lines may be written before one call
        writer.append("end", {"results": items})
        writer.close()
        if writer.fault:
            sys.exit(writer.fault)
    report("end")


if __name__ == "__main__":
    main()
