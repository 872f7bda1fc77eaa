"""What the how-to pages show works when it is copied."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from http_servers import Handler, serving

PAGES = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"^```\w+\n# (bench/\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

TEST_PERF = """
import pytest


@pytest.mark.points("perf")
def test_perf(run_load):
    run_load().require()
"""


class Acme(Handler):
    """The server that the page supposes, with streams long enough for the fast road."""

    def get(self):
        self.reply(200 if self.path == "/health" else 404)

    def post(self):
        asked = json.loads(self.body())
        words = [f" word{number}" for number in range(asked["length"])]
        end = {"end": "length", "tokens": len(words)}
        if asked["stream"]:
            events = [*({"delta": word} for word in words), end]
            lines = (json.dumps(event, separators=(",", ":")) for event in events)
            self.reply(200, "".join(f"data: {line}\n\n" for line in lines).encode(), "text/event-stream")
        else:
            self.reply(200, json.dumps({"delta": "".join(words), **end}).encode())


@pytest.fixture
def acme():
    with serving(Acme) as url:
        yield url


@pytest.fixture
def written(tmp_path):
    """A folder `bench/` with the files of the page about APIs."""
    text = (PAGES / "how-to" / "add-an-api.md").read_text()
    prompts = "".join(json.dumps({"prompt": f"Tell me about {number}."}) + "\n" for number in range(20))
    files = {
        **dict(BLOCK.findall(text)),
        "bench/test_perf.py": TEST_PERF,
        "bench/data/prompts.jsonl": prompts,
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    return tmp_path


def call(folder, *words, **environ):
    (folder / "runtime").mkdir(mode=0o700, exist_ok=True)
    environ = {**os.environ, "PYTEST_BENCH_LEASES": str(folder / "runtime"), **environ}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )


def test_the_api_that_the_page_adds_is_measured(written, acme):
    suite = written / "bench/acme.yaml"  # on a machine that has other things to do as well
    suite.write_text(suite.read_text().rstrip() + "\n    budget: {vacancy: 1, achieved_share: 0.01}\n")
    done = call(written, "pytest", "bench", "--results=out", ACME_ENDPOINT=acme)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((written / "out/points/acme/perf/steady/summary.json").read_text())
    assert summary["measurement"]["succeeded"] == 20
    assert summary["measurement"]["metrics"]["server_output_tokens"]["statistics"]["mean"] == 16
    log = written / "out/points/acme/perf/steady/phases/measured/texts.0.jsonl"
    texts = {record.get("content") for record in map(json.loads, log.read_text().splitlines()[1:-1])}
    assert texts == {"".join(f" word{number}" for number in range(16))}
