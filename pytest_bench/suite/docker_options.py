"""Mounts in options of `docker run`, as manifests of other tools hold them.

>>> found = taken_over("--rm -v /data/:/models:ro --ipc host")
>>> [(mount.source, mount.target, mount.read_only) for mount in found.mounts]
[('/data', '/models', True)]
>>> found.rest
('--rm', '--ipc', 'host')
"""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec

from pytest_bench.suite.container_plan import Mount
from pytest_bench.suite.mounts import normalised

_WITHOUT_VALUE = frozenset(
    {
        *("--detach", "--disable-content-trust", "--help", "--init", "--interactive", "--no-healthcheck"),
        *(
            "--oom-kill-disable",
            "--privileged",
            "--publish-all",
            "--quiet",
            "--read-only",
            "--rm",
            "--sig-proxy",
        ),
        "--tty",
    }
)
"""Long options of `docker run` that take no word after them; all others do."""
_LETTERS_WITHOUT_VALUE = frozenset("diPqt")
_MOUNTING = {"--volume": "volume", "-v": "volume", "--mount": "mount", "--tmpfs": "tmpfs"}
_WITHOUT_EFFECT = frozenset({"rw", "cached", "consistent", "delegated"})
"""Options of `-v` that are the default on Linux."""
_TMPFS_DEFAULTS = frozenset({"rw", "noexec", "nosuid", "nodev"})
_SIZE = re.compile(r"([0-9]+)([bkmgt]?)(?:ib|b)?", re.IGNORECASE)
_POWERS = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_SOURCES, _TARGETS, _READ_ONLY = ("source", "src"), ("target", "destination", "dst"), ("readonly", "ro")


class DockerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of `docker run`, with the mounts taken out."""

    mounts: tuple[Mount, ...]
    """In the order given; one target may occur several times (see `mounts.merged`)."""
    rest: tuple[str, ...]
    """The other words, unchanged."""


def taken_over(options: str | Sequence[str]) -> DockerOptions:
    """The mounts of `-v`, `--volume`, `--mount` and `--tmpfs`, and the other words. A text is split as a shell would.

    Raises `ValueError` that quotes the option if it cannot be expressed as a `Mount`: named volumes, SELinux labels,
    propagation, and what Docker would refuse.
    """
    words = shlex.split(options) if isinstance(options, str) else list(options)
    mounts: list[Mount] = []
    rest: list[str] = []
    for name, value, written in _options(words):
        kind = _MOUNTING.get(name)
        if kind is None:
            rest += written
            continue
        try:
            mounts.append(_READERS[kind](_given(value)))
        except ValueError as error:
            raise ValueError(f"the Docker option {shlex.join(written)!r} {error}") from error
    return DockerOptions(mounts=tuple(mounts), rest=tuple(rest))


def _options(words: Sequence[str]) -> Iterator[tuple[str, str | None, list[str]]]:
    """Each option with its value, if it has one, and its words. As in Docker, letters may share a word: `-itv A:B`."""
    left = iter(words)
    for word in left:
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word.partition("=")
            if equals or name in _WITHOUT_VALUE:
                yield name, value if equals else None, [word]
            else:
                following = next(left, None)
                yield name, following, [word] if following is None else [word, following]
        elif word.startswith("-") and len(word) > 1:
            yield from _letters(word, left)
        else:
            yield word, None, [word]


def _letters(word: str, left: Iterator[str]) -> Iterator[tuple[str, str | None, list[str]]]:
    flags = ""
    for place, letter in enumerate(word[1:], start=1):
        if letter in _LETTERS_WITHOUT_VALUE:
            flags += letter
            continue
        if flags:
            yield f"-{flags}", None, [f"-{flags}"]
        attached = word[place + 1 :].removeprefix("=")
        following = attached or next(left, None)
        yield f"-{letter}", following, [f"-{letter}"] if following is None else [f"-{letter}", following]
        return
    yield word, None, [word]


def _given(value: str | None) -> str:
    if value is None:
        raise ValueError("needs a value")
    return value


def _volume(text: str) -> Mount:
    """`SOURCE:TARGET[:OPTIONS]`."""
    source, colon, rest = text.partition(":")
    if not colon:
        raise ValueError("is an anonymous volume; expected a path of the host before the target")
    target, _, options = rest.partition(":")
    words = options.split(",") if options else []
    unknown = [word for word in words if word not in {*_WITHOUT_EFFECT, "ro"}]
    if unknown:
        raise ValueError(f"has the option {unknown[0]!r}; expected 'ro' or 'rw'")
    return Mount(target=normalised(target), source=_source(source), read_only="ro" in words)


def _mount(text: str) -> Mount:
    """`type=…,source=…,target=…[,readonly]`, a line of CSV."""
    (fields,) = csv.reader([text], strict=True)
    given = {}
    for field in fields:
        name, equals, value = field.partition("=")
        if name in given:
            raise ValueError(f"gives {name!r} twice")
        given[name] = value if equals else "true"
    kind = given.pop("type", "volume")
    if kind not in {"bind", "tmpfs"}:
        raise ValueError(f"is of the type {kind!r}; expected 'bind' or 'tmpfs'")
    source, target = _one_of(given, _SOURCES), _one_of(given, _TARGETS)
    read_only = _one_of(given, _READ_ONLY) or "false"
    size = given.pop("tmpfs-size", None) if kind == "tmpfs" else None
    if given:
        raise ValueError(f"has the option {next(iter(given))!r}, which cannot be taken over")
    if target is None:
        raise ValueError("names no target")
    if (source is None) is (kind == "bind"):
        raise ValueError(
            "names no source" if source is None else "names a source, which a tmpfs does not have"
        )
    return Mount(
        target=normalised(target),
        source=None if source is None else _source(source),
        read_only=_boolean(read_only),
        size_bytes=None if size is None else _bytes(size),
    )


def _tmpfs(text: str) -> Mount:
    """`TARGET[:OPTIONS]`."""
    target, _, options = text.partition(":")
    read_only, size = False, None
    for word in options.split(",") if options else ():
        name, _, value = word.partition("=")
        if name == "size":
            size = _bytes(value)
        elif word == "ro":
            read_only = True
        elif word not in _TMPFS_DEFAULTS:
            raise ValueError(f"has the option {word!r}, which cannot be taken over")
    return Mount(target=normalised(target), read_only=read_only, size_bytes=size)


_READERS = {"volume": _volume, "mount": _mount, "tmpfs": _tmpfs}


def _source(path: str) -> str:
    """A path of the host, without trailing slashes. `..` stays, because the part before it may be a link."""
    if not path.startswith("/"):
        raise ValueError(f"has the source {path!r}; expected an absolute path of the host, not a volume")
    parts = [part for part in path.split("/") if part not in {"", "."}]
    return "/" + "/".join(parts)


def _one_of(given: dict[str, str], names: Sequence[str]) -> str | None:
    """The value under one of several names for the same thing."""
    found = [given.pop(name) for name in names if name in given]
    if any(one != other for one, other in pairwise(found)):
        raise ValueError(f"gives {names[0]!r} twice")
    return found[0] if found else None


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0"}:
        raise ValueError(f"says readonly={text}; expected true or false")
    return text.lower() in {"true", "1"}


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"has the size {text!r}; expected a number of bytes such as 65536k or 1g")
    return int(match[1]) << _POWERS[match[2].lower()]
