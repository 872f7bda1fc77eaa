from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from pytest_bench.cpus import Cpus
from pytest_bench.errors import TokensError
from pytest_bench.tokens.pool import TokenizerPool
from pytest_bench.tokens.source import resolve

ONE = Cpus(allowed=(0,), quota=None, source="test")


def wait_until(condition):
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit, "did not happen in time"
        time.sleep(0.01)


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_counts_equal_those_of_the_reference(tokenizer, authority, texts):
    assert tokenizer.backend == "fastokens"
    assert tokenizer.count(texts) == [authority(text) for text in texts]
    assert tokenizer.count([]) == []
    assert tokenizer.count([""]) == [0]


def test_the_reference_can_be_requested(pool, bpe_folder, authority, texts):
    by_authority = pool.load(resolve(str(bpe_folder)), backend="tokenizers")
    assert by_authority.backend == "tokenizers"
    assert by_authority.count(texts[:50]) == [authority(text) for text in texts[:50]]


def test_texts_encoded_together_have_the_same_tokens_as_alone(tokenizer, texts):
    assert tokenizer.encode_batch(texts[:3]) == [tokenizer.encode(text) for text in texts[:3]]


def test_lone_surrogates_are_counted_as_replaced(tokenizer):
    assert tokenizer.count(["fox \ud800 dog"]) == tokenizer.count(["fox \ufffd dog"])
    assert tokenizer.encode("\udfff") == tokenizer.encode("\ufffd")


def refuse(name):
    raise PermissionError(13, "refused", name)


