"""Servers on loopback, and ports where there is none."""

import socket

import pytest
from scripted_server import ScriptedServer


@pytest.fixture
def serve():
    servers = []

    def start(routes=None, **options):
        server = ScriptedServer(routes or {}, **options)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def silent_port():
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def closed_port():
    """A port that refuses connections: bound, so that nobody else takes it, and not listening."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
