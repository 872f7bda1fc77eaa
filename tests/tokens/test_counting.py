from __future__ import annotations

import errno
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from counts_log import read_counts
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.cpus import Cpus
from pytest_bench.errors import EvidenceError, TokensError
from pytest_bench.lines import LineReader, encode_line
from pytest_bench.records import TextRecord
from pytest_bench.tokens.counting import count_phase
from pytest_bench.tokens.counts import CountsWriter, read_inputs, read_outcome, read_outputs
from pytest_bench.tokens.pool import TokenizerPool
from pytest_bench.tokens.source import resolve
from pytest_bench.tokens.text_log import cut, left_over, records_in, written_lines
from pytest_bench.tokens.verification import Verification

ONE = Cpus(allowed=(0,), quota=None, source="test")


def records(texts, first=0):
    """One a text, with every kind of output."""
    return [
        TextRecord(
            request_id=f"r{number}",
            sample_index=number,
            content=text,
            reasoning=text[::-1] if number % 3 == 0 else "",
            tool_calls='{"name": "f"}' if number % 5 == 0 else "",
            first_event_text=text[:7],
        )
        for number, text in enumerate(texts, first)
    ]


@pytest.fixture
def small_chunks(monkeypatch):
    """Many ranges out of little text."""
    monkeypatch.setattr("pytest_bench.tokens.tokenizer.Tokenizer.chunk_characters", 4000)


@pytest.fixture
def misbehaving(custom_worker, bpe_folder, small_chunks):
    """A tokenizer on one worker whose back end is the given code."""
    pools = []

    def load(code, **options):
        pool = TokenizerPool(cpus=ONE, command=custom_worker(code), **options)
        pools.append(pool)
        return pool.load(resolve(str(bpe_folder)))

    yield load
    for pool in pools:
        pool.close()


POISONED = """
class Backend(Wrapped):
    def count(self, texts):
        if any("POISON" in text for text in texts):
            {act}
        return super().count(texts)
"""


def test_every_kind_of_text_of_every_request_is_counted_as_by_the_reference(
    tokenizer, authority, texts, write_texts, small_chunks, tmp_path
):
    everything = records(texts)
    write_texts(everything[:300], 0)
    write_texts(everything[300:], 1)
    result = count_phase(tokenizer, tmp_path)
    counts = read_counts(tmp_path / "tokens.jsonl")
    assert {
        record.request_id: (
            authority(record.content),
            authority(record.reasoning),
            authority(record.tool_calls),
            authority(record.first_event_text),
        )
        for record in everything
    } == {
        request: (output.content, output.reasoning, output.tool_calls, output.first_event)
        for request, output in counts.outputs.items()
    }
    assert (result.counted, result.pending, result.outcome) == (500, 0, "complete")
    assert result.output_tokens == sum(output.total for output in counts.outputs.values())
    assert (counts.outcome, counts.backend, counts.tokenizer) == (
        "complete",
        "fastokens",
        tokenizer.source.digest,
    )


def test_inputs_are_counted_by_sample_and_token_ids_by_their_number(
    tokenizer, authority, write_texts, tmp_path, small_chunks, texts
):
    inputs = dict(enumerate(texts)) | {1000: [5, 6, 7], 1001: (), 1002: "", 1003: texts[0]}
    write_texts([TextRecord(request_id=f"r{sample}", sample_index=sample) for sample in inputs])
    result = count_phase(tokenizer, tmp_path, inputs=inputs.__getitem__)
    expected = {
        sample: authority(sent) if isinstance(sent, str) else len(sent) for sample, sent in inputs.items()
    }
    assert read_counts(tmp_path / "tokens.jsonl").inputs == expected
    assert (result.inputs_counted, result.inputs_pending) == (len(inputs), 0)
    assert result.input_tokens == sum(expected.values())


