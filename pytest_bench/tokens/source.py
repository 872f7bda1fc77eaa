"""Where a tokenizer comes from: a folder, a file, or a hub id. Nothing of it is ever executed.

A source is resolved once, to files on this machine and their digests. What the tokenizer would need code
for (`trust_remote_code`) is not supported: the error then says which file is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from pytest_bench.errors import TokensError
from pytest_bench.files import file_digest
from pytest_bench.hub_cache import cached_snapshot, is_hub_id
from pytest_bench.tokens.hub import fetch

JSON_FILE = "tokenizer.json"
_SIDE_FILES = ("tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json")


class TokenizerSource(msgspec.Struct, frozen=True, kw_only=True):
    """A tokenizer found on this machine."""

    name: str
    """As the user wrote it."""
    file: str
    """Path of its vocabulary: a `tokenizer.json`, or a tiktoken rank file."""
    format: Literal["json", "tiktoken"]
    digest: str
    """sha256 of `file`: which tokenizer this is, wherever it lies."""
    files: dict[str, str]
    """sha256 of every file that has a say (chat template and its settings included), by name."""

    @property
    def folder(self) -> Path:
        return Path(self.file).parent


def resolve(
    name: str, *, fetch_folder: Callable[[str, float], Path] = fetch, timeout_s: float = 20.0
) -> TokenizerSource:
    """Find the tokenizer that `name` means: an existing path if there is one, else a hub id.

    `fetch_folder` turns a hub id into a folder, within `timeout_s` seconds. Raises `TokensError` saying what
    was looked for and where.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return _in_folder(name, path)
    if path.is_file():
        return _from_file(name, path)
    if not is_hub_id(name):
        raise TokensError(
            f"tokenizer {name}: no such file or folder ({path.absolute()}); expected a folder that holds a "
            f"{JSON_FILE}. A path in a suite is relative to the suite's folder, one on the command line to the current "
            "folder"
        )
    cached = cached_snapshot(name)
    if cached is not None and _holds_tokenizer(cached):
        return _in_folder(name, cached)
    return _in_folder(name, fetch_folder(name, timeout_s))


def find(name: str | None, model: str | None, beside: str) -> TokenizerSource | None:
    """The tokenizer called `name`; if none is named, the one that `model` leads to; None if there is none.

    A relative model is looked for in `beside`, the folder of the suite, before the current folder. Raises `TokensError`
    if a named tokenizer cannot be found.
    """
    if name is not None:
        return resolve(name)
    return None if model is None else _find_by_model(model, beside)


def _find_by_model(model: str, beside: str) -> TokenizerSource | None:
    """The tokenizer that the name of a served model leads to: a local folder, or a hub id that is cached here.

    None if there is neither. Nothing is downloaded. Raises `TokensError` if a file cannot be read.
    """
    written = Path(model).expanduser()
    places = [Path(beside) / written, written, cached_snapshot(model) if is_hub_id(model) else None]
    found = (place for place in places if place is not None and place.is_dir() and _holds_tokenizer(place))
    return next((_in_folder(model, place) for place in found), None)


def _holds_tokenizer(folder: Path) -> bool:
    return (folder / JSON_FILE).is_file() or len(_rank_files(folder)) == 1


def _rank_files(folder: Path) -> list[Path]:
    return [*sorted(folder.glob("*.tiktoken")), *folder.glob("tiktoken.model")]


def _in_folder(name: str, folder: Path) -> TokenizerSource:
    if (folder / JSON_FILE).is_file():
        return _from_file(name, folder / JSON_FILE)
    ranks = _rank_files(folder)
    if len(ranks) == 1:
        return _from_file(name, ranks[0])
    found = ", ".join(sorted(entry.name for entry in folder.iterdir())[:12]) or "nothing"
    raise TokensError(
        f"tokenizer {name}: {folder} holds neither a {JSON_FILE} nor one tiktoken file (found: {found}). Tokenizers "
        f"that need code of their own are not run: convert it with `save_pretrained` to get a {JSON_FILE}"
    )


def _from_file(name: str, path: Path) -> TokenizerSource:
    # Not resolved: in the hub's cache a file is a link to a blob, away from its name and its neighbours.
    path = path.absolute()
    side = [path.parent / side_file for side_file in _SIDE_FILES]
    try:
        with path.open("rb") as stream:
            is_json = stream.read(64).lstrip()[:1] == b"{"
        files = {file.name: file_digest(file) for file in [path, *side] if file.is_file()}
    except OSError as error:
        raise TokensError(f"tokenizer {name}: {path} cannot be read: {error.strerror or error}") from error
    return TokenizerSource(
        name=name,
        file=str(path),
        format="json" if is_json else "tiktoken",
        digest=files[path.name],
        files=files,
    )
