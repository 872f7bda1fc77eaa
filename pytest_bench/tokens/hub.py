"""Tokenizer files of a hub id: from the local cache, else one download that is given up after a while.

The download runs in a process of its own, because a library call that hangs in name resolution or in
retries cannot be stopped in any other way. Only data files are asked for.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from pytest_bench.errors import TokensError

_FILES = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "*.tiktoken",
]


def fetch(repository: str, timeout_s: float) -> Path:
    """The folder that holds the tokenizer of `repository` on this machine.

    Raises `TokensError` where it is neither cached nor delivered within `timeout_s` seconds.
    """
    command = [sys.executable, "-P", "-m", "pytest_bench.tokens.hub", repository]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise _unreachable(repository, f"no answer within {timeout_s:g} s") from error
    if done.returncode != 0:
        raise _unreachable(repository, (done.stderr.strip().splitlines() or ["no reason given"])[-1][:300])
    return Path(done.stdout.strip())


def _unreachable(repository: str, reason: str) -> TokensError:
    return TokensError(
        f"tokenizer {repository}: no file or folder of this name here, and as a hub id it is neither cached on "
        f"this machine nor reachable ({reason}). Give a folder that holds a tokenizer.json"
    )


def main(repository: str) -> str:
    """Path of the snapshot of `repository`, downloaded unless it is cached."""
    # Imported where it runs: the session itself never needs the hub's library.
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - see above
    from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: PLC0415 - see above

    with contextlib.suppress(LocalEntryNotFoundError):
        cached = Path(snapshot_download(repository, allow_patterns=_FILES, local_files_only=True))
        if any(cached.glob("tokenizer.json")) or any(cached.glob("*.tiktoken")):
            return str(cached)
    return snapshot_download(repository, allow_patterns=_FILES)


if __name__ == "__main__":
    print(main(sys.argv[1]))
