import socket
import threading

import pytest
from scripted_server import Reply, as_json, models, page
from tls_files import make_certificate

from pytest_bench.endpoints import ready as ready_module
from pytest_bench.endpoints.headers import NO_HEADERS, read_headers
from pytest_bench.endpoints.ready import OneToken, wait_ready
from pytest_bench.errors import EndpointError, UsageError
from pytest_bench.suite.plan import Secret

OK = Reply()
CHAT = "/v1/chat/completions"
ONE_TOKEN = OneToken(path=CHAT, bodies=(b'{"model":"m","max_tokens":1}',))
ANSWER = as_json({"choices": [{"message": {"content": "a"}}]})


def ready(url, **options):
    return wait_ready(url, **{"model": "m", "timeout_s": 20, **options})


def refusal(url, **options):
    with pytest.raises(EndpointError) as raised:
        ready(url, **{"timeout_s": 0.1, **options})
    return str(raised.value)


# The order of probes


def test_the_declared_probe_is_the_only_one_asked(serve):
    server = serve({"GET /ping": OK, "GET /health": Reply(503)})
    assert ready(server.url, probe="/ping").ready_by == "GET /ping"
    assert "GET /health" not in server.asked()


def test_health_comes_first(serve):
    server = serve({"GET /health": OK, "GET /v1/models": models("m")})
    assert ready(server.url).ready_by == "GET /health"


def test_without_health_the_model_list_decides_readiness(serve):
    assert ready(serve({"GET /v1/models": models("m")}).url).ready_by == "GET /v1/models"


def test_without_health_and_models_a_one_token_request_decides_readiness(serve):
    identity = ready(serve({f"POST {CHAT}": ANSWER}).url, one_token=ONE_TOKEN)
    assert identity.ready_by == f"POST {CHAT}"
    assert [attempt.request for attempt in identity.tried] == [
        "GET /health",
        "GET /v1/models",
        f"POST {CHAT}",
    ]


def test_if_the_model_list_fails_a_one_token_request_decides_readiness(serve):
    server = serve({"GET /v1/models": Reply(500), f"POST {CHAT}": ANSWER})
    identity = ready(server.url, one_token=ONE_TOKEN)
    assert (identity.ready_by, identity.served_models) == (f"POST {CHAT}", None)


def test_probes_lie_below_the_endpoints_prefix(serve):
    server = serve({"GET /team/health": OK})
    assert ready(f"{server.url}/team/").url == f"{server.url}/team"


def test_an_ipv6_endpoint_is_asked(serve):
    server = serve({"GET /health": OK}, family=socket.AF_INET6, host="::1")
    assert ready(server.url).url == server.url


def test_an_ok_that_a_framework_calls_html_is_an_answer(serve):
    server = serve({"GET /health": Reply(200, b"OK", "text/html; charset=utf-8")})
    assert ready(server.url).ready_by == "GET /health"


# Servers whose /health fails and that serve all the same


def test_repeated_5xx_of_health_leave_the_decision_to_the_api(serve):
    server = serve({"GET /health": Reply(500), f"POST {CHAT}": ANSWER})
    identity = ready(server.url, one_token=ONE_TOKEN)
    assert identity.ready_by == f"POST {CHAT}"
    assert next(attempt for attempt in identity.tried if attempt.request == "GET /health").times == 3


def test_repeated_5xx_of_health_leave_the_decision_to_the_model_list_of_an_api_without_a_cheap_request(serve):
    server = serve({"GET /health": Reply(500), "GET /v1/models": models("m")})
    assert ready(server.url).ready_by == "GET /v1/models"


def test_repeated_time_outs_of_health_leave_the_decision_to_the_api(serve, monkeypatch):
    monkeypatch.setattr(ready_module, "_PROBE_TIMEOUT_S", 0.1)
    over = threading.Event()
    server = serve({"GET /health": OK, "GET /v1/models": models("m"), f"POST {CHAT}": ANSWER})
    server.on_request = lambda: over.wait() if server.asked()[-1] == "GET /health" else None
    try:
        assert ready(server.url, one_token=ONE_TOKEN).ready_by == f"POST {CHAT}"
    finally:
        over.set()


