"""Common mistakes of users, and the messages for them."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack

import pytest
from http_servers import Handler, serving

from pytest_bench.simulator import Behaviour, start


@pytest.fixture
def answering():
    """Starts servers on loopback that answer everything with one status and body."""
    with ExitStack() as servers:

        def start_server(status: int, body: bytes = b"", content_type: str = "text/html") -> str:
            class Answering(Handler):
                def answer(self):
                    self.body()
                    self.reply(status, body, content_type)

                get = post = answer

            return servers.enter_context(serving(Answering))

        yield start_server


def reasons_of(ran) -> str:
    """Return the reasons for the first point in the verdict."""
    return " ".join(reason["sentence"] for reason in ran.verdict["points"][0]["reasons"])


def refused(folder, *args: str):
    ran = folder.run(*args)
    assert ran.status == 4, ran.output
    assert "Traceback" not in ran.output
    assert ran.verdict["refused"]
    assert set(ran.junit.values()) == {"error"}
    return ran


def test_no_endpoint_at_all_is_refused_and_offers_the_ways(folder, workers):
    folder.endpoint = ""
    ran = refused(folder, workers)
    assert "the deployment of suite 'tiny' has no endpoint" in ran.output
    assert "--endpoint=URL" in ran.output
    assert "--endpoint=simulator" in ran.output


def test_a_deployment_that_is_not_selected_needs_no_endpoint(folder):
    text = (folder.root / "bench/tiny.yaml").read_text()
    folder.write(
        "bench/other.yaml", text.replace("suite: tiny", "suite: other").replace("${ENDPOINT:-}", "${OTHER:-}")
    )
    folder.run("-n0", "-k", "tiny").require(0, "pass", one="pass", two="pass")


def test_an_unreachable_endpoint_is_an_error_that_names_it(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and not listening
        folder.endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        ran = folder.run("-n0")
    ran.require(1, "error", one="error", two="error")
    assert folder.endpoint in reasons_of(ran)
    assert "refused" in reasons_of(ran)


def test_an_endpoint_that_answers_404_is_an_error(folder, answering):
    folder.endpoint = answering(404)
    ran = folder.run("-n0", "-k", "one")
    ran.require(1, "error", one="error")
    assert "404" in reasons_of(ran)


def test_an_endpoint_that_wants_a_key_is_an_error_that_says_how_to_give_it(folder):
    folder.environ["SIM_KEY"] = "s3cret"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIM_KEY", "s3cret")
        with start(Behaviour(api_key_env="SIM_KEY")) as simulator:
            folder.endpoint = simulator.url
            ran = folder.run("-n0", "-k", "one")
            ran.require(1, "error", one="error")
            assert "401" in reasons_of(ran)
            assert "--api-key-env" in reasons_of(ran)
            ran = folder.run("-n0", "-k", "one", "--api-key-env", "SIM_KEY")
    ran.require(0, "pass", one="pass")
    written = b"".join(path.read_bytes() for path in ran.results.rglob("*") if path.is_file())
    assert b"s3cret" not in written
    assert "s3cret" not in ran.output


def test_a_server_that_does_not_serve_a_model_is_an_error(folder, answering):
    folder.endpoint = answering(200, b"<html>Welcome</html>")
    ran = folder.run("-n0", "-k", "one")
    ran.require(1, "error", one="error")
    assert "a web page" in reasons_of(ran)


def test_an_unknown_model_is_an_error_that_names_those_served(folder):
    ran = folder.run("-n0", "-k", "one", "--served-model", "simulatde")
    ran.require(1, "error", one="error")
    assert "simulatde" in reasons_of(ran)
    assert "simulated" in reasons_of(ran)


@pytest.mark.parametrize(("fault", "kind"), [("malformed", "malformed"), ("truncated", "truncated_stream")])
def test_broken_streams_fail_the_point_and_are_counted_by_their_type(folder, fault, kind):
    folder.edit("bench/tiny.yaml", "requests: 2}", "requests: 20}")
    with start(Behaviour(ttft_ms=1, itl_ms=0.1, output_tokens=3, fault={fault: 0.3}, seed=1)) as simulator:
        folder.endpoint = simulator.url
        ran = folder.run("-n0", "-k", "one")
    ran.require(1, "fail", one="fail")
    assert "failed_requests is " in reasons_of(ran)
    summary = json.loads((ran.results / "points/tiny/perf/one/summary.json").read_text())
    assert set(summary["measurement"]["failures"]) == {kind}


BAD_DATA = {
    "empty": (b"", "is empty"),
    "not JSON": (b'{"prompt": "a"}\n{"prompt"\n', "prompts.jsonl:2"),
    "no prompt": (b'{"prompt": "a"}\n{"text": "b"}\n', "prompts.jsonl:2"),
    "not UTF-8": (b'{"prompt": "a"}\n\xff\n', "prompts.jsonl"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_is_refused_before_anything_starts(folder, name):
    data, said = BAD_DATA[name]
    (folder.root / "bench/data/prompts.jsonl").write_bytes(data)
    folder.endpoint = "http://127.0.0.1:1"
    assert said in refused(folder, "-n0").output


def test_data_that_is_not_there_is_refused(folder):
    (folder.root / "bench/data/prompts.jsonl").unlink()
    assert "prompts.jsonl" in refused(folder, "-n2").output


def test_data_that_cannot_be_read_is_refused(folder):
    (folder.root / "bench/data/prompts.jsonl").unlink()
    (folder.root / "bench/data/prompts.jsonl").mkdir()
    assert "prompts.jsonl" in refused(folder).output


def test_two_suites_of_one_name_are_refused_with_both_places(folder):
    folder.write("bench/again.yaml", (folder.root / "bench/tiny.yaml").read_text())
    ran = refused(folder)
    assert "bench/again.yaml:2:" in ran.output
    assert "bench/tiny.yaml:2:" in ran.output


def test_all_problems_of_all_suites_are_reported_at_once(folder):
    folder.edit("bench/tiny.yaml", "requests: 2}", "requests: 0}")
    folder.write("bench/other.yaml", "suite: other\ndeployment: {api: nothing, model: m}\nperv: {}\n")
    ran = refused(folder)
    assert "5 problems in the suites" in ran.output
    assert "bench/other.yaml:3:1" in ran.output
    assert "did you mean 'perf'" in ran.output


def test_a_limit_that_compares_two_token_counts_is_refused_if_there_is_no_tokenizer(folder, workers):
    folder.edit(
        "bench/tiny.yaml",
        '    bounds: {request_latency.p99: "<= 60s"}',
        '    bounds: {token_count_mean_difference: "<= 1%"}',
    )
    ran = refused(folder, workers)
    assert "bench/tiny.yaml:18:" in ran.output
    assert "'token_count_mean_difference' compares a tokenizer's count with the server's" in ran.output
    assert "--tokenizer" in ran.output


def test_swept_prompts_too_short_for_the_prefix_they_share_are_refused(folder):
    folder.write("bench/tiny.yaml", SWEPT)
    ran = refused(folder)
    assert "bench/tiny.yaml:8:3: dataset 'made-isl00016': its shortest prompt, of length 16" in ran.output
    assert "made-isl00064" not in ran.output
    assert "tiny/perf/long" not in ran.output


SWEPT = """
    suite: tiny
    deployment: {api: openai-chat, model: simulated, endpoint: simulator}
    datasets:
      made: {synthetic: {rows: 4, input_tokens: 8, shared_prefix: {tokens: 16}}}
    perf:
      # `isl` is the length of the whole prompt, the prefix included.
      long:
        dataset: made
        load: {pattern: concurrency, concurrency: 1, requests: 2}
        sweep: {isl: [64, 16]}
"""

ACME = """
    class Acme:
        name, path, streaming = "acme", "/v2/complete", True
        columns, required = {"prompt": "the text"}, frozenset({"prompt"})

        @staticmethod
        def encode(row, generation):
            return b""

    def pytest_bench_apis():
        return {"acme": "conftest:Acme"}
"""


def test_an_api_that_lacks_members_is_refused_with_its_object_and_all_of_them(folder):
    folder.write("conftest.py", ACME)
    folder.edit("bench/tiny.yaml", "openai-chat", "acme")
    ran = refused(folder)
    assert (
        "the API 'acme': conftest:Acme lacks delta_key, polls, video_seconds, prompt(), decode_stream(), "
        "decode_body();" in (ran.output)
    )


def test_control_characters_of_a_server_break_neither_junit_nor_terminal(folder, answering):
    hostile = b'{"error": {"message": "\\u001b[31mred\\u0000\\u0007"}}'
    folder.endpoint = answering(401, hostile, "application/json")
    ran = folder.run("-n0", "-k", "one")
    ran.require(1, "error", one="error")
    assert "\x1b" not in ran.output
    assert "\x00" not in ran.output
