"""Ways to alter a session's results, by accident or deliberately."""

from __future__ import annotations

import hashlib
import json

from pytest_bench.files import readable_json
from pytest_bench.lines import encode_line
from pytest_bench.results.publish import write_verdict

STEADY = "points/small/perf/steady/c0001"
TWO = "points/small/perf/steady/c0002"
AUDIT = "points/small/audit/caching"
REQUESTS = "phases/measured/requests.0.jsonl"


def edit(path, change):
    """Alter what a JSON file holds, and write it as a session would."""
    content = json.loads(path.read_text())
    change(content)
    path.write_bytes(readable_json(content))


def edit_events(results, change, process="main"):
    """Alter the events of a process, a list."""
    edit_lines(results / "events" / f"{process}.jsonl", change)


def reseal(results):
    """Let the verdict and the JUnit file say what the other files amount to now."""
    write_verdict(results)


def tell(results, **fields):
    """Let the session say something else of its call, and everything else agree."""
    edit_events(results, lambda events: events[0].update(fields))
    reseal(results)


def edit_lines(path, change):
    """Alter the records of a log, a list, with header, checksums and end as they must be."""
    header, *lines = path.read_bytes().splitlines(keepends=True)
    *records, end = [json.loads(line) for line in lines]
    for record in (*records, end):
        del record["crc"]
    change(records)
    end["lines"] = len(records)
    path.write_bytes(header + b"".join(encode_line(_compact(record)) for record in [*records, end]))


def edit_report(path, **fields):
    """Let a load worker's report at the end of its request log say something else."""
    *lines, last = path.read_bytes().splitlines(keepends=True)
    end = json.loads(last)
    del end["crc"]
    end["report"] |= fields
    path.write_bytes(b"".join([*lines, encode_line(_compact(end))]))


def edit_header(path, **fields):
    """Let the header of a log say something else."""
    header, *rest = path.read_bytes().splitlines(keepends=True)
    content = json.loads(header) | fields
    del content["crc"]
    path.write_bytes(encode_line(_compact(content)) + b"".join(rest))


def relist(results, point):
    """Make evidence, verdict and JUnit file agree with what the point's files hold now."""
    folder = results / point

    def renew(evidence):
        for file in evidence["files"]:
            data = (folder / file["path"]).read_bytes()
            file |= {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    edit(folder / "evidence.json", renew)
    reseal(results)


def _compact(value):
    return json.dumps(value, separators=(",", ":")).encode()
