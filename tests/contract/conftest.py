from __future__ import annotations

import os

import pytest
from bench_folder import BenchFolder

from pytest_bench.simulator import Behaviour, start


@pytest.fixture(scope="session")
def endpoint():
    with start(Behaviour(ttft_ms=1, itl_ms=0.1, output_tokens=2)) as simulator:
        yield simulator.url


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory):
    """One folder for all processes that run these tests."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "bytecode"


@pytest.fixture
def folder(tmp_path, endpoint, bytecode):
    """Two points that pass, on a server that is there."""
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    return BenchFolder(tmp_path, endpoint, runtime, bytecode)


@pytest.fixture(params=["-n0", "-n2"])
def workers(request):
    """In one process, and over two xdist workers."""
    return request.param
