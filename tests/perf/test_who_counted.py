"""Whose count of tokens a point uses, end to end: what its summary, labels and table say, and `verify` after it."""

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from points_in_process import plan_of, session_of

from pytest_bench.perf.remeasure import remeasure
from pytest_bench.reports.tables import Row, render, tables
from pytest_bench.tokens.pool import TokenizerPool
from pytest_bench.verdict.verdict import PointVerdict

SIMULATED = Path(__file__).parents[2] / "suites" / "simulated"

SUITE = """
suite: s
deployment:
  api: {api}
  model: m
  endpoint: {url}
  generation: {{max_tokens: 8, stream: false{generation}}}
  tokens: {{{tokens}}}
datasets: {{prompts: {{path: prompts.jsonl}}}}
perf:
  p:
    dataset: prompts
    load: {{pattern: concurrency, concurrency: 1, requests: 4}}
    budget: {{vacancy: 1, schedule_lateness_ms: 60000, cpu_share: 1, achieved_share: 0.01}}
"""
TEXT = "bal bel bil bol bal bel"
"""Six tokens of the simulator's tokenizer."""


class Server(ThreadingHTTPServer):
    """Answers every prompt with `TEXT`, and says in its usage what a test wants."""

    def __init__(self, usage, tokenize=None):
        server = self
        self.usage = usage
        self.asked = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.answer({"object": "list", "data": [{"id": "m", "object": "model"}]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/tokenize":
                    server.asked.append(body)
                    if tokenize is None:
                        self.send_error(404)
                    else:
                        self.answer({"count": tokenize, "tokens": [1] * tokenize})
                    return
                said = (
                    {"message": {"role": "assistant", "content": TEXT}}
                    if "messages" in body
                    else {"text": TEXT}
                )
                answer = {"choices": [{"index": 0, "finish_reason": "length", **said}]}
                self.answer(answer | ({} if server.usage is None else {"usage": server.usage}))

            def answer(self, value):
                data = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.daemon_threads = True

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture(scope="module")
def pool():
    with TokenizerPool(workers=1) as pool:
        yield pool


@pytest.fixture
def measured(tmp_path, pool):
    """Measures the point against a server with that usage, checks that `verify` agrees, and returns its summary."""

    def run(usage, *, api="openai-completions", generation="", tokens="", tokenize=None):
        (tmp_path / "prompts.jsonl").write_text(
            "\n".join(json.dumps({"prompt": f"say {n}"}) for n in range(4))
        )
        server = Server(usage, tokenize)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            plan = plan_of(
                tmp_path, SUITE.format(api=api, url=server.url, generation=generation, tokens=tokens)
            )
            with session_of(plan, tmp_path, pool) as session:
                point = session.perf(plan.points[0].name)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
        measurement, judgement = remeasure(plan, point.point, point.folder, point.summary, tmp_path)
        assert measurement == point.summary.measurement
        assert judgement.labels == point.summary.judgement.labels
        return point.summary, server

    return run


def usage(prompt, completion):
    return {"prompt_tokens": prompt, "completion_tokens": completion}


def labels_about_tokens(summary):
    others = ("unbounded", "budget-relaxed")
    return [label for label in summary.judgement.labels if label not in others]


def table(summary):
    point = PointVerdict(
        id=summary.point, outcome=summary.judgement.outcome, labels=summary.judgement.labels, reasons=()
    )
    (shown,) = tables([Row(point, summary)])
    return "\n".join(render(shown, colour=False))


def test_without_a_tokenizer_the_servers_usage_counts_and_the_point_is_labelled(measured):
    summary, server = measured(usage(5, 8))
    assert summary.measurement.value("output_tokens.mean") == 8
    assert summary.measurement.value("input_tokens.mean") == 5
    assert labels_about_tokens(summary) == ["server-counted"]
    assert "usage" in table(summary)
    assert server.asked == []


def test_input_lengths_missing_in_usage_are_requested_from_the_server(measured):
    summary, server = measured(usage(None, 8), tokenize=11)
    assert (summary.measurement.token_source.output, summary.measurement.token_source.input) == (
        "usage",
        "tokenize",
    )
    assert summary.measurement.value("input_tokens.mean") == 11
    assert {"model": "m", "prompt": "say 0"} in server.asked
    assert len(server.asked) == 4


def test_a_server_that_counts_nothing_leaves_token_metrics_null(measured):
    summary, _ = measured(None)
    assert summary.measurement.reason("output_token_throughput") == (
        "no tokenizer was found, and the server reports no usage"
    )
    assert "POST /tokenize: 404" in summary.tokenizer["inputs"]
    assert labels_about_tokens(summary) == []


def test_tokens_that_the_text_does_not_show_count_under_ignore_eos(measured):
    summary, _ = measured(usage(2, 8), generation=", ignore_eos: true", tokens=f"tokenizer: {SIMULATED}")
    assert summary.measurement.value("output_tokens.mean") == 8
    assert labels_about_tokens(summary) == ["server-counted"]
    assert "usage (tokenizer -25%)" in table(summary)


def test_a_count_that_the_server_does_not_share_is_labelled(measured):
    summary, _ = measured(usage(2, 8), tokens=f"tokenizer: {SIMULATED}")
    assert summary.measurement.value("output_tokens.mean") == 6
    assert summary.measurement.value("token_count_mean_difference") == 0.25
    assert labels_about_tokens(summary) == ["token-mismatch"]
    assert "tokenizer (usage +33%)" in table(summary)


def test_counts_that_agree_need_no_label(measured):
    summary, _ = measured(usage(2, 6), tokens=f"tokenizer: {SIMULATED}")
    assert labels_about_tokens(summary) == []
    assert "both" in table(summary)


def test_the_suite_can_select_usage_even_with_a_tokenizer(measured):
    summary, _ = measured(usage(2, 8), tokens=f"tokenizer: {SIMULATED}, count: usage")
    assert summary.measurement.value("output_tokens.mean") == 8
    assert summary.tokenizer["counted"] == 4


def test_a_chat_counted_without_a_template_is_labelled(measured, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(SIMULATED / "tokenizer.json", bare)
    summary, _ = measured(usage(12, 6), api="openai-chat", tokens=f"tokenizer: {bare}")
    assert labels_about_tokens(summary) == ["no-template"]
    assert "no chat template" in summary.tokenizer["input_rule"]
    assert summary.measurement.value("input_tokens.max") < 12


def test_a_chat_counted_through_its_template_is_not(measured):
    summary, _ = measured(usage(12, 6), api="openai-chat", tokens=f"tokenizer: {SIMULATED}")
    assert labels_about_tokens(summary) == []
