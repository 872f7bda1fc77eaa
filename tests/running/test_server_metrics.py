"""The server's own metrics stand beside every phase: before, after, and in between where the suite says so."""

import json
import threading
from types import SimpleNamespace

import pytest
from http_servers import Handler, serving

from pytest_bench.endpoints.address import parse_url, resolve
from pytest_bench.endpoints.headers import NO_HEADERS
from pytest_bench.errors import LoadError
from pytest_bench.running.server_metrics import ServerMetrics


@pytest.fixture
def server():
    """Serves how often its metrics were read."""
    reads, enough = [], threading.Event()

    class Metrics(Handler):
        def get(self):
            reads.append(self.path)
            if len(reads) >= 5:
                enough.set()
            self.reply(200, b"reads %d\n" % len(reads))

    with serving(Metrics) as url:
        yield SimpleNamespace(url=url, enough=enough)


def deployment(*urls, interval_s=None, path="/metrics"):
    return SimpleNamespace(
        plan=SimpleNamespace(metrics_path=path, metrics_interval_s=interval_s),
        targets=tuple(resolve(parse_url(url), "/v1/chat/completions") for url in urls),
        headers=NO_HEADERS,
    )


@pytest.fixture
def folders(tmp_path):
    made = [tmp_path / "warmup", tmp_path / "measured"]
    for folder in made:
        folder.mkdir()
    return made


def readings(folder, endpoint=0):
    """Label and value of every reading."""
    _, *lines, _ = map(json.loads, (folder / f"metrics.{endpoint}.jsonl").read_text().splitlines())
    return [(line["label"], int(line["samples"]["reads"])) for line in lines]


def test_each_phase_has_its_own_readings_before_and_after(server, folders):
    with ServerMetrics(deployment(server.url), folders, nonce="n") as metrics:
        assert len(readings_so_far(folders[0])) == 1
        metrics.enter(1, wait=True)
        # A drained phase: nothing is sent before all of this is read.
        assert len(readings_so_far(folders[1])) == 1
    assert readings(folders[0]) == [("before", 1), ("after", 2)]
    assert readings(folders[1]) == [("before", 3), ("after", 4)]
    assert (folders[1] / "metrics.0.before.prom").read_text() == "reads 3\n"


def readings_so_far(folder):
    return (folder / "metrics.0.jsonl").read_text().splitlines()[1:]


def test_with_an_interval_there_are_readings_in_between(server, folders):
    with ServerMetrics(deployment(server.url, interval_s=0.01), folders[1:], nonce="n"):
        assert server.enough.wait(10)
    labels = [label for label, _ in readings(folders[1])]
    assert (labels[0], labels[-1]) == ("before", "after")
    assert labels[1:-1] == [None] * (len(labels) - 2)
    assert len(labels) >= 5


def test_a_phase_that_never_began_has_no_readings(server, folders):
    with pytest.raises(KeyboardInterrupt), ServerMetrics(deployment(server.url), folders, nonce="n"):
        raise KeyboardInterrupt
    assert readings(folders[0]) == [("before", 1), ("after", 2)]
    assert list(folders[1].iterdir()) == []


def test_every_endpoint_is_read(server, folders):
    with ServerMetrics(deployment(server.url, server.url), folders[:1], nonce="n"):
        pass
    assert sorted(count for endpoint in (0, 1) for _, count in readings(folders[0], endpoint)) == [1, 2, 3, 4]


def test_without_a_path_nothing_is_read(server, folders):
    with ServerMetrics(deployment(server.url, path=None), folders, nonce="n") as metrics:
        metrics.enter(1, wait=True)
    assert [list(folder.iterdir()) for folder in folders] == [[], []]


def test_readings_that_cannot_be_written_fail_the_point(server, folders):
    (folders[0] / "metrics.0.before.prom").symlink_to("/dev/full")
    with (
        pytest.raises(LoadError, match="metrics cannot be written: No space left on device"),
        ServerMetrics(deployment(server.url), folders, nonce="n"),
    ):
        pass