@pytest.mark.parametrize("memory", ["shared", "absent", "refused"])
def test_texts_of_any_size_are_transferred_without_leaving_files(
    bpe_folder, authority, monkeypatch, tmp_path, memory
):
    """Also those that are larger than a slot of the shared memory, and where the system has or gives no such memory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if memory == "absent":
        monkeypatch.delattr(os, "memfd_create")
    if memory == "refused":
        monkeypatch.setattr(os, "memfd_create", refuse)
    sizes = [100_000, 1, 300_000, 50_000, 1_100_000, 200_000, 6_000, 90_000, 80_000]
    texts = [chr(ord("a") + number) + "🦊" * size for number, size in enumerate(sizes)]
    with TokenizerPool(cpus=ONE) as pool:
        tokenizer = pool.load(resolve(str(bpe_folder)))
        monkeypatch.setattr(type(tokenizer), "chunk_characters", 1)  # each text in a message of its own
        assert tokenizer.count(texts) == [authority(text) for text in texts]
        assert len(tokenizer.encode(texts[0])) == authority(texts[0])
        assert list(tmp_path.iterdir()) == []


def test_processes_are_shared_by_all_tokenizers_and_each_is_loaded_once(
    pool, tokenizer, bpe_folder, wordpiece_folder
):
    pids = pool.pids
    other = pool.load(resolve(str(wordpiece_folder)))
    assert other.count(["fox"]) == [1]
    again = pool.load(resolve(str(bpe_folder)))
    assert (again.key, again.reason) == (tokenizer.key, tokenizer.reason)
    assert pool.pids == pids
    assert len(pids) == 2


def test_the_same_vocabulary_in_another_folder_uses_the_chat_template_of_that_folder(
    pool, tokenizer, bpe_folder, tmp_path
):
    (tmp_path / "tokenizer.json").write_bytes((bpe_folder / "tokenizer.json").read_bytes())
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}!")
    other = pool.load(resolve(str(tmp_path)))
    assert other.key == tokenizer.key
    assert other.chat_template.render([{"role": "user", "content": "Hi"}]) == "Hi!"
    assert tokenizer.chat_template is None


def test_an_idle_pool_is_created_once_and_ends_with_its_pool(bpe_folder):
    with TokenizerPool(cpus=ONE) as pool:
        idle = pool.idle_beside(ONE, 1)
        idle.load(resolve(str(bpe_folder)))
        (pid,) = idle.pids
        assert pool.idle_beside(ONE, 1) is idle
        assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    assert not runs(pid)


def test_a_tokenizer_that_only_the_reference_loads_is_counted_by_it_with_the_reason(pool, wordpiece_folder):
    tokenizer = pool.load(resolve(str(wordpiece_folder)))
    assert tokenizer.backend == "tokenizers"
    assert "`fastokens` cannot load it" in tokenizer.reason
    assert tokenizer.evidence()["backend_reason"] == tokenizer.reason


def test_a_named_back_end_has_no_fallback(wordpiece_folder):
    with (
        TokenizerPool(cpus=ONE) as pool,
        pytest.raises(TokensError, match=r"pool worker 0.*`fastokens` cannot load"),
    ):
        pool.load(resolve(str(wordpiece_folder)), backend="fastokens")


def test_nothing_is_started_before_a_tokenizer_is_loaded():
    with TokenizerPool(cpus=ONE) as pool:
        assert pool.pids == []


def test_leaving_the_pool_ends_its_processes(bpe_folder):
    with TokenizerPool(cpus=ONE) as pool:
        pool.load(resolve(str(bpe_folder)))
        pids = pool.pids
        assert all(map(runs, pids))
    assert not any(map(runs, pids))
    pool.close()


def test_a_broken_tokenizer_is_an_error_naming_it_and_the_worker(tmp_path, bpe_folder, authority):
    (tmp_path / "tokenizer.json").write_text('{"model": {}}')
    with TokenizerPool(cpus=ONE) as pool:
        with pytest.raises(TokensError, match=rf"tokenizer {tmp_path}: pool worker 0: .*cannot load"):
            pool.load(resolve(str(tmp_path)))
        assert pool.load(resolve(str(bpe_folder))).count(["fox"]) == [authority("fox")]


def test_a_load_that_hangs_is_an_error_naming_the_tokenizer_and_the_worker(bpe_folder, custom_worker):
    command = custom_worker("def prepare_tokenizer(task):\n    time.sleep(600)\n")
    with TokenizerPool(cpus=ONE, command=command) as pool:
        with pytest.raises(
            TokensError,
            match=r"tokenizer \S*bpe0: pool worker 0 \(process \d+\) did not finish loading .* within 1 s",
        ):
            pool.load(resolve(str(bpe_folder)), warmup_timeout_s=1.0)
        assert pool.pids == []


def test_a_worker_that_dies_while_loading_is_an_error_with_its_last_output(bpe_folder, custom_worker):
    command = custom_worker(
        "def prepare_tokenizer(task):\n    print('out of luck', flush=True)\n    os._exit(3)\n"
    )
    with (
        TokenizerPool(cpus=ONE, command=command) as pool,
        pytest.raises(TokensError, match=r"pool worker 0 .*ended with status 3, saying 'out of luck'"),
    ):
        pool.load(resolve(str(bpe_folder)))


def test_a_killed_worker_is_replaced_without_losing_jobs(bpe_folder, authority, texts):
    with TokenizerPool(cpus=ONE) as pool:
        tokenizer = pool.load(resolve(str(bpe_folder)))
        (pid,) = pool.pids
        os.kill(pid, signal.SIGKILL)
        assert tokenizer.count(texts) == [authority(text) for text in texts]
        assert pool.pids != [pid]


def test_a_text_that_kills_its_worker_twice_is_reported_and_the_pool_continues(
    bpe_folder, custom_worker, authority
):
    command = custom_worker(
        """
        class Backend(Wrapped):
            def count(self, texts):
                if "POISON" in texts:
                    os.abort()
                return super().count(texts)
        """
    )
    with TokenizerPool(cpus=ONE, command=command) as pool:
        tokenizer = pool.load(resolve(str(bpe_folder)))
        with pytest.raises(TokensError, match=r"tried twice: pool worker 0 .*ended by signal 6"):
            tokenizer.count(["POISON"])
        assert tokenizer.count(["fox"]) == [authority("fox")]


def test_a_worker_that_stops_answering_counts_as_dead(bpe_folder, custom_worker):
    command = custom_worker(
        """
        class Backend(Wrapped):
            def count(self, texts):
                time.sleep(600 if "POISON" in texts else 0)
                return super().count(texts)
        """
    )
    with TokenizerPool(cpus=ONE, command=command, job_timeout_s=0.3) as pool:
        tokenizer = pool.load(resolve(str(bpe_folder)))
        with pytest.raises(TokensError, match=r"did not answer for 0\.3 s"):
            tokenizer.count(["POISON"])


def test_an_answer_of_the_wrong_length_is_refused(bpe_folder, custom_worker):
    command = custom_worker(
        """
        class Backend(Wrapped):
            def count(self, texts):
                return super().count(texts)[1:]
        """
    )
    with TokenizerPool(cpus=ONE, command=command) as pool:
        tokenizer = pool.load(resolve(str(bpe_folder)))
        with pytest.raises(TokensError, match="answered 2 counts for 3 texts"):
            tokenizer.count(["a", "b", "c"])


def test_workers_are_pinned_to_their_block_and_their_threads_capped(pool, tokenizer):
    assert [os.sched_getaffinity(pid) for pid in pool.pids] == [{0}, {1}]
    for pid in pool.pids:
        assert b"RAYON_NUM_THREADS=1\0" in Path(f"/proc/{pid}/environ").read_bytes()


def test_workers_may_use_more_cpus_than_the_caller_and_its_affinity_is_unchanged(bpe_folder):
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {0})
    try:
        with TokenizerPool(cpus=Cpus(allowed=(0, 1), quota=None, source="test")) as pool:
            pool.load(resolve(str(bpe_folder)))
            assert os.sched_getaffinity(pool.pids[0]) == {0, 1}
            assert os.sched_getaffinity(0) == {0}
    finally:
        os.sched_setaffinity(0, before)


def test_a_worker_that_cannot_be_pinned_runs_unpinned_and_reports_it(bpe_folder, authority):
    with TokenizerPool(cpus=Cpus(allowed=(9999,), quota=None, source="test")) as pool:
        tokenizer = pool.load(resolve(str(bpe_folder)))
        assert tokenizer.count(["fox"]) == [authority("fox")]
        assert "runs unpinned: CPUs 9999 were refused" in tokenizer.evidence()["notes"][0]


def test_ctrl_c_does_not_reach_the_workers(pool, tokenizer, authority):
    pids = pool.pids
    for pid in pids:
        os.kill(pid, signal.SIGINT)
    assert os.getpgid(pids[0]) != os.getpgid(0)
    assert tokenizer.count(["fox"]) == [authority("fox")]
    assert pool.pids == pids


def test_workers_end_with_their_parent_even_while_working(bpe_folder, custom_worker, tmp_path):
    command = custom_worker(
        """
        class Backend(Wrapped):
            def count(self, texts):
                time.sleep(600)
        """
    )
    script = tmp_path / "parent.py"
    script.write_text(
        "from pytest_bench.tokens.pool import TokenizerPool\n"
        "from pytest_bench.tokens.source import resolve\n"
        f"pool = TokenizerPool(command={command!r})\n"
        f"tokenizer = pool.load(resolve({str(bpe_folder)!r}))\n"
        "print(*pool.pids, flush=True)\n"
        "tokenizer.count(['a'])\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert pids
    assert all(map(runs, pids))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not any(map(runs, pids)))
