from __future__ import annotations

import msgspec
import pytest

from pytest_bench.errors import SuiteError
from pytest_bench.suite.deployments import endpoint_problem
from pytest_bench.suite.plan import Secret

TAIL = "datasets: {d: {path: x.jsonl}}\nperf: {p: {dataset: d, load: {pattern: burst, requests: 1}}}\n"


def suite(fields: str = "", api: str = "openai-chat") -> str:
    return f"suite: s\ndeployment:\n  api: {api}\n  model: m\n{fields}" + TAIL


def deployment(bench, fields: str = "", api: str = "openai-chat", **overrides):
    return bench.plan(suite(fields, api), **overrides).deployments["s"]


def test_an_endpoint_is_one_url_or_a_list_of_replicas(bench):
    assert deployment(bench, "  endpoint: http://a:1/\n").endpoints == ("http://a:1",)
    assert deployment(bench, "  endpoint: [http://a:1, https://b/v2]\n").endpoints == (
        "http://a:1",
        "https://b/v2",
    )


def test_the_command_line_replaces_endpoint_model_key_and_tokenizer(bench):
    plan = deployment(
        bench,
        "  endpoint: http://a:1\n  api_key: {from_env: OLD}\n  tokens: {tokenizer: org/model}\n",
        endpoints=("http://b:2", "http://c:3"),
        served_model="other",
        api_key_env="NEW",
        tokenizer="org/other",
    )
    assert plan.endpoints == ("http://b:2", "http://c:3")
    assert (plan.model, plan.api_key, plan.tokens.tokenizer) == ("other", Secret(from_env="NEW"), "org/other")
    assert not plan.simulator_from_command_line


def test_the_plan_records_whether_the_command_line_requested_the_simulator(bench):
    assert not deployment(bench, "  endpoint: simulator\n").simulator_from_command_line
    plan = deployment(bench, endpoints=("simulator",))
    assert (plan.endpoints, plan.simulator_from_command_line) == (("simulator",), True)


def test_a_deployment_without_endpoint_is_planned_and_names_the_remedies(bench):
    plan = deployment(bench)
    assert plan.endpoints == ()
    message = endpoint_problem(plan)
    assert message.startswith("chat.yaml:2:1: the deployment of suite 's' has no endpoint")
    for way in ("--endpoint=URL", "`endpoint:`", "--endpoint=simulator"):
        assert way in message
    assert endpoint_problem(deployment(bench, endpoints=("http://a:1",))) is None


def test_a_problem_of_the_command_line_is_not_called_one_of_the_suites(bench):
    with pytest.raises(SuiteError) as caught:
        bench.plan(suite(), endpoints=("127.0.0.1:8000",))
    assert str(caught.value).startswith("1 problem on the command line:\n  --endpoint is '127.0.0.1:8000'")
    with pytest.raises(SuiteError) as caught:
        bench.plan(suite("  ready_timeout_s: soon\n"), endpoints=("127.0.0.1:8000",))
    assert str(caught.value).startswith("2 problems on the command line and in the suites:\n")


def test_a_value_that_is_not_a_time_is_refused_with_the_unit(bench):
    (problem,) = bench.problems(suite("  metrics_interval_s: soon\n"))
    assert 'metrics_interval_s is "soon", which is text; expected a number of seconds' in problem


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("localhost:8000", "is 'localhost:8000', not an endpoint; expected a URL such as http://host:8000"),
        ("ftp://a", "not an endpoint"),
        ("'http://'", "not an endpoint"),
        ("'http://a:99999'", "not an endpoint"),
        ("'http://[::1'", "not an endpoint"),
        ("'http://a b'", "not an endpoint"),
        ("http://a?x=1", "a query is given as deployment.query"),
        ("simulater", "or 'simulator'; did you mean 'simulator'?"),
        ("127.0.0.1:8000", "; did you mean 'http://127.0.0.1:8000'?"),
        ("[]", "is empty"),
        ("[http://a, '']", "not an endpoint"),
        ("3", "expected a URL, a list of URLs, or 'simulator'"),
        ("[http://a, http://a]", "repeats 'http://a'"),
        ("[http://a, http://a/]", "repeats 'http://a/'"),
        ("[http://a, simulator]", "names the simulator beside URLs"),
    ],
)
def test_an_endpoint_that_cannot_be_one_is_refused(bench, endpoint, said):
    problems = bench.problems(suite(f"  endpoint: {endpoint}\n"))
    assert len(problems) == 1
    assert said in problems[0]


def test_credentials_in_a_url_are_refused_without_showing_them(bench):
    (problem,) = bench.problems(suite("  endpoint: http://me:hunter2@host\n"))
    assert "holds credentials" in problem
    assert "hunter2" not in problem


def test_a_wrong_option_is_named_as_the_option(bench):
    bench.write(suite())
    with pytest.raises(SuiteError) as caught:
        bench.load(endpoints=("host:8000",), duration_scale=0.0, load_seed=-1, tokenizer="")
    assert [problem.split()[0] for problem in caught.value.problems] == [
        "--endpoint",
        "--duration-scale",
        "--load-seed",
        "--tokenizer",
    ]


def test_generation_becomes_the_parameters_of_every_request(bench):
    plan = deployment(
        bench,
        "  generation: {max_tokens: 128, temperature: 0, ignore_eos: true, stop: [END], "
        "extra_body: {min_p: 0.1}}\n",
    )
    assert plan.parameters == {
        "max_tokens": 128,
        "temperature": 0.0,
        "ignore_eos": True,
        "stop": ["END"],
        "min_p": 0.1,
    }
    assert plan.stream