def test_a_model_list_with_a_503_of_health_means_that_the_server_is_loading(serve):
    server = serve({"GET /health": [*[Reply(503)] * 5, OK], "GET /v1/models": models("m")})
    assert ready(server.url).ready_by == "GET /health"


def test_an_api_that_fails_as_health_does_is_waited_for(serve):
    server = serve({"GET /health": Reply(500), f"POST {CHAT}": [Reply(500), Reply(503), ANSWER]})
    assert ready(server.url, one_token=ONE_TOKEN).ready_by == f"POST {CHAT}"


def test_a_server_that_fails_everywhere_is_named_with_all_that_was_tried(serve):
    said = refusal(serve(fallback=Reply(500)).url, one_token=ONE_TOKEN, timeout_s=0.4)
    assert "GET /health: 500" in said
    assert "GET /v1/models: 500" in said
    assert f"POST {CHAT}: 500" in said


# The limit on output tokens


BY_EITHER_NAME = OneToken(path=CHAT, bodies=(b'{"max_tokens":1}', b'{"max_completion_tokens":1}'))
UNKNOWN_FIELD = as_json({"error": {"message": "max_tokens is not supported"}}, 400)


def test_if_a_server_refuses_one_name_of_the_limit_the_other_is_tried(serve):
    server = serve({"GET /health": OK, f"POST {CHAT}": [UNKNOWN_FIELD, ANSWER]})
    assert ready(server.url, one_token=BY_EITHER_NAME).api_path == CHAT
    assert server.requests[-2][2] == b'{"max_completion_tokens":1}'


def test_a_server_that_refuses_both_names_is_shown_with_its_first_reason(serve):
    other = as_json({"error": {"message": "max_completion_tokens is unknown"}}, 400)
    server = serve({"GET /health": OK, f"POST {CHAT}": [UNKNOWN_FIELD, other]})
    assert "max_tokens is not supported" in refusal(server.url, one_token=BY_EITHER_NAME, timeout_s=20)


# Identity


def test_the_identity_holds_models_version_and_server(serve):
    server = serve(
        {
            "GET /health": OK,
            "GET /v1/models": models("m", "m-lora"),
            "GET /version": as_json({"version": "0.11.2"}),
        }
    )
    identity = ready(server.url)
    assert (identity.served_models, identity.version, identity.server) == (
        ("m", "m-lora"),
        "0.11.2",
        "scripted/1",
    )


def test_models_and_version_that_a_server_does_not_report_are_unknown(serve):
    identity = ready(serve({"GET /health": OK, "GET /version": Reply(200, b"v1")}).url)
    assert (identity.served_models, identity.version) == (None, None)


def test_a_model_that_is_not_served_is_an_error_with_the_nearest_that_is(serve):
    server = serve({"GET /health": OK, "GET /v1/models": models("zeta", "wan2.2-t2v-a14b")})
    said = refusal(server.url, model="wan2.2-t2v-14b")
    assert "serves 'wan2.2-t2v-a14b', 'zeta', not 'wan2.2-t2v-14b'; did you mean 'wan2.2-t2v-a14b'?" in said
    assert "--served-model" in said


def test_a_long_list_of_models_is_shortened(serve):
    server = serve({"GET /health": OK, "GET /v1/models": models(*(f"model-{n}" for n in range(100)))})
    assert "and 92 more" in refusal(server.url, model="x")


def test_a_router_without_workers_yet_is_waited_for(serve):
    server = serve({"GET /health": OK, "GET /v1/models": [models(), models("m")]})
    assert ready(server.url).served_models == ("m",)


def test_a_404_of_the_api_that_names_the_model_is_an_unknown_model(serve):
    unknown = as_json({"error": {"message": "The model `m` does not exist."}}, 404)
    said = refusal(serve({"GET /health": OK, f"POST {CHAT}": unknown}).url, one_token=ONE_TOKEN)
    assert "does not serve 'm'" in said


