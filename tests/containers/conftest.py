"""A real Docker engine and one image with the simulator in it: `tests/containers/with-engine` starts an engine."""

import contextlib
import hashlib
import os

import pytest
import simulator_image
from simulator_image import LISTENER

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
    """Id of the image with the simulator, which the shipped suites run as `pytest-bench-simulator`."""
    return simulator_image.build()


@pytest.fixture
def start(start_several):
    """A function that starts a container of the image and yields it while it serves."""

    @contextlib.contextmanager
    def started(environ=os.environ, timeout_s=60.0, **fields):
        with start_several(fields, environ=environ, timeout_s=timeout_s) as containers:
            yield containers.serving

    return started


@pytest.fixture
def nonce(tmp_path):
    """Nonce of the test's own session."""
    return hashlib.sha256(bytes(tmp_path)).hexdigest()[:16]


@pytest.fixture
def start_several(image, nonce, tmp_path):
    """A function that starts a container for each mapping of fields, and yields them by role."""

    def started(*several, environ=os.environ, timeout_s=60.0):
        common = {"image": image, "entrypoint": LISTENER, "stop_timeout_s": 0.1}
        return serve(
            [ContainerPlan(**{**common, **fields}) for fields in several],
            suite="s",
            nonce=nonce,
            folder=tmp_path,
            environ=environ,
            timeout_s=timeout_s,
        )

    return started
