r"""The checkpoint of an eval: one append-only log per point that a killed session continues.

    {"v":1,"seq":0,"kind":"header","payload":{"log":"checkpoint","point":"…","generation":{…}},"crc":…}
    {"v":1,"seq":1,"kind":"session","payload":{"nonce":"…","repeats":1,"scoring":{…},"started_ns":…},"crc":…}
    {"v":1,"seq":2,"kind":"result","key":{"item":"1","content":"…","repeat":0,"concurrency":8},"payload":{…},"crc":…}
    {"v":1,"seq":3,"kind":"error","key":{…},"payload":{…},"crc":…}
    {"v":1,"seq":4,"kind":"score","key":{…},"payload":{…},"crc":…}
    {"v":1,"seq":5,"kind":"end","payload":{"results":1},"crc":…}

Others use `open_checkpoint` and `CheckpointWriter` (writing), `read_checkpoint` (reading without the lock),
`decide` (resume rules, pure) and the structs of `line`. Inside: `line` (the format), `contents` (what a log may
hold and in which order), `opening` (lock and repair), `writer` (sync policy), `resume`.

The log is the request log of the point, not a second copy of it: `payload` of a `result` holds the request record
and its text together, so that one line makes a request complete. docs/explanation/eval-checkpoints.md says how a
load worker writes it.
"""

from pytest_bench.checkpoints.contents import Contents, Session, read_checkpoint
from pytest_bench.checkpoints.line import CHECKPOINT_VERSION, Key, Line
from pytest_bench.checkpoints.opening import OpenCheckpoint, open_checkpoint
from pytest_bench.checkpoints.resume import Decision, Generation, decide
from pytest_bench.checkpoints.writer import CheckpointWriter, Sync

__all__ = [
    "CHECKPOINT_VERSION",
    "CheckpointWriter",
    "Contents",
    "Decision",
    "Generation",
    "Key",
    "Line",
    "OpenCheckpoint",
    "Session",
    "Sync",
    "decide",
    "open_checkpoint",
    "read_checkpoint",
]
