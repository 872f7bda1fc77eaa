from __future__ import annotations

import random
import sys
import textwrap

import msgspec
import pytest
from byte_level import train
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordPiece
from tokenizers.trainers import WordPieceTrainer

from pytest_bench.cpus import Cpus
from pytest_bench.lines import encode_line, end_line, header_line
from pytest_bench.tokens.pool import TokenizerPool
from pytest_bench.tokens.source import resolve

CORPUS = [
    "The quick brown fox jumps over the lazy dog, again and again and again.",
    "def count(texts):\n    return [len(text.split()) for text in texts]\n",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "敏捷的棕色狐狸跳过了懒狗。 🦊🐶 Съешь же ещё этих мягких французских булок.",
]


@pytest.fixture(scope="session")
def bpe_folder(tmp_path_factory):
    """A small byte-level BPE tokenizer, trained here, as a model's folder would hold it."""
    tokenizer = train(CORPUS * 20, 600, ["<|end|>", "<think>"])
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=9)
    folder = tmp_path_factory.mktemp("bpe")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def wordpiece_folder(tmp_path_factory):
    """A tokenizer that only the authority loads."""
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = WordPieceTrainer(vocab_size=300, special_tokens=["[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(CORPUS * 20, trainer)
    folder = tmp_path_factory.mktemp("wordpiece")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def authority(bpe_folder):
    """The trained tokenizer in this process, to compare with: token count of a text."""
    tokenizer = Tokenizer.from_file(str(bpe_folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.fixture(scope="session")
def pool():
    with TokenizerPool(workers=2, cpus=Cpus(allowed=(0, 1), quota=None, source="test")) as pool:
        yield pool


@pytest.fixture(scope="session")
def tokenizer(pool, bpe_folder):
    return pool.load(resolve(str(bpe_folder)))


@pytest.fixture(scope="session")
def texts():
    """Distinct texts of many lengths and scripts."""
    generator = random.Random(7)
    words = " ".join(CORPUS).split(" ")
    return [
        f"{number} " + " ".join(generator.choices(words, k=generator.randrange(1, 60)))
        for number in range(500)
    ]


@pytest.fixture
def write_texts(tmp_path):
    """Writes a text log as a load worker would, with `damage` done to its bytes afterwards."""

    def write(records, worker=0, *, ended=True, damage=bytes):
        body = b"".join(encode_line(msgspec.json.encode(record)) for record in records)
        log = header_line("texts", 1, worker=worker) + body + (end_line(len(records)) if ended else b"")
        path = tmp_path / f"texts.{worker}.jsonl"
        path.write_bytes(damage(log))
        return path

    return write


@pytest.fixture
def custom_worker(tmp_path):
    """A pool worker whose back end, or whose loading, misbehaves: the code defines `Backend` or `prepare_tokenizer`."""

    def command(code):
        script = tmp_path / "worker.py"
        script.write_text(WORKER.format(code=textwrap.dedent(code)))
        return (sys.executable, "-P", str(script))

    return command


WORKER = """
import os, signal, sys, time
import msgspec
from pytest_bench.tokens.proof import prepare
from pytest_bench.tokens.worker import main

class Wrapped:
    def __init__(self, backend):
        self.inner = backend
        self.name = backend.name
    def count(self, texts):
        return self.inner.count(texts)
    def encode(self, texts):
        return self.inner.encode(texts)

def prepare_tokenizer(task):
    prepared = prepare(task)
    return msgspec.structs.replace(prepared, backend=Backend(prepared.backend))

{code}

main(prepare_tokenizer)
"""
