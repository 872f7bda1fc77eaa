"""A deployment is brought up with the suite's own path, query and limit, on whatever server it names."""

import contextlib
import json
import resource
import urllib.request
from types import SimpleNamespace

import msgspec
import pytest
from http_servers import Handler, serving

from pytest_bench.errors import EndpointError
from pytest_bench.running.deployment import bring_up
from pytest_bench.suite.plan import DeploymentPlan, Secret

CHAT = "/v1beta/openai/chat/completions"


@pytest.fixture
def gateway():
    """Serves one path with one query, limits output by one name, and lists another model than it serves."""
    asked = []

    class Gateway(Handler):
        def answer(self):
            path, _, query = self.path.partition("?")
            body = json.loads(self.body() or b"{}")
            asked.append((path, query, body))
            if "max_tokens" in body:
                self.say(400, {"error": {"message": "max_tokens is not supported"}})
            elif query != "api-version=1&key=sk%2Fsecret-value":
                self.say(404, {})
            elif path == "/v1beta/openai/models":
                self.say(200, {"data": [{"id": "listed"}]})
            else:
                self.say(200 if path == CHAT else 404, {"choices": []})

        get = post = answer

        def say(self, status, value):
            self.reply(status, json.dumps(value).encode())

    with serving(Gateway) as url:
        yield SimpleNamespace(url=url, asked=asked)


def plan(url, **fields):
    return DeploymentPlan(
        suite="s",
        api="openai-chat",
        api_reference="pytest_bench.api.openai_chat:OpenAIChat",
        model="m",
        endpoints=(url,),
        path=CHAT,
        query={"api-version": "1", "key": Secret(from_env="GATEWAY_KEY")},
        ready_timeout_s=0,
        **fields,
    )


def brought_up(deployment, folder):
    with bring_up(deployment, folder, {"GATEWAY_KEY": "sk/secret-value"}) as up:
        return up


@pytest.mark.parametrize("parameters", [{}, {"max_completion_tokens": 64}])
def test_path_query_and_limit_of_the_suite_reach_a_gateway(gateway, tmp_path, parameters):
    up = brought_up(plan(gateway.url, check_model=False, parameters=parameters), tmp_path)
    (target,) = up.targets
    assert target.path == f"{CHAT}?api-version=1&key=sk%2Fsecret-value"
    assert up.identities[0].ready_by == "GET /v1beta/openai/models"
    assert up.identities[0].api_path == CHAT
    posted = [body for path, _, body in gateway.asked if path == CHAT]
    assert posted[-1]["max_completion_tokens"] == 1
    assert len(posted) == (1 if parameters else 2)


def test_the_limit_that_the_suite_names_is_the_only_one_tried(gateway, tmp_path):
    with pytest.raises(EndpointError, match="max_tokens is not supported"):
        brought_up(plan(gateway.url, check_model=False, parameters={"max_tokens": 64}), tmp_path)
    assert [body["max_tokens"] for path, _, body in gateway.asked if path == CHAT] == [1]


def test_a_model_that_is_not_listed_is_refused_with_the_switch(gateway, tmp_path):
    with pytest.raises(EndpointError, match=r"set deployment\.check_model: false"):
        brought_up(plan(gateway.url), tmp_path)


def test_a_simulator_that_has_stopped_is_reported_with_its_own_message(tmp_path):
    deployment = msgspec.structs.replace(plan("simulator"), path=None, query={}, ready_timeout_s=20)
    with (
        pytest.raises(EndpointError, match="the simulator cannot write its log: File too large"),
        bring_up(deployment, tmp_path, {}) as up,
    ):
        log = tmp_path / "simulator.jsonl"
        pid = json.loads(log.read_bytes().splitlines()[0])["pid"]
        size = log.stat().st_size
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, size))
        with contextlib.suppress(OSError):
            request = urllib.request.Request(up.urls[0] + CHAT.replace("v1beta/openai", "v1"), b"{}")
            urllib.request.urlopen(request)
        while True:
            up.require_running()
