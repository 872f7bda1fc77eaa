"""Ways to alter a session's results, as an accident would, or as somebody would who wants them to verify."""

from __future__ import annotations

import hashlib
import json

from pytest_bench.lines import encode_line

STEADY = "points/small/perf/steady/c0001"
TWO = "points/small/perf/steady/c0002"
AUDIT = "points/small/audit/caching"
REQUESTS = "phases/measured/requests.0.jsonl"


def edit(path, change):
    """Alter what a JSON file holds."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=2, sort_keys=True))


def tell(results, **facts):
    """Let ledger and verdict both say something else of the session."""
    edit(results / "ledger.json", lambda ledger: ledger["facts"].update(facts))
    digest = hashlib.sha256((results / "ledger.json").read_bytes()).hexdigest()
    edit(results / "verdict.json", lambda verdict: verdict.update(facts, ledger_digest=digest))


def edit_lines(path, change):
    """Alter the records of a log, a list, with header, checksums and end as they must be."""
    header, *lines, _ = path.read_bytes().splitlines(keepends=True)
    records = [json.loads(line) for line in lines]
    for record in records:
        del record["crc"]
    change(records)
    end = {"kind": "end", "lines": len(records)}
    path.write_bytes(header + b"".join(encode_line(_compact(record)) for record in [*records, end]))


def edit_header(path, **fields):
    """Let the header of a log say something else."""
    header, *rest = path.read_bytes().splitlines(keepends=True)
    content = json.loads(header) | fields
    del content["crc"]
    path.write_bytes(encode_line(_compact(content)) + b"".join(rest))


def relist(results, point):
    """Make evidence and verdict list what the point's files hold now."""
    folder = results / point

    def renew(evidence):
        for file in evidence["files"]:
            data = (folder / file["path"]).read_bytes()
            file |= {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    edit(folder / "evidence.json", renew)
    digest = hashlib.sha256((folder / "evidence.json").read_bytes()).hexdigest()

    def point_at_it(verdict):
        for item in verdict["points"]:
            if item["evidence"] == point:
                item["evidence_digest"] = digest

    edit(results / "verdict.json", point_at_it)


def _compact(value):
    return json.dumps(value, separators=(",", ":")).encode()
