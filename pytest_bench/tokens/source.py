"""Finds a tokenizer: a folder, a file, or a hub id. None of its code is executed.

A source is resolved once, to files on this machine and their digests. Tokenizers that need code of their own
(`trust_remote_code`) are not supported; the error says which file is missing.
"""

from __future__ import annotations

import re
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


_RANK = re.compile(rb"\s*[A-Za-z0-9+/]+={0,2}[ \t]+[0-9]+\s*(?:\n|\Z)")
"""The first line of a tiktoken file."""


class _TokenizerJson(msgspec.Struct):
    """What every `tokenizer.json` has."""

    model: dict[str, msgspec.Raw]


class TokenizerSource(msgspec.Struct, frozen=True, kw_only=True):
    """A tokenizer found on this machine."""

    name: str
    """As the suite or the call names it."""
    file: str
    """Path of its vocabulary: a `tokenizer.json`, or a tiktoken rank file."""
    format: Literal["json", "tiktoken"]
    digest: str
    """sha256 of `file`, which identifies the tokenizer wherever it is stored."""
    files: dict[str, str]
    """sha256 of every file that affects it, including the chat template and its settings, by name."""

    @property
    def folder(self) -> Path:
        return Path(self.file).parent


def resolve(name: str, *, fetch_folder: Callable[[str], Path] = fetch) -> TokenizerSource:
    """Find the tokenizer that `name` means: an existing path if there is one, else a hub id.

    `fetch_folder` turns a hub id into a folder. Raises `TokensError` saying what was looked for and where.
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
    return _in_folder(name, fetch_folder(name))


class NotCached(TokensError):
    """The tokenizer is not on this machine, and may be on the hub."""


def refuse_fetch(name: str) -> Path:
    """In place of `fetch`: raises `NotCached`."""
    raise NotCached(f"tokenizer {name}: is not on this machine")


def find(
    name: str | None, model: str | None, beside: str, *, fetch_folder: Callable[[str], Path] = fetch
) -> TokenizerSource | None:
    """The tokenizer called `name`; if none is named, the one that `model` leads to; None if there is none.

    A relative model is looked for in `beside`, the folder of the suite, before the current folder. `fetch_folder` is
    that of `resolve`. Raises `TokensError` if a named tokenizer cannot be found.
    """
    if name is not None:
        return resolve(name, fetch_folder=fetch_folder)
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
    # Not resolved: a file in the hub's cache is a link to a blob, which has neither its name nor its neighbours.
    path = path.absolute()
    side = [path.parent / side_file for side_file in _SIDE_FILES]
    try:
        data = path.read_bytes()
        files = {file.name: file_digest(file) for file in [path, *side] if file.is_file()}
    except OSError as error:
        raise TokensError(f"tokenizer {name}: {path} cannot be read: {error.strerror or error}") from error
    return TokenizerSource(
        name=name,
        file=str(path),
        format=_format_of(name, path, data),
        digest=files[path.name],
        files=files,
    )


def _format_of(name: str, path: Path, data: bytes) -> Literal["json", "tiktoken"]:
    """Recognise the format by the content. Raises `TokensError` for a file that is not a tokenizer."""
    if data.lstrip()[:1] == b"{":
        try:
            msgspec.json.decode(data, type=_TokenizerJson)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise TokensError(
                f"tokenizer {name}: {path} is not a tokenizer: {error}; expected a {JSON_FILE}, as `save_pretrained` "
                "writes it"
            ) from error
        return "json"
    if not _RANK.match(data):
        raise TokensError(
            f"tokenizer {name}: {path} is not a tokenizer; expected a {JSON_FILE}, or a tiktoken file, whose lines are "
            "base64 and a rank"
        )
    return "tiktoken"