@pytest.mark.parametrize(
    "body",
    [
        b"model not found",
        b'{"detail":"m2 is not here"}',
        b"no route /v1/m",
        b"The model gem-m does not exist",
        b"m-lora is unknown",
        b"m.bin",
    ],
)
def test_a_404_that_merely_contains_the_letters_of_the_model_is_a_missing_path(serve, body):
    server = serve({"GET /health": OK, f"POST {CHAT}": Reply(404, body)})
    assert "the API's path does not exist" in refusal(server.url, one_token=ONE_TOKEN, timeout_s=20)


@pytest.mark.parametrize("body", ["unknown model m.", 'no "m"', "`m`", "model=m", "models: m, n"])
def test_a_404_that_names_the_model_is_a_model_that_is_not_served(serve, body):
    server = serve({"GET /health": OK, f"POST {CHAT}": Reply(404, body.encode())})
    assert "does not serve 'm'" in refusal(server.url, one_token=ONE_TOKEN, timeout_s=20)


def test_a_model_that_the_server_does_not_list_is_accepted_if_the_check_is_off(serve):
    server = serve({"GET /health": OK, "GET /v1/models": models("alias")})
    assert ready(server.url, check_model=False).served_models == ("alias",)


def test_an_empty_list_of_models_is_no_obstacle_where_models_are_loaded_on_request(serve):
    server = serve({"GET /health": OK, "GET /v1/models": models()})
    assert ready(server.url, check_model=False).ready_by == "GET /health"
    assert "set deployment.check_model: false" in refusal(server.url)


def test_models_are_listed_at_the_path_that_is_given(serve):
    server = serve({"GET /v1beta/openai/models": models("m")})
    assert ready(server.url, models_path="/v1beta/openai/models").ready_by == "GET /v1beta/openai/models"


# Waiting


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_server_that_is_loading_is_waited_for(serve, status):
    server = serve({"GET /health": [Reply(status), Reply(status), OK]})
    identity = ready(server.url)
    assert next(attempt for attempt in identity.tried if attempt.request == "GET /health").times == 3


def test_an_api_that_is_loading_behind_a_ready_health_is_waited_for(serve):
    server = serve({"GET /health": OK, f"POST {CHAT}": [Reply(503), ANSWER]})
    assert ready(server.url, one_token=ONE_TOKEN).api_path == CHAT


def test_a_server_that_does_not_get_ready_is_an_error_with_its_last_answer(serve):
    said = refusal(serve({"GET /health": as_json({"status": "loading"}, 503)}).url)
    assert "not ready within 0.1 s" in said
    assert 'GET /health: 503 {"status": "loading"}' in said


def test_a_refused_connection_is_waited_for_and_then_named(closed_port):
    said = refusal(f"http://127.0.0.1:{closed_port}")
    assert "connection refused" in said
    assert "times)" in said


def test_a_server_that_never_answers_is_named(silent_port):
    assert "no answer within 1 s" in refusal(f"http://127.0.0.1:{silent_port}")


def test_a_name_that_does_not_exist_is_named():
    assert "the name cannot be looked up" in refusal("http://nowhere.invalid:8000")


def test_the_caller_can_end_the_wait(closed_port):
    class ContainerEnded(Exception):
        pass

    def not_yet(_):
        raise ContainerEnded

    with pytest.raises(ContainerEnded):
        ready(f"http://127.0.0.1:{closed_port}", not_yet=not_yet)


def test_the_caller_gets_the_result_of_each_attempt(serve):
    server = serve({"GET /health": [Reply(503), Reply(503), OK], "GET /v1/models": models("m")})
    results = []
    ready(server.url, not_yet=results.append)
    assert results == ["GET /health: 503", "GET /health: 503 (2 times)"]


# Advice


