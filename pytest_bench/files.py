"""Durable files: canonical JSON, digests, atomic replacement, and reads that never hang."""

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
"""Largest size, in bytes, of a JSON file that is read into memory."""


def canonical_json(value: object) -> bytes:
    """`value` as compact JSON with sorted keys. Raises `ValueError` for a number that is not finite.

    A lone surrogate, as in broken model output, is replaced by `?`, so that the file can always be written.
    """
    builtins = msgspec.to_builtins(value)
    text = json.dumps(builtins, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode(errors="replace")


def readable_json(value: object) -> bytes:
    """Like `canonical_json`, but indented and ending in a newline."""
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
    """Replace a file by writing, syncing and renaming a temporary one: a crash leaves the old bytes or the new ones.

    Returns the bytes written: `data` without secrets (`redaction`). Raises `OSError`, with the temporary file removed.
    A path that exists and is not a regular file is refused in the same way, because the rename would replace a device
    or a pipe.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
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
    """Write `value` as `readable_json`, by `write_atomic`."""
    write_atomic(path, readable_json(value))


def fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> Any:
    """Decode a JSON file strictly: a regular file, UTF-8, no duplicate keys, finite numbers, no lone surrogates.

    Raises `EvidenceError`, which names the file, for anything else and for a file that cannot be read.
    """
    try:
        text = read_plain(path, LARGEST_JSON).decode("utf-8")
        value = STRICT_JSON.decode(text)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror or error}") from error
    except RecursionError as error:
        raise EvidenceError(f"{path}: is nested too deeply") from error
    except UnicodeEncodeError as error:
        raise EvidenceError(f"{path}: is not strict JSON: it holds a lone surrogate") from error
    except ValueError as error:
        raise EvidenceError(f"{path}: is not strict JSON: {error}") from error
    return value


def read_plain(path: Path, largest: int) -> bytes:
    """The bytes of a regular file of at most `largest` bytes. Never waits for a pipe or a device.

    Raises `OSError`, and `EvidenceError` for a file that is not regular or too large.
    """
    with open_plain(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        data = stream.read(largest + 1) if size <= largest else b""
        if size > largest or len(data) > largest:  # a file may grow, and in /proc every size is 0
            raise EvidenceError(f"{path}: is {max(size, len(data))} bytes long; expected at most {largest}")
        return data


def open_plain(path: Path) -> BufferedReader:
    """Open a regular file for reading. Never waits for a pipe or a device.

    Raises `OSError`, and `EvidenceError` for anything but a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise EvidenceError(f"{path}: is not a regular file")
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
    """A decoder's complaint about one line of a file, without its own line number, which is always 1."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.removesuffix(' at')} at column {error.colno}"
    return str(error).partition("\n")[0]