def test_only_inputs_of_answered_samples_are_requested_once_each(tokenizer, write_texts, tmp_path):
    asked = []
    write_texts(
        [
            TextRecord(request_id=f"r{n}", sample_index=n % 2, content="out", first_event_text="o")
            for n in range(6)
        ]
    )
    backend = tokenizer.backend
    tokenizer.backend = "tokenizers"  # the sample that is counted again asks again
    try:
        result = count_phase(tokenizer, tmp_path, inputs=lambda sample: asked.append(sample) or "in")
    finally:
        tokenizer.backend = backend
    assert (sorted(asked), result.inputs_counted) == ([0, 1], 2)


def test_an_input_that_cannot_be_rendered_is_pending_and_named_while_outputs_are_counted(
    tokenizer, write_texts, tmp_path
):
    def sent(sample):
        if sample == 1:
            raise TokensError("the template takes no such message")
        return "fine"

    write_texts(records(["a", "b", "c"]))
    result = count_phase(tokenizer, tmp_path, inputs=sent)
    assert (result.counted, result.inputs_counted, result.inputs_pending) == (3, 2, 1)
    assert (result.outcome, result.failures) == (
        "failed",
        ["input of sample 1: the template takes no such message"],
    )
    assert read_counts(tmp_path / "tokens.jsonl").inputs[1] is None


SAME = "the same answer " * 20
JOBS_AT_ONCE = 3


@pytest.fixture
def tallied(misbehaving, tmp_path):
    """A tokenizer, and a function that tells how often it encoded the same answer."""
    tally = tmp_path / "tally"
    tally.touch()
    tokenizer = misbehaving(
        f"""
        class Backend(Wrapped):
            def count(self, texts):
                with open({str(tally)!r}, "a") as stream:
                    stream.writelines(text + chr(10) for text in texts if text.startswith("the same answer"))
                return super().count(texts)
        """
    )
    return tokenizer, lambda: tally.read_text().count(SAME)


@pytest.mark.parametrize("logs", [1, 3])
def test_a_text_in_every_range_of_every_log_is_encoded_only_in_the_first_jobs_of_a_worker(
    tallied, texts, write_texts, tmp_path, logs
):
    tokenizer, encoded = tallied
    for worker in range(logs):
        repeating = texts[worker::logs]
        for place in range(0, len(repeating), 20):
            repeating.insert(place, SAME)
        write_texts(
            [
                TextRecord(request_id=f"w{worker}-{n}", sample_index=n, content=text)
                for n, text in enumerate(repeating)
            ],
            worker,
        )
    result = count_phase(tokenizer, tmp_path)
    assert result.complete
    assert 1 <= encoded() <= JOBS_AT_ONCE


def test_a_log_with_a_damaged_first_line_is_counted_from_the_next_line(tokenizer, write_texts, tmp_path):
    same = [TextRecord(request_id=f"r{n}", sample_index=0, content=SAME) for n in range(9)]
    write_texts(same, damage=lambda log: log.replace(b'"r0"', b'"xx"'))
    result = count_phase(tokenizer, tmp_path)
    assert (result.counted, result.pending) == (8, 1)
    assert "does not match its checksum" in result.failures[0]


def test_identical_texts_of_a_range_are_encoded_once(tallied, write_texts, tmp_path):
    tokenizer, encoded = tallied
    write_texts([TextRecord(request_id=f"r{n}", sample_index=n % 2, content=SAME) for n in range(8)])
    result = count_phase(tokenizer, tmp_path, inputs=lambda _: "x")
    assert (result.counted, result.inputs_counted) == (8, 2)
    assert encoded() == 1
    assert len({output.content for output in read_counts(tmp_path / "tokens.jsonl").outputs.values()}) == 1


