"""The probe set: texts on which tokenizers are known to differ."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

_SCRIPTS = (
    "The quick brown fox jumps over the lazy dog's 1,234,567.89 €, doesn't it? I'LL say WE'VE.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich; ÀÉÎÕÜ ﬁ ﬂ Å Å.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "敏捷的棕色狐狸跳过了懒狗。いろはにほへと ちりぬるを。키스의 고유조건은 입술끼리 만나야 하고",
    "نص حكيم له سر قاطع وذو شأن عظيم",
    "\u200f\u05e2\u05d8\u05dc\u05e3 \u05d0\u05d1\u05e7 \u05e0\u05e1 \u05d3\u05e8\u05da\u200e \u05de\u05d6\u05d2\u05df",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा รักษ์โลก ខ្មែរ བོད་སྐད",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪🇯🇵 1️⃣ ❤️ 🤷🏾‍♀️ 🫠",
    "x = {'a': [1, 2.5e-3, 0xFF]}\nfor i in range(10):\n\tif i % 2:\n\t\tprint(f\"{i!r}\")  # …\n\r\n\n\n",
    '<div class="a">&nbsp;</div><!-- --> https://example.org/a?b=c&d=%20#e user@example.org \\n \\u00e9',
    "a\ufffdb\ufffd\ufffd",
    "e\u0301 n\u0303 \u1100\u1161\u11a8 \u200b\u200d\ufeff\u00a0\u2003\u3000\u2028\u2029",
    "\U0001d518\U0001d52b\U0001d526\U0001d520\U0001d52c\U0001d521\U0001d522 \U0010fffd",
)
_RANDOM_PROBES = 200
_MOST_PROMPTS = 64
_LONGEST_PROMPT = 20_000
_SHOWN = 200
"""Characters that a message shows of each end of a long text."""


def probe_set(added_tokens: Iterable[str], prompts: Iterable[str]) -> list[str]:
    """The fixed probes, every added token alone and within a text, and `prompts`."""
    tokens = list(added_tokens)
    controls = "".join(map(chr, [*range(32), *range(127, 160)]))
    probes = [
        "",
        controls,
        *(f"a{control}b {control}" for control in controls),
        *_SCRIPTS,
        "\n".join(_SCRIPTS),
    ]
    probes += [
        fill * length for fill in (" ", "\n", "\t", "a", "é", "🙂") for length in (1, 2, 3, 7, 64, 1000)
    ]
    probes += [f"{' ' * length}word{' ' * length}" for length in (1, 2, 3, 4, 5, 15, 16, 17, 100)]
    probes += [probe for token in tokens for probe in (token, f"a{token}b", f" {token} {token}")]
    probes += _random_texts()
    return [*probes, *prompts]


def sample_prompts(prompts: Sequence[str]) -> list[str]:
    """At most `_MOST_PROMPTS` of `prompts`, evenly spaced, each cut to `_LONGEST_PROMPT` characters."""
    step = max(1, -(-len(prompts) // _MOST_PROMPTS))
    return [prompt[:_LONGEST_PROMPT] for prompt in prompts[::step]]


def excerpt(text: str) -> str:
    """`text` as a literal; the middle of a long one is left out."""
    if len(text) <= 2 * _SHOWN:
        return repr(text)
    return f"{text[:_SHOWN]!r} … {text[-_SHOWN:]!r} ({len(text)} characters)"


def _random_texts() -> list[str]:
    """Texts of random characters from many blocks, the same in every session."""
    generator = random.Random(20_240_229)  # noqa: S311 # probes, not secrets
    blocks = ((0x20, 0x7F), (0xA0, 0x24F), (0x370, 0x5FF), (0x600, 0x1FFF), (0x2000, 0x33FF), (0x4E00, 0xD7FF),
              (0xE000, 0xFFFD), (0x10000, 0x1FAFF))  # fmt: skip
    return [
        "".join(
            chr(generator.randrange(*generator.choice(blocks))) for _ in range(generator.randrange(1, 60))
        )
        for _ in range(_RANDOM_PROBES)
    ]
