"""Train the tokenizer of the built-in simulator, for the shipped suites: `python suites/simulated/train.py`.

A byte-level BPE on text of this repository: the prompts of the chat suite, and the words of the built-in
simulator. One simulator word is one token, so that the simulator's usage and this tokenizer count outputs alike.
Training is deterministic: the file changes only if the text or this script does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from pytest_bench.simulator.output import EOS, WORDS

HERE = Path(__file__).parent
PROMPTS = "data/chat-prompts.jsonl"
VOCABULARY = 2_048
SPECIAL_TOKENS = (EOS, "<|system|>", "<|user|>", "<|assistant|>")
WORD_REPETITIONS = 2_000
"""Enough for every merge that makes a simulator word to come before those of English text."""


def corpus() -> Iterator[str]:
    """Texts to train on: the prompts, and every simulator word at the start of a text and within one."""
    for line in (HERE.parent / PROMPTS).read_text(encoding="utf-8").splitlines():
        yield json.loads(line)["prompt"]
    for word in WORDS:
        yield from [word.lstrip() + word] * WORD_REPETITIONS


def train() -> Tokenizer:
    """The tokenizer. Raises `ValueError` if a simulator word is not one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL_TOKENS],
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    for word in [*WORDS, *(word.lstrip() for word in WORDS)]:
        if len(tokenizer.encode(word).ids) != 1:
            raise ValueError(
                f"the simulator word {word!r} is not one token: raise VOCABULARY or WORD_REPETITIONS"
            )
    return tokenizer


if __name__ == "__main__":
    (HERE / "tokenizer.json").write_text(train().to_str() + "\n", encoding="utf-8")
