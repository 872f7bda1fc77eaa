"""Durable files: canonical JSON, digests, and final files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import secrets
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.redaction import redact_bytes

LARGEST_JSON = 256 << 20
"""Bytes of a JSON file that is read whole."""


def canonical_json(value: object) -> bytes:
    """`value` as compact JSON with sorted keys. Raises `ValueError` for a number that is not finite.

    Half a character, as broken output of a model may hold, becomes a question mark: a file can always be written.
    """
    builtins = msgspec.to_builtins(value)
    text = json.dumps(builtins, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode(errors="replace")


def readable_json(value: object) -> bytes:
    """As `canonical_json`, indented for people, ending in a newline."""
    builtins = msgspec.to_builtins(value)
    text = json.dumps(builtins, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=2)
    return f"{text}\n".encode(errors="replace")


def digest(value: object) -> str:
    """sha256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 (hex) of a file's bytes, read in bounded chunks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomic(path: Path, data: bytes) -> bytes:
    """Write, fsync, rename, fsync of the folder: after a crash the old bytes or the new ones, never a mix.

    Returns what was written: `data` without secrets (`redaction`). Raises `OSError` as the system gave it; the
    temporary file is then gone. A path that leads to a device or a pipe raises it too: the rename would replace
    that by a file.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is no plain file", str(path))
    data = redact_bytes(data)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    fsync_folder(path.parent)
    return data


def write_json(path: Path, value: object) -> None:
    """`readable_json` of `value`, written as `write_atomic` does."""
    write_atomic(path, readable_json(value))


def fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> Any:
    """Decode a JSON file strictly: a plain file, UTF-8, no duplicate keys, finite numbers, whole characters.

    Raises `EvidenceError` naming the file for anything else, an unreadable file included.
    """
    try:
        text = read_plain(path, LARGEST_JSON).decode("utf-8")
        value = STRICT_JSON.decode(text)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror or error}") from error
    except RecursionError as error:
        raise EvidenceError(f"{path}: is nested too deeply to be evidence") from error
    except UnicodeEncodeError as error:
        raise EvidenceError(f"{path}: is not strict JSON: it holds half of a character") from error
    except ValueError as error:
        raise EvidenceError(f"{path}: is not strict JSON: {error}") from error
    return value


def read_plain(path: Path, largest: int) -> bytes:
    """The bytes of a plain file of at most `largest` bytes; never waits on a pipe or a device.

    Raises `OSError`, and `EvidenceError` for what is no plain file or too large to be read whole.
    """
    with open_plain(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > largest:
            raise EvidenceError(f"{path}: is {size} bytes long; expected at most {largest}")
        return stream.read()


def open_plain(path: Path) -> BufferedReader:
    """A plain file, opened for reading; never waits on a pipe or a device.

    Raises `OSError`, and `EvidenceError` for what is no plain file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise EvidenceError(f"{path}: is no plain file")
    return os.fdopen(descriptor, "rb")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key, value in pairs:
        if key in mapping:
            raise ValueError(f"duplicate key {key!r}")
        mapping[key] = value
    return mapping


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a finite number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is not a finite number")
    return number


STRICT_JSON = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, parse_float=_finite
)
"""Decodes JSON without duplicate keys and with finite numbers only; raises `ValueError` for anything else."""


def wrong_in_line(error: Exception) -> str:
    """What a decoder says is wrong with one line of a file, without calling it line 1."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.removesuffix(' at')} at column {error.colno}"
    return str(error).partition("\n")[0]
