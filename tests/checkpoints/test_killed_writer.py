import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from writer_process import keys_of

from pytest_bench.checkpoints import open_checkpoint, read_checkpoint

ITEMS, CONCURRENCY = 400, 8
ROUNDS = 100 if os.environ.get("CI") else 10


def run_until(path, seed, stop):
    """Run a writer until `stop` says so of a line, then kill it; returns all that it printed, and whether it ended."""
    command = [sys.executable, str(Path(__file__).with_name("writer_process.py")), str(path)]
    with subprocess.Popen(
        [*command, str(ITEMS), str(CONCURRENCY), str(seed)], stdout=subprocess.PIPE, text=True
    ) as process:
        said = []
        for line in process.stdout:
            said.append(line.split())
            if stop(said):
                process.kill()
                break
        said += [line.split() for line in process.stdout if line.endswith("\n")]
    return said, process.returncode == 0


def never(_said):
    return False


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_kill_loses_no_acknowledged_result_and_repeats_at_most_the_requests_in_flight(tmp_path, seed):
    path, choose = tmp_path / "checkpoint.jsonl", random.Random(seed)
    issued, done_before, kills = Counter(), set(), 0
    ended = False
    while not ended:
        # a random moment of the run, or of starting up: nothing but `open` was said yet
        moment = choose.choice([1, choose.randrange(1, 2 * ITEMS)]) if kills < 4 else None
        stop = never if moment is None else lambda said, moment=moment: len(said) >= moment
        said, ended = run_until(path, seed * 100 + kills, stop)
        kills += not ended
        now = Counter(words[1] for words in said if words[0] == "issue")
        assert not now.keys() & done_before, "a finished request was issued again"
        issued += now
        durable = max((int(words[1]) for words in said if words[0] == "durable"), default=0)
        with open_checkpoint(path) as checkpoint:
            contents = checkpoint.contents
        assert contents.lines >= durable
        done = {key.item for key in contents.results}
        assert done_before <= done
        in_flight = {item for item in now if item not in done}
        assert len(in_flight) <= CONCURRENCY
        done_before = done
    assert set(contents.results) == set(keys_of(ITEMS, CONCURRENCY))
    assert contents.ended
    assert issued.total() - ITEMS <= CONCURRENCY * kills
    assert len(contents.sessions) <= kills + 1


def test_a_writer_whose_checkpoint_is_finished_issues_nothing(tmp_path):
    path = tmp_path / "checkpoint.jsonl"
    assert run_until(path, 1, never)[1]
    said, _ = run_until(path, 2, never)
    assert [words for words in said if words[0] == "issue"] == []
    assert len(read_checkpoint(path).results) == ITEMS


def test_a_second_process_is_refused_while_the_first_one_runs(tmp_path):
    path = tmp_path / "checkpoint.jsonl"
    command = [sys.executable, str(Path(__file__).with_name("writer_process.py")), str(path), "2", "1", "1"]
    with open_checkpoint(path):
        second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode != 0
    assert "another process is writing this checkpoint" in second.stderr
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
