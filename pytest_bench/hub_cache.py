"""Ids of models on the Hugging Face hub, and where its library caches their files on this machine.

Only paths are looked at: nothing is downloaded, and the library itself is not imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")
_FILE_SUFFIXES = (".json", ".tiktoken", ".model")


def is_hub_id(name: str) -> bool:
    """Whether `name` can be an id on the hub: `name` or `owner/name`. Such a name may be a relative path, too."""
    return _HUB_ID.fullmatch(name) is not None and not name.endswith(_FILE_SUFFIXES)


def cached_snapshot(hub_id: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The folder that holds the newest cached files of `hub_id`; None if nothing is cached.

    Layout and variables: `huggingface_hub`, "Understand caching" and "Environment variables".
    """
    home = environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    cache = Path(environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()
    model = cache / f"models--{hub_id.replace('/', '--')}"
    try:
        commit = (model / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    snapshot = model / "snapshots" / commit
    return snapshot if commit and snapshot.is_dir() else None
