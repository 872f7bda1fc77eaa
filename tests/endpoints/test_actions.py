import pytest
from scripted_server import Reply

from pytest_bench.endpoints.actions import reset_cache
from pytest_bench.errors import EndpointError


def test_a_confirmed_reset_is_recorded(serve):
    server = serve({"POST /team/flush_cache": Reply(200)})
    reset = reset_cache(f"{server.url}/team", "/flush_cache")
    assert (reset.url, reset.path, reset.status) == (f"{server.url}/team", "/flush_cache", 200)
    assert reset.asked_ns < reset.confirmed_ns


@pytest.mark.parametrize(
    "reply", [Reply(404), Reply(400, b"2 requests pending"), Reply(307, headers={"Location": "/x"})]
)
def test_a_reset_that_is_not_confirmed_is_an_error_with_the_answer(serve, reply):
    server = serve({"POST /flush_cache": reply})
    with pytest.raises(
        EndpointError, match=f"the cache was not reset: POST /flush_cache: {reply.status}"
    ) as raised:
        reset_cache(server.url, "/flush_cache")
    assert reply.body.decode() in str(raised.value)


def test_a_reset_of_a_server_that_has_ended_is_an_error(closed_port):
    with pytest.raises(EndpointError, match="connection refused"):
        reset_cache(f"http://127.0.0.1:{closed_port}", "/flush_cache")