def test_a_refused_connection_is_reported_once_with_advice(closed_port):
    said = refusal(f"http://127.0.0.1:{closed_port}")
    assert said.count("connection refused") == 1
    assert "Next: nothing listens there: start the server, or correct host and port" in said


def test_a_name_that_does_not_exist_is_reported_once_with_advice(monkeypatch):
    def unknown(*_, **__):
        """What a name server's answer leads to. Without a name server, the real call says something else."""
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    said = refusal("http://nowhere.invalid:8000")
    assert said.count("cannot be looked up") == 1
    assert "correct the host in the endpoint's URL" in said
    assert "SSL_CERT_FILE" not in said


def test_advice_about_certificates_is_given_for_certificates_only(tls_server):
    assert "SSL_CERT_FILE" in refusal(tls_server, timeout_s=20)


def test_plain_http_to_a_server_with_tls_is_advised_to_try_https(tls_server):
    assert "https://" in refusal(tls_server.replace("https", "http")).partition("Next: ")[2]


def test_tls_to_a_server_without_it_is_advised_to_try_http(serve):
    server = serve({"GET /health": OK})
    said = refusal(f"https://127.0.0.1:{server.port}", timeout_s=20)
    assert said.endswith("Next: if the server does not speak TLS on that port, the URL begins with http://")


def test_a_server_that_accepts_and_does_not_answer_is_not_reported_as_one_that_was_not_started(silent_port):
    advice = refusal(f"http://127.0.0.1:{silent_port}").partition("Next: ")[2]
    assert "something accepts connections there and does not answer" in advice


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (500, "the server fails: read its log"),
        (502, "a proxy answers, and the server behind it does not"),
        (503, "says that it is not ready"),
        (429, "busy"),
    ],
)
def test_a_status_is_reported_once_with_advice(serve, status, advice):
    said = refusal(serve({"GET /health": Reply(status, b"oh no")}).url)
    assert said.count(f"{status} oh no") == 1
    assert advice in said.partition("Next: ")[2]
    assert "host and port" not in said


def test_other_attempts_are_listed_with_the_failed_one(serve):
    said = refusal(serve({"GET /health": OK, f"POST {CHAT}": Reply(500)}).url, one_token=ONE_TOKEN)
    assert f"POST {CHAT}: 500" in said
    assert "Tried too: GET /health: 200" in said


def test_a_question_ends_its_sentence(serve):
    server = serve({"GET /health": OK, "GET /v1/models": models("wan2.2")})
    assert "did you mean 'wan2.2'? Tried: " in refusal(server.url, model="wan2.1")


# What waiting cannot change


def test_a_declared_probe_that_does_not_exist_ends_the_wait(serve):
    server = serve({"GET /health": OK})
    said = refusal(server.url, probe="/healthz", timeout_s=20)
    assert "the declared probe /healthz answered 404" in said


@pytest.mark.parametrize("fallback", [None, page(404), page(200), page(501)])
def test_a_server_that_is_not_a_model_server_ends_the_wait(serve, fallback):
    said = refusal(serve(fallback=fallback).url, timeout_s=20)
    assert "no model server answers here" in said
    assert "GET /health" in said
    assert "GET /v1/models" in said


def test_a_web_page_at_the_apis_path_is_not_an_answer(serve):
    said = refusal(serve(fallback=page()).url, one_token=ONE_TOKEN, timeout_s=20)
    assert "not a response of the API" in said


@pytest.mark.parametrize("status", [404, 405])
def test_an_api_path_that_does_not_exist_is_named(serve, status):
    server = serve({"GET /health": OK, f"POST {CHAT}": Reply(status)})
    said = refusal(server.url, one_token=ONE_TOKEN, timeout_s=20)
    assert f"the API's path does not exist: POST {CHAT} answered {status}" in said


def test_a_doubled_prefix_is_pointed_out(serve):
    server = serve({"GET /v1/health": OK, f"POST {CHAT}": ANSWER})
    assert "leave '/v1' out of the endpoint" in refusal(f"{server.url}/v1", one_token=ONE_TOKEN, timeout_s=20)