def test_a_library_is_called_from_one_thread_of_a_worker(misbehaving, texts, write_texts, tmp_path):
    threads = tmp_path / "threads"
    tokenizer = misbehaving(
        f"""
        import threading

        class Backend(Wrapped):
            def count(self, texts):
                with open({str(threads)!r}, "a") as stream:
                    print(threading.get_ident(), file=stream)
                return super().count(texts)
        """
    )
    write_texts(records(texts))
    assert count_phase(tokenizer, tmp_path, inputs=texts.__getitem__).complete
    called = threads.read_text().split()
    assert len(called) > 1
    assert len(set(called)) == 1


def test_a_sample_is_counted_again_by_the_reference_and_timed_separately(
    tokenizer, texts, write_texts, tmp_path
):
    write_texts(records(texts))
    result = count_phase(tokenizer, tmp_path, inputs=texts.__getitem__)
    assert result.verified >= 20
    assert result.verify_elapsed_ns > 0


def test_the_reference_needs_no_second_count(pool, bpe_folder, texts, write_texts, tmp_path):
    write_texts(records(texts[:10]))
    result = count_phase(pool.load(resolve(str(bpe_folder)), backend="tokenizers"), tmp_path)
    assert (result.complete, result.verified, result.backend) == (True, 0, "tokenizers")


def test_a_disagreement_in_the_sample_is_an_error_that_shows_the_text(misbehaving, write_texts, tmp_path):
    tokenizer = misbehaving(
        """
        class Backend(Wrapped):
            def count(self, texts):
                return [count + ("fox" in text) for text, count in zip(texts, super().count(texts))]
        """
    )
    write_texts(records(["a quick fox"] * 3))
    with pytest.raises(TokensError, match=r"count differently.*request r\d, content.*a quick fox"):
        count_phase(tokenizer, tmp_path)
    assert read_counts(tmp_path / "tokens.jsonl").outcome == "failed"


def test_a_disagreement_on_an_input_is_an_error_that_shows_the_text(misbehaving, write_texts, tmp_path):
    tokenizer = misbehaving(
        """
        class Backend(Wrapped):
            def count(self, texts):
                return [count + ("hound" in text) for text, count in zip(texts, super().count(texts))]
        """
    )
    write_texts(records(["a quick fox"], first=7))
    with pytest.raises(TokensError, match=r"input of sample 7: .*a lazy hound"):
        count_phase(tokenizer, tmp_path, inputs=lambda _: "a lazy hound")


def test_only_the_kind_of_a_text_that_cannot_be_counted_is_pending(
    misbehaving, authority, write_texts, tmp_path
):
    tokenizer = misbehaving(POISONED.format(act='raise BaseException("native panic")'))
    write_texts(
        [
            TextRecord(
                request_id="a", sample_index=0, content="fox", reasoning="POISON", first_event_text="f"
            ),
            TextRecord(request_id="b", sample_index=1, content="dog"),
        ]
    )
    result = count_phase(tokenizer, tmp_path, inputs=["POISON pill", "fine"].__getitem__)
    assert (result.counted, result.pending, result.outcome) == (1, 1, "failed")
    assert (result.inputs_counted, result.inputs_pending) == (1, 1)
    assert any("native panic" in failure and "'POISON'" in failure for failure in result.failures)
    counts = read_counts(tmp_path / "tokens.jsonl")
    assert (counts.outputs["a"].content, counts.outputs["a"].reasoning) == (authority("fox"), None)
    assert counts.outputs["a"].total is None
    assert counts.inputs == {0: None, 1: authority("fine")}


def test_a_worker_that_dies_once_loses_no_counts(misbehaving, texts, write_texts, tmp_path):
    mark = tmp_path / "died"
    act = f"os.path.exists({str(mark)!r}) or (open({str(mark)!r}, 'w').close(), os.abort())"
    tokenizer = misbehaving(POISONED.format(act=act))
    write_texts(records([*texts[:200], "POISON", *texts[200:]]))
    result = count_phase(tokenizer, tmp_path)
    assert mark.exists()
    assert (result.counted, result.pending, result.complete) == (501, 0, True)


