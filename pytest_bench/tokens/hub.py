"""Downloads the tokenizer files of a hub id, with a time limit.

The download runs in a process of its own, because a library call that hangs in name resolution or in retries cannot be
stopped in another way. Only data files are requested.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pytest_bench.child import Child, python
from pytest_bench.errors import TokensError

_FILES = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "*.tiktoken",
]
_LAST_MOMENT_S = 1.0
"""For ending after the output has ended."""


def fetch(repository: str, timeout_s: float = 20.0) -> Path:
    """Return the folder with the tokenizer of `repository` on this machine.

    Raises `TokensError` if the download does not finish within `timeout_s` seconds.
    """
    child = Child(python("pytest_bench.tokens.hub", repository))
    try:
        line = child.first_line(timeout_s)
        failed = line is None and child.wait(_LAST_MOMENT_S) is not None
    finally:
        child.stop()
    if line is None:
        said = child.stderr_tail().splitlines() or ["no reason given"]
        raise _unreachable(repository, said[-1][:300] if failed else f"no answer within {timeout_s:g} s")
    return Path(os.fsdecode(line.rstrip(b"\n")))


def _unreachable(repository: str, reason: str) -> TokensError:
    return TokensError(
        f"tokenizer {repository}: there is no file or folder of this name, and as a hub id it is neither cached on "
        f"this machine nor reachable ({reason}). Give a folder that holds a tokenizer.json"
    )


def main(repository: str) -> str:
    """Download the tokenizer files of `repository` and return the path of their folder."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415 # heavy, and only this process needs it

    return snapshot_download(repository, allow_patterns=_FILES)


if __name__ == "__main__":
    print(main(sys.argv[1]))
