"""`pytest-bench measure`: one line instead of a suite, and the same session as with the suite that it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from http_servers import Handler, serving
from hypothesis import given
from hypothesis import strategies as st
from test_commands import ends

from pytest_bench.catalogue import all_apis, vocabulary
from pytest_bench.cli.quick_suite import QuickSuite
from pytest_bench.simulator import Behaviour, start
from pytest_bench.suite.context import Overrides
from pytest_bench.suite.document import read_document
from pytest_bench.suite.loading import load_plan
from pytest_bench.suite.problems import Problems

URL = "http://127.0.0.1:9"
TOKENIZER = Path(__file__).parents[2] / "suites" / "simulated"
PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1)


def suite_of(**values):
    defaults = {"requests": 10, "warmup": 0, "input_tokens": 8, "output_tokens": 4, "seed": 0}
    named = {"name": "measure", "api": "openai-chat", "model": "m", "endpoint": URL, "concurrency": (1,)}
    return QuickSuite(**(named | defaults | values))


def loaded(text):
    problems = Problems()
    document = read_document(text.encode(), "measure.yaml", {"HOME": "not this"}, problems)
    assert not problems, problems.error()
    return document.value


@given(model=PRINTABLE, header=PRINTABLE, key=PRINTABLE, value=PRINTABLE | st.booleans() | st.integers(-9, 9))
def test_every_text_in_a_call_is_the_same_text_in_the_suite(model, header, key, value):
    """Also if it has another meaning in YAML or in suites: yes, 1e3, ~, ${HOME}."""
    written = suite_of(model=model, headers={"X-Team": header}, extra_body={key: {"deep": [value]}}).text()
    deployment = loaded(written)["deployment"]
    assert deployment["model"] == model
    assert deployment["headers"] == {"X-Team": header}
    assert deployment["generation"]["extra_body"] == {key: {"deep": [value]}}


@pytest.mark.parametrize(
    "word", ["yes", "1e3", "~", "null", "0x10", "1:30", "${HOME}", "- a", "a: b", "#", "3"]
)
def test_words_that_yaml_reads_as_another_type_stay_texts(word):
    assert loaded(suite_of(model=word).text())["deployment"]["model"] == word


@pytest.fixture
def equals(capsys, tmp_path, monkeypatch):
    """The suite that a call equals, without running it: (the plan, the text)."""

    def call(*words):
        monkeypatch.setattr("pytest_bench.cli.run.run_words", lambda *_, **__: 0)
        monkeypatch.chdir(tmp_path)
        status, out, err = ends(capsys, "measure", URL, "--model=m", "--seed=1", *words)
        assert status == 0, err
        text = out.partition("\n\n")[0]
        path = tmp_path / "plan" / "measure.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        plan = load_plan([path], vocabulary(all_apis([])), Overrides(), {}, root=tmp_path)
        return plan, text.partition("\n")[2]

    return call


def test_without_options_a_hundred_requests_run_at_concurrency_8(equals):
    plan, _ = equals()
    (point,) = plan.points
    assert (point.id, point.load.concurrency, point.load.requests) == (
        "measure/perf/concurrency/c0008",
        8,
        100,
    )
    assert point.warmup.load.requests == 8
    assert plan.deployments["measure"].parameters == {"max_tokens": 128, "temperature": 0, "ignore_eos": True}


def test_the_options_of_a_call_are_the_values_of_its_suite(equals):
    plan, _ = equals(
        *("--requests=20", "--rate=5,10,20", "--burstiness=0.5", "--warmup=3"),
        *("--input-tokens=64", "--output-tokens=16", f"--tokenizer={TOKENIZER}", "--api-key-env=KEY"),
        *("--header=X-Team=bench", "--bound=time_to_first_token.p99 <= 200ms", "--api=openai-completions"),
    )
    ids = ["measure/perf/rate/r0005", "measure/perf/rate/r0010", "measure/perf/rate/r0020"]
    assert [point.id for point in plan.points] == ids
    assert all(point.load.requests == 20 and point.warmup.load.requests == 3 for point in plan.points)
    assert plan.points[2].load.pattern == "gamma"
    deployment = plan.deployments["measure"]
    assert (deployment.api, deployment.tokens.tokenizer) == ("openai-completions", str(TOKENIZER))
    assert (deployment.api_key.from_env, deployment.headers) == ("KEY", {"X-Team": "bench"})
    assert [bound.text for bound in plan.points[0].bounds] == ["<= 200ms"]
    synthetic = plan.datasets["measure"]["prompts"].synthetic
    assert synthetic["rows"] == 3 * (20 + 3), "no two points send the same prompts"


def test_names_of_vllm_bench_serve_mean_the_same(equals):
    _, ours = equals("--requests=7", "--concurrency=2", "--input-tokens=9", "--output-tokens=5", "--warmup=1")
    _, theirs = equals(
        *("--num-prompts=7", "--max-concurrency=2", "--random-input-len=9", "--random-output-len=5"),
        "--num-warmups=1",
    )
    assert ours == theirs


def test_a_server_that_lists_no_model_before_a_request_is_accepted_on_demand(equals):
    plan, text = equals("--no-check-model")
    assert not plan.deployments["measure"].check_model
    assert "check_model: false" in text
    plan, text = equals()
    assert plan.deployments["measure"].check_model
    assert "check_model" not in text


def test_a_rate_with_a_concurrency_is_one_open_loop_with_a_cap(equals):
    plan, text = equals("--request-rate=5", "--max-concurrency=8", "--requests=20")
    (point,) = plan.points
    assert point.id == "measure/perf/rate/r0005-m0008"
    assert (point.load.pattern, point.load.rate, point.load.max_concurrency) == ("poisson", 5, 8)
    assert point.warmup.load.max_concurrency == 8
    assert "sweep: {rate: [5], max_concurrency: [8]}" in text
    plan, _ = equals("--rate=5,10", "--concurrency=2,8", "--requests=20")
    assert [point.id.rpartition("/")[2] for point in plan.points] == [
        *("r0005-m0002", "r0005-m0008", "r0010-m0002", "r0010-m0008")
    ]
    assert plan.datasets["measure"]["prompts"].synthetic["rows"] == 4 * (20 + 8)


def test_with_prompts_of_a_file_the_model_decides_where_answers_end(equals, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "Hello"}\n')
    plan, _ = equals("--dataset=rows.jsonl")
    assert plan.datasets["measure"]["prompts"].path == str(tmp_path / "rows.jsonl")
    assert "ignore_eos" not in plan.deployments["measure"].parameters


WRONG = {
    "--requests=0": "--requests/--num-prompts '0': expected a whole number, 1 or more",
    "--num-prompts=ten": "--requests/--num-prompts 'ten': expected",
    "--concurrency=8,": "--concurrency/--max-concurrency '': expected",
    "--concurrency=8,8": "repeats a value",
    "--rate=inf": "to send all at once, give --concurrency",
    "--rate=0": "requests per second",
    "--burstiness=2": "give --rate too",
    "--input-tokens=-5": "--input-tokens/--input-len/--random-input-len '-5': expected",
    "--temperature=nan": "--temperature 'nan': expected a number, 0 or more",
    "--extra-body=[1]": "--extra-body '[1]': expected a JSON object",
    '--extra-body={"a":1,"a":2}': "duplicate key 'a'",
    "--header=X-Team": "--header 'X-Team': expected NAME=VALUE",
    "--bound=time_to_first_tokn.p99 <= 1s": "did you mean",
    "--bound=time_to_first_token.p99 <= 200": "a time needs one of the units",
    "--bound=fast": "is not a requirement",
    "--dataset=gone.jsonl": "--dataset gone.jsonl: there is no such file",
    "--dataset-format=csv": "give one with --dataset",
    "--tokenizer=./gone": "--tokenizer: tokenizer ./gone: no such file or folder",
    "--save=quick.txt": "expected a name that ends in .yaml",
    "--save=Quick.yaml": "becomes the name of the suite",
    "--seed=-1": "--seed '-1': expected",
}


@pytest.mark.parametrize("option", WRONG)
def test_a_wrong_option_is_named_with_its_value_and_the_remedy(capsys, tmp_path, monkeypatch, option):
    monkeypatch.chdir(tmp_path)
    status, _, err = ends(capsys, "measure", URL, "--model=m", option)
    assert (status, WRONG[option] in err) == (2, True), err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://h", "http://"])
def test_an_endpoint_that_is_not_a_url_is_refused(capsys, url):
    status, _, err = ends(capsys, "measure", url, "--model=m")
    assert (status, "expected a URL such as http://host:8000" in err) == (2, True), err


def test_a_file_is_never_replaced(capsys, tmp_path):
    (tmp_path / "quick.yaml").write_text("mine")
    status, _, err = ends(capsys, "measure", URL, "--model=m", f"--save={tmp_path / 'quick.yaml'}")
    assert (status, "already there" in err) == (2, True), err
    assert (tmp_path / "quick.yaml").read_text() == "mine"


@pytest.fixture
def listing():
    """A server that lists models: a function that takes the answer and returns the URL."""
    with ExitStack() as servers:

        def serve(status, body):
            class Listing(Handler):
                def get(self):
                    self.reply(status if self.path == "/v1/models" else 404, json.dumps(body).encode())

            return servers.enter_context(serving(Listing))

        yield serve


@pytest.mark.parametrize(
    ("status", "body", "complaint"),
    [
        (
            200,
            {"data": [{"id": "llama"}, {"id": "qwen"}]},
            "serves 2 models ('llama', 'qwen'); give --model NAME",
        ),
        (200, {"data": []}, "serves no model yet; give --model NAME"),
        (200, {"models": []}, "the answer is not a list of models; give --model NAME"),
        (500, {"detail": "offline"}, "500"),
    ],
)
def test_a_model_that_is_not_given_must_be_the_only_one_served(capsys, listing, status, body, complaint):
    ended, _, err = ends(capsys, "measure", listing(status, body))
    assert (ended, complaint in err) == (2, True), err


def test_the_only_model_served_is_used_and_named(capsys, listing, tmp_path, monkeypatch):
    monkeypatch.setattr("pytest_bench.cli.run.run_words", lambda *_, **__: 0)
    url = listing(200, {"data": [{"id": "llama"}]})
    status, out, _ = ends(capsys, "measure", url)
    assert status == 0
    assert f"--model llama: the only model that {url} serves" in out
    assert yaml.safe_load(out.partition("\n")[2].partition("\n\n")[0])["deployment"]["model"] == "llama"


def test_a_call_ends_as_its_verdict_says_with_evidence_of_the_suite_that_it_saves(tmp_path):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environ["PYTEST_BENCH_LEASES"] = str(tmp_path / "leases")
    script = "from pytest_bench.cli import main; raise SystemExit(main())"

    def call(*words):
        command = [sys.executable, "-c", script, *words]
        return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)

    with start(Behaviour(ttft_ms=50, itl_ms=1, model="m")) as simulator:
        done = call(
            *("measure", simulator.url, "--requests=4", "--concurrency=1", "--warmup=1", "--output-tokens=4"),
            *(f"--tokenizer={TOKENIZER}", "--input-tokens=8", "--save=bench/quick.yaml"),
            *("--bound", "request_latency.p99 <= 1ns"),
        )
    results = tmp_path / "results" / "latest"
    verdict = json.loads((results / "verdict.json").read_text())
    assert done.returncode == 1, done.stdout + done.stderr
    assert (tmp_path / "bench" / "quick.yaml").read_text() in done.stdout
    assert f"again: pytest-bench measure {simulator.url} --requests=4" in done.stdout
    assert f"verdict: {verdict['status']} - " in done.stdout
    assert (
        "quick.yaml, which messages name, is the suite printed above; --save bench/quick.yaml kept it"
        in done.stdout
    )
    assert verdict["status"] in {"fail", "error"}, "a bound that nothing meets; or a busy machine"
    planned = call("plan", "bench", "--no-digests")
    assert list(json.loads(planned.stdout)["points"]) == [point["id"] for point in verdict["points"]]
    shown = call("show", "results/latest")
    table = [line for line in done.stdout.splitlines() if line.startswith("quick/perf/concurrency/c0001")]
    assert table[0] in shown.stdout