def test_only_a_range_that_kills_two_workers_is_pending(misbehaving, texts, write_texts, tmp_path):
    tokenizer = misbehaving(POISONED.format(act="os.abort()"))
    write_texts(records([*texts[:200], "POISON", *texts[200:]]))
    result = count_phase(tokenizer, tmp_path)
    assert result.counted + result.pending == 501
    assert 0 < result.pending < 100
    assert (result.timed_out, result.outcome) == (False, "failed")
    assert "tried twice" in result.failures[0]
    assert len(read_counts(tmp_path / "tokens.jsonl").outputs) == result.counted


def test_an_answer_of_the_wrong_length_is_not_counted(misbehaving, write_texts, tmp_path):
    tokenizer = misbehaving(POISONED.format(act="return [1]"))
    write_texts(records(["POISON a", "b", "c"]))
    result = count_phase(tokenizer, tmp_path)
    assert (result.counted, result.pending) == (0, 3)
    assert "answered 1 counts for" in result.failures[0]


def test_after_the_time_limit_the_remaining_texts_are_pending(misbehaving, texts, write_texts, tmp_path):
    tokenizer = misbehaving(
        """
        class Backend(Wrapped):
            def count(self, texts):
                time.sleep(0.2)
                return super().count(texts)
        """
    )
    write_texts(records(texts))
    result = count_phase(tokenizer, tmp_path, inputs=texts.__getitem__, timeout_s=0.7)
    assert (result.timed_out, result.outcome) == (True, "timeout")
    assert result.counted > 0
    assert result.pending > 0
    assert result.counted + result.pending == 500
    assert (result.inputs_counted, result.inputs_pending) == (0, result.counted)
    counts = read_counts(tmp_path / "tokens.jsonl")
    assert (len(counts.outputs), counts.outcome) == (result.counted, "timeout")


def test_a_time_limit_reached_in_one_phase_does_not_affect_the_next(
    misbehaving, texts, write_texts, tmp_path
):
    slow = tmp_path / "slow"
    slow.touch()
    tokenizer = misbehaving(
        f"""
        class Backend(Wrapped):
            def count(self, texts):
                time.sleep(0.3 if os.path.exists({str(slow)!r}) else 0)
                return super().count(texts)
        """
    )
    write_texts(records(texts))
    assert count_phase(tokenizer, tmp_path, timeout_s=0.2, output=tmp_path / "first").timed_out
    slow.unlink()
    assert count_phase(tokenizer, tmp_path, output=tmp_path / "second").counted == 500


def test_a_worker_that_hangs_at_the_time_limit_is_ended_before_the_next_load(
    misbehaving, wordpiece_folder, write_texts, tmp_path
):
    tokenizer = misbehaving(POISONED.format(act="time.sleep(600)"))
    write_texts(records(["POISON"]))
    assert count_phase(tokenizer, tmp_path, timeout_s=0.2).timed_out
    pids = tokenizer.pool.pids
    assert tokenizer.pool.load(resolve(str(wordpiece_folder)), warmup_timeout_s=10.0).count(["fox"]) == [1]
    assert tokenizer.pool.pids != pids


def test_a_damaged_line_is_pending_and_named(tokenizer, texts, write_texts, tmp_path):
    write_texts(records(["one", "two", "three"]), damage=lambda log: log.replace(b"two", b"TWO"))
    result = count_phase(tokenizer, tmp_path)
    assert (result.counted, result.pending, result.outcome) == (2, 1, "failed")
    assert "checksum" in result.failures[0]
    assert "texts.0.jsonl" in result.failures[0]


def test_an_unfinished_log_is_counted_to_its_last_whole_line(tokenizer, write_texts, tmp_path):
    write_texts(records(["one", "two", "three"]), ended=False, damage=lambda log: log[:-10])
    result = count_phase(tokenizer, tmp_path)
    assert (result.counted, result.outcome) == (2, "failed")