def test_without_a_one_token_request_the_apis_path_is_not_touched(serve):
    server = serve({"GET /health": OK})
    assert ready(server.url).api_path is None
    assert not [name for name in server.asked() if name.startswith("POST")]


def test_a_one_token_request_that_is_refused_shows_the_servers_reason(serve):
    server = serve({"GET /health": OK, f"POST {CHAT}": as_json({"message": "temperature must be >= 0"}, 400)})
    said = refusal(server.url, one_token=ONE_TOKEN, timeout_s=20)
    assert "temperature must be >= 0" in said


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_requires_a_key_is_reported_with_the_options_that_give_one(serve, status):
    said = refusal(serve(fallback=Reply(status)).url, timeout_s=20)
    assert "asks for a key" in said
    assert "--api-key-env" in said


def test_a_refused_key_is_named_by_its_variable_and_never_shown(serve):
    headers = read_headers({}, Secret(from_env="MODEL_KEY"), {"MODEL_KEY": "sk-hunter2"})
    echo = as_json({"error": "invalid key sk-hunter2"}, 401)
    said = refusal(serve(fallback=echo).url, headers=headers, timeout_s=20)
    assert "the key in MODEL_KEY is refused (401)" in said
    assert "hunter2" not in said


def test_the_key_reaches_every_request(serve):
    headers = read_headers({}, Secret(from_env="MODEL_KEY"), {"MODEL_KEY": "sk-1"})
    server = serve({"GET /health": OK, f"POST {CHAT}": ANSWER})
    ready(server.url, headers=headers, one_token=ONE_TOKEN)
    assert {sent["Authorization"] for _, sent, _ in server.requests} == {"Bearer sk-1"}


def test_a_redirect_is_an_error_that_names_its_target(serve):
    server = serve({"GET /health": Reply(307, headers={"Location": "https://elsewhere.example/health"})})
    said = refusal(server.url, timeout_s=20)
    assert "a redirect to https://elsewhere.example/health" in said
    assert server.asked() == ["GET /health"]


def test_tls_to_a_server_without_it_is_named(serve):
    server = serve({"GET /health": OK})
    assert "TLS failed" in refusal(f"https://127.0.0.1:{server.port}", timeout_s=20)


def test_proxies_of_the_environment_are_not_used(serve, closed_port, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    assert ready(serve({"GET /health": OK}).url)


def test_an_invalid_url_is_a_usage_error():
    with pytest.raises(UsageError):
        ready("h:8000")


# Servers that cannot be trusted


def test_control_characters_of_a_server_never_reach_the_message(serve):
    said = refusal(serve({"GET /health": Reply(503, b"\x1b[31mred\x00\r\nline")}).url)
    assert said.isprintable()
    assert "red" in said


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"[" * 100_000, b'{"data": [{"id": "\xff"}]}', b'{"data": [{"id": 4}]}', b"null"]
)
def test_an_invalid_model_list_leaves_the_models_unknown(serve, body):
    server = serve({"GET /health": OK, "GET /v1/models": Reply(200, body)})
    assert ready(server.url).served_models is None


def test_a_body_without_end_is_cut_off(serve):
    server = serve({"GET /health": Reply(200, b"x" * (2 << 20))})
    assert "with over 1048576 bytes" in refusal(server.url, timeout_s=20)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


@pytest.fixture
def tls_server(serve, certificate):
    server = serve({"GET /health": OK})
    context, _ = certificate
    server.server.socket = context.wrap_socket(
        server.server.socket, server_side=True, do_handshake_on_connect=False
    )
    return f"https://127.0.0.1:{server.port}"


def test_a_certificate_that_is_not_trusted_is_named(tls_server):
    assert "the TLS certificate is not trusted" in refusal(tls_server, timeout_s=20)


def test_a_certificate_that_the_system_trusts_is_accepted(tls_server, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    assert ready(tls_server, headers=NO_HEADERS).ready_by == "GET /health"