def test_an_api_without_streams_refuses_streaming(bench):
    assert not deployment(bench, api="videos").stream
    (problem,) = bench.problems(suite("  generation: {stream: true}\n", api="videos"))
    assert "is true, but the API 'videos' has no streams" in problem


@pytest.mark.parametrize(
    ("generation", "said"),
    [
        ("{max_tokens: 1, extra_body: {max_tokens: 2}}", "is also given as deployment.generation.max_tokens"),
        ("{extra_body: {model: x}}", "is written by the API"),
        ("{extra_body: {stream_options: x}}", "is 'x'; expected a mapping, or null to leave it out"),
        ("{extra_body: {n: 2}}", "is 2; one request is measured by one answer: leave it out"),
        ("{extra_body: {stream_options: [1]}}", "expected a mapping, or null to leave it out"),
        ("{extra_body: {sampling_params: 5}}", "expected a mapping, or null to leave it out"),
        ("{extra_body: {x: .nan}}", "is not a finite number"),
        ("{top_p: 2}", "expected a number of at most 1"),
        ("{max_token: 2}", "did you mean 'max_tokens'?"),
    ],
)
def test_generation_that_contradicts_itself_is_refused(bench, generation, said):
    (problem,) = bench.problems(suite(f"  generation: {generation}\n"))
    assert said in problem


def test_secrets_are_names_and_their_values_never_reach_the_plan(bench):
    bench.environ = {"KEY": "hunter2"}
    plan = bench.plan(
        suite("  api_key: {from_env: KEY}\n  headers: {x-team: a, X-Api-Key: {from_env: KEY}}\n")
    )
    assert plan.deployments["s"].headers == {"x-team": "a", "X-Api-Key": Secret(from_env="KEY")}
    assert b"hunter2" not in msgspec.json.encode(plan)


@pytest.mark.parametrize(
    "fields",
    [
        "  api_key: hunter2\n",
        "  api_key: {from_env: hunter 2}\n",
        "  headers: {Authorization: Bearer hunter2}\n",
        "  headers: {x-api-key: hunter2}\n",
        "  query: {key: hunter2}\n",
        "  query: {API-Key: hunter2}\n",
        "  headers: {x-team: 'hunter2\\nx'}\n".replace("'", '"'),
    ],
)
def test_a_written_secret_is_refused_and_not_shown(bench, fields):
    (problem,) = bench.problems(suite(fields))
    assert "hunter" not in problem


def test_path_query_and_the_model_check_reach_the_plan(bench):
    plan = bench.plan(
        suite("  path: /a/b\n  query: {api-version: '1', key: {from_env: KEY}}\n  check_model: false\n")
    )
    deployment = plan.deployments["s"]
    assert (deployment.path, deployment.check_model) == ("/a/b", False)
    assert deployment.query == {"api-version": "1", "key": Secret(from_env="KEY")}


def test_the_command_line_sets_the_time_to_wait(bench):
    assert deployment(bench, "  ready_timeout_s: 30\n", ready_timeout_s=0.0).ready_timeout_s == 0.0


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_an_invalid_time_to_wait_is_refused(bench, seconds):
    (problem,) = bench.problems(suite(), ready_timeout_s=seconds)
    assert "--ready-timeout is" in problem


def test_the_time_to_wait_does_not_change_the_digest_of_a_point(bench):
    patient, impatient = (bench.plan(suite(f"  ready_timeout_s: {seconds}\n")) for seconds in (1, 2))
    assert patient.digest() == impatient.digest()


@pytest.mark.parametrize("header", ["Host: a", "content-length: '1'", "'a b': c", "'': c"])
def test_headers_of_the_engine_and_malformed_ones_are_refused(bench, header):
    (problem,) = bench.problems(suite(f"  headers: {{{header}}}\n"))
    assert "deployment.headers." in problem


def test_an_authorization_header_together_with_an_api_key_is_refused(bench):
    (problem,) = bench.problems(
        suite("  api_key: {from_env: K}\n  headers: {Authorization: {from_env: L}}\n")
    )
    assert "is given together with an API key" in problem


def test_the_behaviour_of_the_simulator_is_checked_by_the_simulator(bench):
    assert deployment(bench, "  simulator: {ttft_ms: 5}\n").simulator == {"ttft_ms": 5}
    (problem,) = bench.problems(suite("  simulator: {tftt_ms: 5}\n"))
    assert problem.endswith("is not a behaviour of the simulator: there is no 'tftt_ms'; expected ttft_ms")


def test_answers_of_the_simulator_are_relative_to_the_suite_and_part_of_the_digest(bench, tmp_path):
    fields = "  endpoint: simulator\n  simulator: {answers: data/a.jsonl}\n"
    (tmp_path / "data").mkdir()
    digests = set()
    for content in ("one", "two"):
        (tmp_path / "data" / "a.jsonl").write_text(content)
        plan = bench.plan(suite(fields))
        assert plan.deployments["s"].simulator == {"answers": str(tmp_path / "data" / "a.jsonl")}
        digests.add(plan.digest())
    assert len(digests) == 2


def test_a_tokenizer_in_the_folder_of_the_suite_is_found(bench):
    (bench.folder / "tokenizers" / "small").mkdir(parents=True)
    plan = deployment(bench, "  tokens: {tokenizer: tokenizers/small}\n")
    assert plan.tokens.tokenizer == str(bench.folder / "tokenizers" / "small")
    assert deployment(bench, "  tokens: {tokenizer: org/name}\n").tokens.tokenizer == "org/name"


def test_an_unknown_api_is_refused_with_the_nearest(bench):
    (problem,) = bench.problems(suite(api="openai_chat"))
    assert problem == (
        "chat.yaml:3:8: deployment.api is 'openai_chat', not a known API; "
        "expected openai-chat, videos; did you mean 'openai-chat'?"
    )
