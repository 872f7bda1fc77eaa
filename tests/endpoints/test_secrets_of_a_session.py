"""A server that repeats its key everywhere, in every spelling: a session on it writes the key nowhere."""

import itertools
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from spellings import SPELLINGS

KEY = 'sk-a/b+c=d&e"f<g>\\h'

SUITE = """
suite: echo
deployment:
  api: {api}
  model: m
  api_key: {{from_env: ECHO_KEY}}
  query: {{version: "1", echo: {{from_env: ECHO_KEY}}}}
  generation: {{stream: {stream}, max_tokens: 4}}
  ready_timeout_s: 5
datasets: {{prompts: {{path: prompts.jsonl}}}}
perf:
  p:
    dataset: prompts
    load: {{pattern: concurrency, concurrency: 2, requests: 120}}
    texts: keep
    budget: {{vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1, achieved_share: 0.01}}
"""

TEST_POINTS = """
import pytest


@pytest.mark.points("perf")
def test_perf(run_load, endpoint):
    run_load().require()
"""

TEST_OTHER = """
import os


def test_that_shows_what_it_holds():
    held = os.environ["ECHO_KEY"]
    print("printed", held)
    assert held == "another"
"""


class Echo(BaseHTTPRequestHandler):
    """Puts the key into every part of its answers, each time in another spelling."""

    spellings = itertools.cycle(SPELLINGS.values())
    sys_version = ""
    ready = True

    def version_string(self):
        return f"echo {KEY}"

    def spelled(self):
        return next(type(self).spellings)(KEY)

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/v1/models":
            names = ["m", *(spelling(KEY) for spelling in SPELLINGS.values())]
            self.reply(200, json.dumps({"data": [{"id": name} for name in names]}))
        elif path == "/version":
            self.reply(200, json.dumps({"version": KEY}))
        elif path == "/metrics":
            lines = [f'a{{n="{n}",key="{KEY.encode().hex()}"}} 1' for n in range(2)]
            lines += [f"# HELP a {spelling(KEY)}" for spelling in SPELLINGS.values()]
            self.reply(200, "\n".join([*lines, ""]), "text/plain")
        else:
            self.reply(200 if self.ready else 503, self.spelled())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = len(self.spelled()) % 5 if body.get("max_tokens") != 1 else 0
        text = self.spelled()
        if kind == 1:
            self.reply(500, json.dumps({"error": {"message": f"bad key {text}"}}))
        elif kind == 2:
            self.reply(307, "", location=f"http://elsewhere/{KEY}")
        elif body["stream"]:
            pieces = [text[: len(text) // 2], text[len(text) // 2 :], f" {self.spelled()} "]
            chunks = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
            chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": f"stop {self.spelled()}"}]})
            if kind == 3:
                chunks.append({"error": {"message": text, "type": KEY}})
            events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
            self.reply(200, events + "data: [DONE]\n\n", "text/event-stream")
        else:
            message = {"role": "assistant", "content": text, "reasoning_content": self.spelled()}
            self.reply(
                200, json.dumps({"choices": [{"message": message, "finish_reason": "stop"}], "x": KEY})
            )

    def reply(self, status, text, content_type="application/json", location=None):
        data = text.encode()
        self.send_response(status, f"Reason {KEY}")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", content_type)
        self.send_header("X-Echo", KEY)
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def echo():
    """Starts the server; `ready` says whether /health does."""
    started = []

    def start(*, ready):
        handler = type("Echo", (Echo,), {"ready": ready})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        started.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in started:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def session(tmp_path):
    def run(url, *options, stream):
        bench = tmp_path / "bench"
        bench.mkdir()
        (bench / "echo.yaml").write_text(SUITE.format(api="openai-chat", stream=str(stream).lower()))
        (bench / "prompts.jsonl").write_text('{"prompt": "Hi"}\n' * 200)
        (bench / "test_perf.py").write_text(TEST_POINTS)
        (bench / "test_other.py").write_text(TEST_OTHER)
        (bench / "pytest.ini").write_text("[pytest]\n")
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        command = [
            *(sys.executable, "-m", "pytest", ".", f"--endpoint={url}", "--results=results"),
            *("--showlocals", "-rA", "--log-level=DEBUG", "--log-cli-level=DEBUG", "--log-file=pytest.log"),
            *("--junitxml=junit.xml", "-p", "no:cacheprovider", *options),
        ]
        ran = subprocess.run(
            command,
            cwd=bench,
            env={**environ, "ECHO_KEY": KEY, "PYTEST_BENCH_LEASES": str(tmp_path / "leases")},
            capture_output=True,
            check=False,
        )
        return SimpleNamespace(
            status=ran.returncode,
            output=ran.stdout + ran.stderr,
            folder=bench,
            verdict=json.loads((bench / "results" / "verdict.json").read_text()),
        )

    return run


def verified(folder):
    """The verdict that `verify` comes to, if it finds nothing wrong with the files."""
    command = [Path(sys.executable).with_name("pytest-bench"), "verify", "results", "--output=verified.json"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert [line for line in (ran.stdout + ran.stderr).splitlines() if line.startswith("results")] == []
    return json.loads((folder / "verified.json").read_text())["status"]


def leaks(session):
    """Where the key stands, and in which spelling."""
    written = {str(path): path.read_bytes() for path in Path(session.folder).rglob("*") if path.is_file()}
    return [
        (name, spelling)
        for name, data in {**written, "the terminal": session.output}.items()
        for spelling, spell in SPELLINGS.items()
        if spell(KEY).encode() in data
    ]


@pytest.mark.parametrize("options", [[], ["-n1"]], ids=["in one process", "in xdist workers"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_key_that_a_server_repeats_is_written_nowhere(echo, session, options, stream):
    ran = session(echo(ready=True), *options, stream=stream)
    assert ran.status == 1
    assert list(ran.folder.rglob("requests.*.jsonl")), ran.output.decode()
    assert list(ran.folder.rglob("metrics.0.after.prom"))
    assert leaks(ran) == []
    assert b"***" in ran.output
    assert verified(ran.folder) == ran.verdict["status"]


def test_a_key_in_the_answers_of_a_server_that_is_not_ready_is_written_nowhere(echo, session):
    ran = session(echo(ready=False), stream=True)
    assert ran.status == 1
    assert leaks(ran) == []
