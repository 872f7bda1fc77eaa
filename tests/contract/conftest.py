from __future__ import annotations

import pytest
from bench_folder import BenchFolder

from pytest_bench.simulator import Behaviour, start


@pytest.fixture(scope="session")
def endpoint():
    with start(Behaviour(ttft_ms=1, itl_ms=0.1, output_tokens=2)) as simulator:
        yield simulator.url


@pytest.fixture
def folder(tmp_path, endpoint):
    """Two points that pass, on a server that is there."""
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    return BenchFolder(tmp_path, endpoint, runtime)


@pytest.fixture(params=["-n0", "-n2"])
def workers(request):
    """In one process, and over two xdist workers."""
    return request.param
