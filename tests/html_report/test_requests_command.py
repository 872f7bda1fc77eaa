"""`pytest-bench requests`: one row for each request of a session."""

import shutil
import sys

import pytest
from pyarrow import parquet

from pytest_bench.cli import main
from pytest_bench.load.log import read_records
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.results.summary import read_summary


@pytest.fixture(scope="module")
def table(first, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "requests.parquet"
    assert main(["requests", str(first), str(path)]) == 0
    return parquet.read_table(path)


def test_every_request_of_every_phase_is_a_row_with_its_own_times(first, table):
    rows = table.to_pylist()
    measured = [
        row for row in rows if row["point"] == "load/perf/steady/c0002" and row["phase"] == "measured"
    ]
    folder = first / "points/load/perf/steady/c0002"
    records = list(read_records(folder / "phases/measured"))
    assert [row["request_id"] for row in measured] == [record.request_id for record in records]
    assert [row["first_content_ns"] for row in measured] == [record.first_content_ns for record in records]
    measurement: Measurement = read_summary(folder).measurement
    latencies = sorted(row["last_content_ns"] - row["send_start_ns"] for row in measured)
    assert latencies[-1] == measurement.value("request_latency.max")
    assert {row["phase"] for row in rows} == {"warmup", "measured", "reference", "output_caching"}


def test_what_did_not_happen_is_null(table):
    failed = [row for row in table.to_pylist() if row["outcome"] == "failed"]
    assert failed
    assert {(row["status"], row["first_content_ns"], row["error"]) for row in failed} == {
        (500, None, "server_error")
    }


def test_a_folder_that_does_not_verify_leaves_no_table(first, tmp_path, capsys):
    damaged = shutil.copytree(first, tmp_path / "damaged")
    (damaged / "points/load/perf/steady/c0001/summary.json").unlink()
    assert main(["requests", str(damaged), str(tmp_path / "x.parquet")]) == 1
    assert "does not verify" in capsys.readouterr().err
    assert not (tmp_path / "x.parquet").exists()


def test_a_missing_library_is_named_with_its_remedy(first, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["requests", str(first), str(tmp_path / "x.parquet")]) == 2
    assert "pip install 'pytest-inference-bench[parquet]'" in capsys.readouterr().err
