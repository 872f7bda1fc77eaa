"""Keeps secrets out of everything that leaves the process: files, logs, the terminal, reports.

A server may repeat a key anywhere and in any spelling: in a header, a model name, generated text. Each process
therefore declares its secrets once (`hide`), and every writer replaces them (`redact`). Spellings are derived, not
listed: text is decoded layer by layer, as JSON strings, URLs and HTML are, and searched for the secret and for its
base64 and hexadecimal forms.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

SHORTEST = 6
"""Characters of the shortest value that is hidden everywhere. A shorter one (`EMPTY`, `none`) is a placeholder:
replacing it everywhere would strike ordinary words, so only text that a server wrote is cleared of it."""

MASK = "***"

_ESCAPE = re.compile(
    r"\\+(?:u\{0*([0-9a-fA-F]{2})\}|u00([0-9a-fA-F]{2})|x([0-9a-fA-F]{2})|([^\w\s\\]))"
    r"|\\{2,}"
    r"|%[0-9a-fA-F]{2}"
    r"|&\#?\w+;?"
)
_PERCENT = re.compile(r"%[0-9a-fA-F]{2}")
_ENTITY = re.compile(r"&\#?\w+")
_LAYERS = 4
"""How many spellings may be nested, as in JSON inside a URL inside HTML."""


class Secrets:
    """Secrets, as the texts to look for."""

    def __init__(self) -> None:
        self._long: frozenset[str] = frozenset()
        """Forms of the secrets that are hidden everywhere."""
        self._every: frozenset[str] = frozenset()
        self._marks: frozenset[str] = frozenset({"\\u", "\\x"})
        """A backslash escape that stands for a character of a secret contains one of these."""

    def __bool__(self) -> bool:
        return bool(self._every)

    def add(self, value: str) -> None:
        forms = frozenset(_forms(value)) - {""}
        self._every |= forms
        if len(value) >= SHORTEST:
            self._long |= forms
        self._marks |= {f"\\{letter}" for form in forms for letter in form if not letter.isalnum()}

    def redact(self, text: str, *, foreign: bool = False) -> str:
        """`text` itself if it holds no secret. `foreign`: a server wrote it."""
        forms = self._every if foreign else self._long
        if not forms or not self._held(text, forms):
            return text
        decoded, spans = text, [(place, place + 1) for place in range(len(text))]
        cuts = list(_found(decoded, spans, forms))
        for _ in range(_LAYERS):
            decoded, spans = _decoded(decoded, spans)
            cuts += _found(decoded, spans, forms)
        pieces, done = [], 0
        for start, end in sorted(cuts):
            if end > done:
                pieces += [text[done : max(start, done)], MASK if start >= done else ""]
                done = end
        return "".join((*pieces, text[done:]))

    def _held(self, text: str, forms: frozenset[str]) -> bool:
        """Whether `text` holds one of `forms` in any spelling. Fast for text without escapes."""
        for _ in range(_LAYERS + 1):
            if any(form in text for form in forms):
                return True
            if not self._escaped(text):
                return False
            before, text = text, _ESCAPE.sub(_meant, text)
            if text == before:
                return False
        return False

    def _escaped(self, text: str) -> bool:
        """Whether `text` has an escape that could stand for a character of a secret."""
        return (
            any(mark in text for mark in self._marks)
            or _PERCENT.search(text) is not None
            or ("&" in text and _ENTITY.search(text) is not None)
        )


# One for a process, like the handlers of `logging`: a writer that had to be given the secrets could be
# forgotten, and would then write them.
_SECRETS = Secrets()


def hide(secrets: Iterable[str]) -> None:
    """Replace `secrets` in everything that this process writes out from now on."""
    for secret in secrets:
        _SECRETS.add(secret)


def redact(text: str) -> str:
    """`text` with `***` for every secret, however it is spelled."""
    return _SECRETS.redact(text)


def redact_foreign(text: str) -> str:
    """As `redact`, for text that a server wrote: short secrets are replaced, too."""
    return _SECRETS.redact(text, foreign=True)


def redact_bytes(data: bytes) -> bytes:
    """As `redact`, for bytes about to be written; bytes that are not UTF-8 stay as they are."""
    if not _SECRETS:
        return data
    text = data.decode("utf-8", "surrogateescape")
    cleared = _SECRETS.redact(text)
    return data if cleared is text else cleared.encode("utf-8", "surrogateescape")


def _meant(escape: re.Match[str]) -> str:
    """The character that an escape stands for, or the escape itself if it stands for none."""
    spelled = escape[0]
    if spelled[0] == "%":
        return unquote(spelled, "latin-1")
    if spelled[0] == "&":
        return html.unescape(spelled)
    code = escape[1] or escape[2] or escape[3]
    return chr(int(code, 16)) if code else escape[4] or "\\"


def _decoded(text: str, spans: list[tuple[int, int]]) -> tuple[str, list[tuple[int, int]]]:
    """One layer of escapes replaced; for each character, the part of the original text that it comes from."""
    pieces: list[str] = []
    sources: list[tuple[int, int]] = []
    done = 0
    for escape in _ESCAPE.finditer(text):
        pieces.append(text[done : escape.start()])
        sources += spans[done : escape.start()]
        meant = _meant(escape)
        pieces.append(meant)
        sources += [(spans[escape.start()][0], spans[escape.end() - 1][1])] * len(meant)
        done = escape.end()
    return "".join((*pieces, text[done:])), sources + spans[done:]


def _found(text: str, spans: list[tuple[int, int]], forms: frozenset[str]) -> Iterator[tuple[int, int]]:
    """The parts of the original text that `forms` come from."""
    for form in forms:
        place = text.find(form)
        while place >= 0:
            yield spans[place][0], spans[place + len(form) - 1][1]
            place = text.find(form, place + 1)


def _forms(value: str) -> Iterator[str]:
    """`value`, and its encodings that are not made of escapes."""
    yield value
    yield from {" ".join(value.split()), value.replace(" ", "+"), _ESCAPE.sub(_meant, value)}
    if len(value) < SHORTEST:
        return
    yield from (value.lower(), value.upper())
    data = value.encode()
    yield from (data.hex(), data.hex().upper())
    for shift in range(3):
        # Only these characters follow from the secret alone, whatever stands before and after it.
        first, last = -(-shift * 8 // 6), (shift + len(data)) * 8 // 6
        core = base64.b64encode(bytes(shift) + data).decode()[first:last]
        yield from (core, core.replace("+", "-").replace("/", "_"))
