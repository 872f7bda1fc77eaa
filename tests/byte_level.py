"""A small tokenizer, trained where a test needs one."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SENTENCES = ["the model answers in words of several lengths"] * 20


def train(
    texts: Iterable[str] = SENTENCES, vocabulary: int = 400, special_tokens: Iterable[str] = ()
) -> Tokenizer:
    """Byte-level BPE: every text has tokens, and most words take several."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
