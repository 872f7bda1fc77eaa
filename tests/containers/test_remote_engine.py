"""Engines that are reached over TCP, over TLS, by a Docker context, and by a tunnel."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from ipaddress import ip_network

import pytest

from pytest_bench.containers.engine import ContainerError, connect, describe
from pytest_bench.containers.ownership import PREFIX
from pytest_bench.suite.container_plan import Mount


def pump(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class Forwarder:
    """Listens on an address of this machine and passes every connection on to the engine's socket."""

    def __init__(self, address="127.0.0.1", tls=None):
        self.path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
        self.listener = socket.create_server((address, 0))
        self.port = self.listener.getsockname()[1]
        self.tls = tls
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.forward, args=(client,), daemon=True).start()

    def forward(self, client):
        engine = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError, ssl.SSLError), client, engine:
            wrapped = client if self.tls is None else self.tls.wrap_socket(client, server_side=True)
            with wrapped as connection:
                engine.connect(self.path)
                back = threading.Thread(target=pump, args=(engine, connection), daemon=True)
                back.start()
                pump(connection, engine)
                back.join()


@pytest.fixture
def forwarded(engine, monkeypatch):
    """A function that forwards to the engine, with `DOCKER_HOST` set to where."""
    made = []

    def start(address="127.0.0.1"):
        made.append(Forwarder(address))
        monkeypatch.setenv("DOCKER_HOST", f"tcp://{address}:{made[-1].port}")
        return os.environ["DOCKER_HOST"]

    yield start
    for each in made:
        each.listener.close()


@pytest.fixture
def own_address(engine):
    """An address of this machine that is not of the loopback interface: the one of the engine's bridge."""
    (network, *_) = [each for each in engine.networks.list() if each.name in {"bridge", "podman"}]
    return str(next(ip_network(network.attrs["IPAM"]["Config"][0]["Subnet"]).hosts()))


def described():
    with connect() as client:
        return describe(client)


def test_an_engine_at_a_loopback_address_is_one_of_this_machine(image, forwarded, start):
    address = forwarded()
    with start(port=8000) as container:
        assert container.url.startswith("http://127.0.0.1:")
    assert (described().address, described().local) == (address, True)


def context(folder, monkeypatch, endpoint):
    """Create a Docker context and use it."""
    monkeypatch.setenv("DOCKER_CONFIG", str(folder / "docker"))
    (folder / "docker").mkdir()
    (folder / "docker" / "config.json").write_text("{}")  # beside it, contexts are found
    create = ["docker", "context", "create", "elsewhere", "--docker", endpoint]
    subprocess.run(create, check=True, capture_output=True)
    monkeypatch.setenv("DOCKER_CONTEXT", "elsewhere")


def test_a_docker_context_names_the_engine(image, forwarded, start, tmp_path, monkeypatch):
    address = forwarded()
    monkeypatch.delenv("DOCKER_HOST")
    context(tmp_path, monkeypatch, f"host={address}")
    with start(port=8000) as container:
        assert container.url
    assert described().address == address


def test_a_docker_context_that_does_not_exist_is_named(engine, monkeypatch):
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    with pytest.raises(ContainerError, match="the Docker context 'gone' does not exist"):
        described()


@pytest.fixture
def certificate(tmp_path):
    """A certificate of 127.0.0.1 and its key, which stand for authority, server and client."""
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=engine"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", *paths[:1], "-keyout", *paths[1:]]
    subprocess.run(words, check=True, capture_output=True)
    return paths


def test_the_certificates_of_a_docker_context_are_used(image, start, tmp_path, monkeypatch, certificate):
    cert, key = certificate
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=cert)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_cert_chain(cert, key)
    forwarder = Forwarder(tls=tls)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # the SDK would use them instead
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    host = f"host=tcp://127.0.0.1:{forwarder.port}"
    context(tmp_path, monkeypatch, f"{host},ca={cert},cert={cert},key={key}")
    with start(port=8000) as container:
        assert container.url
    forwarder.listener.close()


def test_a_container_of_an_engine_elsewhere_serves_at_the_engines_address(
    image, forwarded, start, own_address
):
    forwarded(own_address)
    with start(port=8000, bind="0.0.0.0") as container:
        assert container.url.startswith(f"http://{own_address}:")
        with socket.create_connection((own_address, int(container.url.rpartition(":")[2])), timeout=10):
            pass
    assert described().local is False


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "deployment.container.bind: is 127.0.0.1, which only that machine can reach"),
        (
            {"mounts": (Mount(target="/m", source="/etc"),)},
            "deployment.container.mounts: /etc was checked on",
        ),
        (
            {"devices": ("/dev/null",)},
            "deployment.container.devices: /dev/null are looked up on this machine",
        ),
        (
            {"network": "host"},
            "deployment.container.network: is `host`, and that port 8000 is free cannot be",
        ),
    ],
)
def test_what_needs_an_engine_of_this_machine_is_refused_before_anything_is_started(
    engine, image, forwarded, start, own_address, nonce, fields, said
):
    forwarded(own_address)
    with pytest.raises(ContainerError) as raised, start(port=8000, **fields):
        pass
    assert "is on another machine" in str(raised.value)
    assert said in str(raised.value)
    assert engine.containers.list(all=True, filters={"label": f"{PREFIX}session={nonce}"}) == []


def test_the_gpus_of_a_slurm_job_are_not_asked_of_an_engine_elsewhere(image, forwarded, start, own_address):
    forwarded(own_address)
    environ = {**os.environ, "SLURM_JOB_ID": "1", "SLURM_JOB_GPUS": "0"}
    with (
        pytest.raises(ContainerError, match=r"container.gpus: are those of this Slurm allocation"),
        start(port=8000, bind="0.0.0.0", gpus="all", environ=environ),
    ):
        pass


ELSEWHERE = """
from pytest_bench.containers.engine import connect, describe, host_of
with connect() as client:
    engine = describe(client)
print(engine.local)
print(host_of(engine))
"""


@pytest.mark.parametrize("over_tcp", [False, True])
def test_a_tunnel_or_a_mounted_socket_of_another_machine_is_not_taken_for_an_engine_here(
    engine, forwarded, over_tcp
):
    if os.geteuid() or not shutil.which("unshare"):
        if os.environ.get("CI"):
            pytest.fail("this test needs root and unshare")
        pytest.skip("needs root and unshare")
    if over_tcp:
        forwarded()
    named = 'hostname elsewhere && exec "$0" -c "$1"'
    ran = subprocess.run(
        ["unshare", "--uts", "sh", "-c", named, sys.executable, ELSEWHERE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == "False\n", ran.stderr
    assert "and this machine is 'elsewhere': the address is a tunnel or a mounted socket" in ran.stderr


def test_a_container_bound_to_one_address_of_this_machine_is_reached_there(image, start, own_address):
    with start(port=8000, bind=own_address) as container:
        assert container.url.startswith(f"http://{own_address}:")


def test_a_plan_without_a_port_needs_no_address(image, forwarded, start_several, own_address):
    forwarded(own_address)
    quiet = {"role": "tool", "port": None, "serves": False, "entrypoint": ("sleep", "60")}
    serving = {"role": "server", "bind": "0.0.0.0"}
    with start_several(quiet, serving) as containers:
        assert containers["tool"].url == ""