def test_a_log_with_fewer_lines_than_its_end_states_is_not_complete(tokenizer, write_texts, tmp_path):
    line = encode_line(b'{"request_id":"gone","sample_index":9}')
    write_texts(
        [*records(["one"]), TextRecord(request_id="gone", sample_index=9)],
        damage=lambda log: log.replace(line, b""),
    )
    result = count_phase(tokenizer, tmp_path)
    assert (result.counted, result.pending, result.outcome) == (1, 1, "failed")
    assert "promise 2 requests and hold 1" in result.failures[0]


def test_lines_that_are_intact_and_not_text_records_stay_pending(tokenizer, write_texts, tmp_path):
    line = encode_line(b'{"sample_index":9}')
    gone = encode_line(b'{"request_id":"gone","sample_index":9}')
    write_texts(
        [*records(["one"]), TextRecord(request_id="gone", sample_index=9)],
        damage=lambda log: log.replace(gone, line),
    )
    result = count_phase(tokenizer, tmp_path)
    assert (result.counted, result.pending, result.outcome) == (0, 2, "failed")
    assert "not a text record" in result.failures[0]


def test_a_full_disk_is_a_failure_and_not_an_interrupt(tokenizer, write_texts, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    write_texts(records(["one"]))
    monkeypatch.setattr(CountsWriter, "add", full)
    with pytest.raises(OSError, match="No space"):
        count_phase(tokenizer, tmp_path)
    assert read_outcome(tmp_path / "tokens.jsonl") == "failed"


def test_a_recount_stops_at_its_time_limit_but_not_before_twenty_texts(tokenizer, texts):
    def recounted(allowance_ns):
        verification = Verification(tokenizer, texts.__getitem__, random.Random(0))
        for _ in range(15):
            verification.add_inputs(list(enumerate(tokenizer.count(texts))), of=len(texts))
        assert verification.run(allowance_ns, give_up=lambda: False)
        return verification.texts

    assert 20 <= recounted(0) < 60
    assert recounted(60 * 10**9) == 300


def test_a_phase_is_not_counted_over_an_earlier_count(tokenizer, write_texts, tmp_path):
    write_texts(records(["one"]))
    count_phase(tokenizer, tmp_path)
    with pytest.raises(EvidenceError, match=r"tokens\.jsonl: exists: this phase has already been counted"):
        count_phase(tokenizer, tmp_path)
    assert count_phase(tokenizer, tmp_path, output=tmp_path / "tokens.again.jsonl").complete


def test_a_phase_without_text_logs_is_refused(tokenizer, tmp_path):
    with pytest.raises(EvidenceError, match="holds no text log"):
        count_phase(tokenizer, tmp_path)


def test_progress_is_reported(tokenizer, texts, write_texts, tmp_path, small_chunks):
    write_texts(records(texts))
    told = []
    count_phase(tokenizer, tmp_path, progress=lambda counted, total: told.append((counted, total)))
    assert told[-1] == (500, 500)
    assert len(told) > 5
    assert told == sorted(told)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_an_interrupted_log_and_no_process(
    number, bpe_folder, custom_worker, write_texts, texts, tmp_path
):
    command = custom_worker(
        """
        class Backend(Wrapped):
            def count(self, texts):
                time.sleep(0.05 if len(texts) > 5 else 600)
                return super().count(texts)
        """
    )
    write_texts(records(texts))
    script = tmp_path / "session.py"
    script.write_text(SESSION.format(command=command, tokenizer=str(bpe_folder), folder=str(tmp_path)))
    session = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    pids = [int(pid) for pid in session.stdout.readline().split()]
    session.stdout.readline()  # something was counted
    session.send_signal(number)
    assert session.wait(60) == 130
    session.stdout.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    counts = read_counts(tmp_path / "tokens.jsonl")
    assert counts.outcome == "interrupted"
    end = LineReader(tmp_path / "tokens.jsonl", "tokens", 1)
    assert len(list(end)) == len(counts.outputs)
    assert end.end["counted"] + end.end["pending"] == 500
    assert end.end["counted"] > 0


SESSION = """
import signal, sys
from pathlib import Path
from pytest_bench.tokens.counting import count_phase
from pytest_bench.tokens.pool import TokenizerPool
from pytest_bench.tokens.source import resolve
from pytest_bench.tokens.verification import Verification
from pytest_bench.tokens.tokenizer import Tokenizer

def on_sigterm(number, frame):
    raise KeyboardInterrupt("SIGTERM")

signal.signal(signal.SIGTERM, on_sigterm)
Tokenizer.chunk_characters = 4000
try:
    with TokenizerPool(command={command!r}) as pool:
        tokenizer = pool.load(resolve({tokenizer!r}))
        print(*pool.pids, flush=True)
        count_phase(
            tokenizer, Path({folder!r}), inputs=lambda _: "hangs", progress=lambda *told: print(*told, flush=True)
        )
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_a_counts_log_without_an_end_was_interrupted(tmp_path):
    path = tmp_path / "tokens.jsonl"
    with CountsWriter(path, "fastokens", "0" * 64, "model", origin={}) as writer:
        writer.add(encode_line(b'{"sample_index":3,"input":5}'), 1)
    counts = read_counts(path)
    assert (counts.outcome, counts.inputs) == ("interrupted", {3: 5})


def test_a_sample_that_is_counted_twice_is_refused(tmp_path):
    path = tmp_path / "tokens.jsonl"
    with CountsWriter(path, "fastokens", "0" * 64, "model", origin={}) as writer:
        writer.add(encode_line(b'{"sample_index":3,"input":5}') * 2, 2)
        writer.end("complete")
    with pytest.raises(EvidenceError, match="counts the input of sample 3 twice"):
        read_inputs(path)


def test_a_line_that_is_not_a_count_is_refused_with_file_and_line(tmp_path):
    path = tmp_path / "tokens.jsonl"
    with CountsWriter(path, "fastokens", "0" * 64, "model", origin={}) as writer:
        writer.add(encode_line(b'{"request_id":"a"}'), 1)
        writer.end("complete")
    with pytest.raises(EvidenceError, match=r"tokens\.jsonl:2: is not a token count"):
        list(read_outputs(path))


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 120))
def test_ranges_are_whole_lines_and_cover_a_log_once(tmp_path_factory, lengths, size):
    path = tmp_path_factory.mktemp("log") / "texts.0.jsonl"
    data = b"".join(b"x" * length + b"\n" for length in lengths)
    path.write_bytes(data)
    ranges = list(cut(path, size))
    assert b"".join(data[start:stop] for start, stop in ranges) == data
    assert all(data[stop - 1 : stop] == b"\n" for _, stop in ranges)
    assert all(stop - start <= size + 51 for start, stop in ranges)
    if data:
        done = random.Random(size).sample(ranges, len(ranges) // 2)
        rest = [part for first, last in left_over(done) for part in cut(path, size, first, last)]
        assert min([*done, *rest])[0] == 0
        assert sum(stop - start for start, stop in [*done, *rest]) == len(data)


def test_a_log_that_is_being_written_is_read_up_to_its_last_whole_line(tmp_path):
    path = tmp_path / "texts.0.jsonl"
    path.write_bytes(b"one\ntwo\nthr")
    assert written_lines(path, 0) == 8
    assert written_lines(path, 8) == 8
    assert records_in(path) == 1


def test_counting_again_from_the_same_logs_gives_the_same(tokenizer, texts, write_texts, tmp_path):
    write_texts(records(texts[:50]))
    first = count_phase(tokenizer, tmp_path, output=tmp_path / "a")
    second = count_phase(tokenizer, tmp_path, output=tmp_path / "b")
    assert first.output_tokens == second.output_tokens
    assert read_counts(tmp_path / "a").outputs == read_counts(tmp_path / "b").outputs
