"""Which files of a node are candidates, whose they are, and which of them are of an earlier run."""

from __future__ import annotations

import threading

import msgspec
import pytest

from pytest_bench.errors import EvidenceError
from pytest_bench.evals.node_files import STATUS, FoundTable, StatusFile, read_nodes
from pytest_bench.evals.node_tables import TableFinder
from pytest_bench.files import write_json

HEADER = "model,performance,metric\n"
TABLE = f"{HEADER}chat,1,throughput\n"


@pytest.fixture
def node(tmp_path):
    """A working folder and the folder of a node."""
    (tmp_path / "work").mkdir()
    (tmp_path / "node/output").mkdir(parents=True)
    return tmp_path


def finder(node, *paths, is_alone=True):
    return TableFinder(paths, job="77", working_folder=node / "work", folder=node / "node", is_alone=is_alone)


def found(tables):
    return {table.source.rpartition("/")[2]: table for table in tables}


def test_a_new_file_of_the_working_folder_is_of_this_job_and_is_copied(node):
    looking = finder(node, "*.csv")
    (node / "work/perf.csv").write_text(TABLE)
    (table,) = looking.wait(30)
    assert (table.job, table.problem) == ("77", "")
    assert (node / "node" / table.copy).read_text() == TABLE


def test_the_name_of_the_user_is_that_on_the_node(node, monkeypatch):
    monkeypatch.setenv("LOGNAME", "somebody")
    looking = finder(node, f"{node}/{{user}}/77/*.csv")
    (node / "somebody/77").mkdir(parents=True)
    (node / "somebody/77/perf.csv").write_text(TABLE)
    (table,) = looking.wait(30)
    assert table.job == "77"


def test_a_file_of_the_output_folder_is_not_copied(node):
    looking = finder(node, "*.csv")
    (node / "node/output/deep").mkdir()
    (node / "node/output/deep/perf.csv").write_text(TABLE)
    (table,) = looking.wait(30)
    assert (table.job, table.copy) == ("77", "output/deep/perf.csv")


def test_elsewhere_a_folder_of_the_path_must_have_the_name_of_the_job(node):
    looking = finder(node, f"{node}/launcher/*/77.csv", f"{node}/launcher/77/*.csv")
    for job in ("76", "77"):
        (node / "launcher" / job).mkdir(parents=True)
        (node / "launcher" / job / "77.csv").write_text(TABLE)
    jobs = {table.source.split("/")[-2]: table.job for table in looking.wait(30)}
    assert jobs == {"76": None, "77": "77"}


def test_what_was_there_before_does_not_count_unless_it_was_written_anew(node):
    for name in ("kept", "appended", "rewritten"):
        (node / f"work/{name}.csv").write_text(TABLE)
    (node / "work/emptied.csv").write_text("")
    looking = finder(node, "*.csv")
    (node / "work/appended.csv").write_text(f"{TABLE}chat,2,latency\n")
    (node / "work/rewritten.csv").write_text(TABLE.replace("1", "2"))
    (node / "work/emptied.csv").write_text(TABLE)
    tables = found(looking.wait(30))
    assert tables["kept.csv"].problem == "was there before the command was started"
    assert "which appended to it" in tables["appended.csv"].problem
    assert (tables["rewritten.csv"].problem, tables["emptied.csv"].problem) == ("", "")


def test_a_file_that_appears_late_is_waited_for(node):
    looking = finder(node, "*.csv", is_alone=False)
    (node / "work/empty.csv").write_text("")
    late = threading.Timer(1.0, (node / "work/perf.csv").write_text, [TABLE])
    late.start()
    assert set(found(looking.wait(60))) == {"empty.csv", "perf.csv"}
    late.join()


def test_without_other_nodes_an_empty_table_is_not_waited_for(node):
    looking = finder(node, "*.csv")
    (node / "work/empty.csv").write_text("")
    late = threading.Timer(60.0, (node / "work/perf.csv").write_text, [TABLE])
    late.start()
    assert set(found(looking.wait(3600))) == {"empty.csv"}
    late.cancel()


def test_a_folder_and_a_file_that_is_too_large_are_named_and_not_copied(node):
    looking = finder(node, "*.csv")
    (node / "work/folder.csv").mkdir()
    with (node / "work/large.csv").open("wb") as file:
        file.truncate((16 << 20) + 1)
    tables = found(looking.wait(0))
    assert "is not a regular file" in tables["folder.csv"].problem
    assert "is larger than 16 MiB" in tables["large.csv"].problem
    assert {table.copy for table in tables.values()} == {None}


def test_patterns_that_match_far_too_many_files_are_an_error(node):
    looking = finder(node, "*.csv")
    for number in range(201):
        (node / f"work/{number}.csv").write_text(TABLE)
    with pytest.raises(EvidenceError, match="201 files match the paths of tables"):
        looking.wait(0)


def status(rank, **changes):
    table = FoundTable(
        source="/shared/perf.csv", copy="output/perf.csv", sha256="a", modified_ns=5, inode=1, job="77"
    )
    fields = {"exit_status": 0, "ended_ns": 9, "tables": (table,), **changes}
    return StatusFile(nonce="n", rank=rank, host=f"n{rank}", phase="", started_ns=rank, **fields)


def report(folder, rank, file):
    (folder / f"{rank}/output").mkdir(parents=True, exist_ok=True)
    (folder / f"{rank}/output/perf.csv").write_text(TABLE)
    write_json(folder / str(rank) / STATUS, file)


def test_a_file_that_several_nodes_see_is_of_the_lowest_rank_alone(tmp_path):
    for rank in (0, 1):
        report(tmp_path, rank, status(rank))
    reported = read_nodes(tmp_path, 2, "n")
    assert [each.problem for each in reported.candidates] == ["", "is the same file as that of rank 0"]
    assert list(reported.tables("77")) == [0]
    assert reported.tables("76") == {}


def test_a_node_that_has_not_ended_has_not_reported(tmp_path):
    report(tmp_path, 0, status(0, exit_status=None, ended_ns=None))
    reported = read_nodes(tmp_path, 2, "n")
    assert (reported.statuses, reported.candidates) == ({}, ())


@pytest.mark.parametrize("changes", [{"rank": 1}, {"nonce": "m"}])
def test_a_status_file_of_another_rank_or_session_is_an_error(tmp_path, changes):
    report(tmp_path, 0, msgspec.structs.replace(status(0), **changes))
    with pytest.raises(EvidenceError, match="expected rank 0 in session n"):
        read_nodes(tmp_path, 1, "n")
