"""Writes the eval set of arithmetic stories, in gsm8k's format: `python suites/data/make_arithmetic_stories.py`.

Each row has a question in words, an answer whose steps hold calculator annotations `<<3*4=12>>` and which ends in
`#### 12`, and an id. The same seed gives the same bytes. `arithmetic-stories.jsonl` holds the items,
`arithmetic-stories-shots.jsonl` the few-shot examples, none of which is an item, and
`arithmetic-stories-answers.jsonl` what the simulator answers: mostly right, and in every way that answers of models
go wrong.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

SEED = 20_251
ITEMS, SHOTS = 200, 8

NAMES = [
    "Amira",
    "Boris",
    "Chen",
    "Dalia",
    "Emeka",
    "Farah",
    "Goran",
    "Hana",
    "Ivo",
    "Jamila",
    "Kofi",
    "Lena",
]
THINGS = ["marbles", "stamps", "postcards", "buttons", "shells", "pencils", "stickers", "coins"]
GOODS = ["loaves", "lanterns", "baskets", "notebooks", "plants", "kites", "candles", "mugs"]
PLACES = ["market", "fair", "school", "harbour", "library", "station", "garden", "museum"]

Story = tuple[str, list[str], int]
"""Question, worked steps, answer."""


def gathering(pick: random.Random) -> Story:
    first, second = pick.sample(NAMES, 2)
    thing, start, times, given = (
        pick.choice(THINGS),
        pick.randint(3, 40),
        pick.randint(2, 6),
        pick.randint(1, 9),
    )
    more = start * times
    left = start + more - given
    question = (
        f"{first} has {start} {thing}. {second} has {times} times as many and gives all of them to {first}, who then "
        f"gives {given} away. How many {thing} does {first} have now?"
    )
    return (
        question,
        [
            f"{second} has {start} * {times} = <<{start}*{times}={more}>>{more} {thing}.",
            f"{first} then has {start} + {more} - {given} = <<{start}+{more}-{given}={left}>>{left} {thing}.",
        ],
        left,
    )


def selling(pick: random.Random) -> Story:
    name, goods, place = pick.choice(NAMES), pick.choice(GOODS), pick.choice(PLACES)
    price, morning, cost = pick.randint(3, 25), pick.randint(8, 60), pick.randint(10, 90)
    evening = morning // 2
    morning = evening * 2
    sold = morning + evening
    income, profit = sold * price, sold * price - cost
    question = (
        f"At the {place}, {name} sells {morning} {goods} in the morning and half as many in the evening, for ${price} "
        f"each. The stall costs ${cost}. How many dollars does {name} earn after paying for the stall?"
    )
    return (
        question,
        [
            f"In the evening {name} sells {morning} / 2 = <<{morning}/2={evening}>>{evening} {goods}.",
            f"Together that is {morning} + {evening} = <<{morning}+{evening}={sold}>>{sold} {goods}.",
            f"They bring {sold} * {price} = $<<{sold}*{price}={income}>>{income}.",
            f"After the stall, {income} - {cost} = $<<{income}-{cost}={profit}>>{profit} is left.",
        ],
        profit,
    )


def walking(pick: random.Random) -> Story:
    name, place = pick.choice(NAMES), pick.choice(PLACES)
    minutes, days, extra = pick.randint(6, 45), pick.randint(3, 6), pick.randint(10, 60)
    daily = 2 * minutes
    week = daily * days
    total = week + extra
    question = (
        f"The walk to the {place} takes {name} {minutes} minutes each way. {name} goes there and back on {days} days, "
        f"and once takes a detour of {extra} minutes. How many minutes does {name} walk in all?"
    )
    return (
        question,
        [
            f"There and back takes 2 * {minutes} = <<2*{minutes}={daily}>>{daily} minutes.",
            f"On {days} days that is {daily} * {days} = <<{daily}*{days}={week}>>{week} minutes.",
            f"With the detour it is {week} + {extra} = <<{week}+{extra}={total}>>{total} minutes.",
        ],
        total,
    )


def sharing(pick: random.Random) -> Story:
    name, thing = pick.choice(NAMES), pick.choice(THINGS)
    friends, each, kept = pick.randint(2, 9), pick.randint(2, 30), pick.randint(1, 20)
    boxes = pick.randint(2, 5)
    total = friends * each + kept
    need, total_kept = total * boxes, kept * boxes
    shared = need - total_kept
    question = (
        f"{name} opens {boxes} boxes with {total} {thing} each, keeps {total_kept} {thing}, and shares the rest "
        f"equally among {friends} friends. How many {thing} does each friend get?"
    )
    return (
        question,
        [
            f"There are {boxes} * {total} = <<{boxes}*{total}={need}>>{need} {thing}.",
            f"{need} - {total_kept} = <<{need}-{total_kept}={shared}>>{shared} are shared.",
            (
                f"Each friend gets {shared} / {friends} = "
                f"<<{shared}/{friends}={each * boxes}>>{each * boxes} {thing}."
            ),
        ],
        each * boxes,
    )


def saving(pick: random.Random) -> Story:
    name, goods = pick.choice(NAMES), pick.choice(GOODS)
    weekly, weeks, price = pick.randint(11, 95), pick.randint(12, 52), pick.randint(4, 30)
    saved = weekly * weeks
    bought = pick.randint(1, saved // price)
    spent = bought * price
    left = saved - spent
    question = (
        f"{name} saves ${weekly} a week for {weeks} weeks, and then buys {bought} {goods} for ${price} each. How many "
        f"dollars are left?"
    )
    return (
        question,
        [
            f"{name} saves {weekly} * {weeks} = $<<{weekly}*{weeks}={saved}>>{saved}.",
            f"The {goods} cost {bought} * {price} = $<<{bought}*{price}={spent}>>{spent}.",
            f"That leaves {saved} - {spent} = $<<{saved}-{spent}={left}>>{left}.",
        ],
        left,
    )


KINDS: tuple[Callable[[random.Random], Story], ...] = (gathering, selling, walking, sharing, saving)


def stories() -> list[dict[str, str]]:
    """Rows, few-shot examples first, no question twice."""
    pick = random.Random(SEED)  # noqa: S311 # the same rows every time
    rows: dict[str, dict[str, str]] = {}
    while len(rows) < ITEMS + SHOTS:
        question, steps, answer = KINDS[len(rows) % len(KINDS)](pick)
        number = f"{answer:,}" if answer >= 10_000 else str(answer)
        rows.setdefault(
            question,
            {
                "id": f"story-{len(rows):03}",
                "question": question,
                "answer": "\n".join([*steps, f"#### {number}"]),
            },
        )
    return list(rows.values())


ANSWERS = {
    "right": 156,
    "thinking": 24,
    "wrong": 6,
    "prose": 3,
    "reciting": 3,
    "continuing": 1,
    "truncated": 2,
    "empty": 1,
    "null": 1,
    "reasoning_only": 1,
    "unparseable": 1,
    "refused": 1,
}
"""How many items are answered in which way."""


def answer_to(row: dict[str, str], shot: dict[str, str], off_by: int) -> dict[str, dict[str, Any]]:
    """The simulator's answer to an item, by the way in which it answers."""
    worked, _, number = row["answer"].rpartition("#### ")
    steps, final = re.sub("<<.*?>>", "", worked), f"#### {number}"
    other = f"Question: {shot['question']}\nAnswer: {shot['answer']}"
    return {
        "right": {"content": steps + final},
        "thinking": {"content": final, "reasoning": f"Step by step.\n{steps}"},
        "wrong": {"content": f"{steps}#### {int(number.replace(',', '')) + off_by}"},
        "prose": {"content": f"{steps}The answer is {number}."},
        "reciting": {"content": f"As in the example:\n{shot['answer']}\nIn the same way:\n{steps}{final}"},
        "continuing": {"content": f"{steps}{final}\n\n{other}"},
        "truncated": {"content": steps[: len(steps) // 2], "finish_reason": "length"},
        "empty": {"content": ""},
        "null": {"content": None, "reasoning": f"{steps}Wait.\n{steps}", "finish_reason": "length"},
        "reasoning_only": {"content": "", "reasoning": f"{steps}So the answer is {number}."},
        "unparseable": {"content": "There are as many as before, and a few more."},
        "refused": {"content": "I cannot help with that.", "finish_reason": "content_filter"},
    }


def answers(items: list[dict[str, str]], shots: list[dict[str, str]]) -> list[dict[str, Any]]:
    """One answer for each item."""
    pick = random.Random(SEED)  # noqa: S311 # the same rows every time
    kinds = [kind for kind, count in ANSWERS.items() for _ in range(count)]
    pick.shuffle(kinds)
    return [
        {
            "item": row["id"],
            "prompt": row["question"],
            **answer_to(row, pick.choice(shots), pick.choice((-10, -1, 1, 2, 100)))[kind],
        }
        for kind, row in zip(kinds, items, strict=True)
    ]


def main() -> None:
    rows, folder = stories(), Path(__file__).parent
    shots, items = rows[:SHOTS], rows[SHOTS:]
    for name, part in (
        ("arithmetic-stories-shots", shots),
        ("arithmetic-stories", items),
        ("arithmetic-stories-answers", answers(items, shots)),
    ):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in part)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
