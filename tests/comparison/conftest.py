"""Sessions to compare, of two simulators."""

from __future__ import annotations

import contextlib

import pytest
from comparison_bench import Bench, served

from pytest_bench.cli import main


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    root = tmp_path_factory.mktemp("comparison")
    root.chmod(0o700)
    return Bench(root)


@pytest.fixture(scope="session")
def urls():
    """Two simulators: the second takes three times as long until the first token."""
    with contextlib.ExitStack() as stack:
        yield served(stack, 20), served(stack, 60)


@pytest.fixture(scope="session")
def old(bench, urls):
    bench.write()
    return bench.run("old", f"--endpoint={urls[0]}")


@pytest.fixture(scope="session")
def new(bench, urls, old):
    bench.write()
    return bench.run("new", f"--endpoint={urls[1]}")


@pytest.fixture
def compare(capsys):
    """`pytest-bench compare` in this process: its exit status, its output, and its errors."""

    def call(*words):
        status = main(["compare", *map(str, words)])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return status, said.out, said.err

    return call
