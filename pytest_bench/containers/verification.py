"""Compares what was asked for with the container's configuration and its serving process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_bench.containers.environment import parse
from pytest_bench.containers.processes import Process
from pytest_bench.suite.secret import holds_key

_SHOWN = 80


def environment_differences(asked: Mapping[str, str], found: Sequence[bytes], where: str) -> Iterator[str]:
    """A sentence for each variable of `asked` that `found` (entries `NAME=VALUE`) does not hold byte for byte."""
    values = parse(found)
    for name, value in asked.items():
        has = values.get(name.encode("utf-8", "surrogateescape"))
        wanted = value.encode("utf-8", "surrogateescape")
        if has is None:
            yield f"{name} is missing in {where}; asked for {_shown(name, wanted)}"
        elif has != wanted:
            yield f"{name} is {_shown(name, has)} in {where}; asked for {_shown(name, wanted)}"


def additional(asked: Mapping[str, str], image: Sequence[str], found: Sequence[str]) -> list[str]:
    """Names in the container's configuration that neither the image nor `asked` holds."""
    known = {*asked, *(entry.partition("=")[0] for entry in image)}
    return sorted({entry.partition("=")[0] for entry in found} - known)


def argument_differences(asked: Sequence[str], process: Process) -> Iterator[str]:
    """A sentence for each declared argument that the command line of `process` does not hold with this value.

    An option and its values count as one argument, written as `--name value` or `--name=value`. An option that the
    process has more often than asked is a difference, too, because the last one counts.
    """
    has = _options(process.arguments)
    for option, values in _options(asked).items():
        where = f"the command line of process {process.pid}"
        if option is None:
            missing = [word for word in values[0] if word not in process.arguments]
            yield from (f"argument {_word(word)} is missing in {where}" for word in missing)
        elif option not in has:
            yield f"argument {_spelled(option, values)} is missing in {where}"
        elif has[option] != values:
            yield f"argument {_spelled(option, has[option])} is in {where}; asked for {_spelled(option, values)}"


def _options(words: Sequence[str]) -> dict[str | None, list[tuple[str, ...]]]:
    """The values of each option, once for each time it is given; under None, the words before the first option."""
    found: dict[str | None, list[tuple[str, ...]]] = {}
    option: str | None = None
    values: list[str] = []
    for word in (*words, None):
        if word is not None and not _is_option(word):
            values.append(word)
            continue
        if option is not None or values:
            found.setdefault(option, []).append(tuple(values))
        if word is None:
            break
        option, equals, value = word.partition("=")
        values = [value] if equals else []
    return found


def _is_option(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not word[1].isdigit() and not word.startswith("-.")


def _spelled(option: str, values: Sequence[tuple[str, ...]]) -> str:
    return _word(" ".join(" ".join((option, *each)) for each in values))


def _word(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _shown(name: str, value: bytes) -> str:
    """A value as a message shows it; of a key, only its length."""
    if holds_key(name):
        return f"a value of {len(value)} bytes"
    return _word(value.decode("utf-8", "backslashreplace"))
