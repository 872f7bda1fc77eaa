"""A real Docker engine and one image with the simulator in it: `tests/containers/with-engine` starts an engine."""

import os

import pytest
import simulator_image

from pytest_bench.containers.engine import ContainerError, connect
from pytest_bench.containers.serving import serve
from pytest_bench.suite.container_plan import ContainerPlan


@pytest.fixture(scope="session")
def engine():
    """A client of the engine. CI requires one."""
    try:
        with connect() as client:
            yield client
    except ContainerError as error:
        if os.environ.get("CI"):
            pytest.fail(f"these tests need a Docker engine: {error}")
        pytest.skip(f"no Docker engine: {error}")


@pytest.fixture(scope="session")
def image(engine):
    """Id of the image with the simulator."""
    return simulator_image.build()


SERVER = ("python3", "-m", "pytest_bench.simulator", "--host", "0.0.0.0", "--port", "8000")
LISTENER = (
    "python3",
    "-S",
    "-c",
    "import socket, time; s = socket.create_server(('', 8000)); time.sleep(600)",
)
"""A server for tests that send no request: it starts faster."""


@pytest.fixture
def start(image, tmp_path):
    """A function that starts a container of the image and yields it while it serves."""

    def started(environ=os.environ, timeout_s=60.0, **fields):
        plan = ContainerPlan(**{"image": image, "entrypoint": LISTENER, "stop_timeout_s": 0.1, **fields})
        return serve(
            plan,
            suite="s",
            nonce="0123456789abcdef",
            folder=tmp_path,
            environ=environ,
            timeout_s=timeout_s,
        )

    return started
