"""Messages between a session and its agents, whatever else is written to the same output."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.gang.messages import Answer, Assembler, Doing, GangProtocolError, Listening, pieces

TOKEN = "0123456789abcdef"


def received(lines):
    assembler = Assembler(TOKEN)
    return [message for line in lines if (message := assembler.feed(line)) is not None]


@given(st.lists(st.text(max_size=3000), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_messages_of_several_ranks_arrive_whole_however_their_lines_are_mixed(texts, chance: random.Random):
    sent = [Doing(rank=rank, host="n", text=text) for rank, text in enumerate(texts)]
    queues = [pieces(TOKEN, each.rank, each).splitlines(keepends=True) for each in sent]
    lines = []
    while any(queues):
        lines.append(chance.choice([queue for queue in queues if queue]).pop(0))
    assert sorted(received(lines), key=lambda each: each.rank) == sent


def test_what_slurm_and_a_task_prolog_print_is_no_message():
    printed = [
        b"srun: Step created for job 7\n",
        b"\n",
        b"token 0 .{}\n",
        b'{"type": "listening"}\n',
        b"\xff\xfe\n",
    ]
    message = Listening(address="10.0.0.1")
    assert received([*printed, *pieces(TOKEN, 0, message).splitlines(keepends=True)]) == [message]


@pytest.mark.parametrize(
    "rest",
    [b"", b" 0", b" x .{}", b" 0 {}", b' 0 .{"type": "listening"}', b' 0 .{"type": "go"}', b" 0 .\xff"],
)
def test_a_line_with_the_token_that_is_no_message_is_an_error(rest):
    with pytest.raises(GangProtocolError, match=r"is not a (message|piece of a message)"):
        received([TOKEN.encode() + rest + b"\n"])


def test_lines_are_short_enough_that_slurm_does_not_split_them():
    message = Answer(number=1, text="x" * 100_000)
    assert max(map(len, pieces(TOKEN, 4095, message).splitlines())) < 1024
