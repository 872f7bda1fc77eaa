"""What a container must show before it serves, in addition to its endpoint: on a real engine."""

import subprocess

import pytest
from simulator_image import LISTENER

from pytest_bench.containers.engine import ContainerError
from pytest_bench.suite.container_plan import Readiness

LATE = ("sh", "-c", '(sleep 1; echo model loaded; echo > /tmp/loaded) & exec "$@"', "late", *LISTENER)


@pytest.fixture(scope="module")
def checked(image):
    """Id of an image whose health check looks for a file that `LATE` makes."""
    text = f'FROM {image}\nHEALTHCHECK --interval=1s CMD ["cat", "/tmp/loaded"]\n'
    done = subprocess.run(
        ["docker", "build", "--quiet", "-"], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def refused(start, message, **fields):
    with pytest.raises(ContainerError, match=message), start(**fields):
        pytest.fail("it served")


@pytest.mark.parametrize(
    "readiness",
    [
        Readiness(log_pattern="model .*loaded"),
        Readiness(healthcheck=True),
        Readiness(log_pattern="loaded", healthcheck=True),
    ],
)
def test_a_server_serves_once_everything_that_is_declared_is_true(start, checked, readiness):
    with start(image=checked, entrypoint=LATE, readiness=readiness) as container:
        assert "model loaded" in container.log.path.read_text()


def test_what_is_missing_at_the_deadline_is_named(start, checked):
    message = "did not get ready in time: its health check has not succeeded"
    refused(start, message, image=checked, readiness=Readiness(healthcheck=True), timeout_s=10.0)


def test_an_image_without_the_health_check_that_is_waited_for_is_refused_at_once(start):
    refused(start, "has no health check", readiness=Readiness(healthcheck=True), timeout_s=3600.0)


def test_a_server_that_ends_while_a_condition_is_waited_for_is_refused_at_once(start):
    dying = ("python3", "-S", "-c", LISTENER[-1].replace("600", "1"))
    refused(
        start,
        "ended with exit status 0",
        entrypoint=dying,
        readiness=Readiness(log_pattern="never"),
        timeout_s=3600.0,
    )
