import importlib.util
import json
import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_bench.errors import DatasetError, UsageError
from pytest_bench.evals.tasks import Message, Task, build_items, generation_of, keys_of, scoring_of
from pytest_bench.scoring import Response, build_scoring

DATA = Path(__file__).parents[2] / "suites" / "data"
STRICT = build_scoring("gsm8k-strict-match")
ROWS = [
    {"id": "a", "question": "1 + 1?", "answer": "#### 2"},
    {"id": "b", "question": "1 + 2?", "answer": "#### 3"},
]
SHOTS = [{"id": "s", "question": "0 + 1?", "answer": "#### 1"}]


def task(**changes):
    fields = {
        "name": "sums",
        "origin": "evals.yaml:3:5",
        "template": "Question: {{question}}\nAnswer:",
        "target": "{{answer}}",
        "scorings": (STRICT,),
    }
    return Task(**{**fields, **changes})


def generation(made, rows=ROWS, shots=SHOTS, **changes):
    facts = {"model": "m", "revision": None, "concurrency": 2, **changes}
    return generation_of(made, build_items(made, rows, shots), shots, **facts)


def test_a_prompt_is_the_examples_with_their_answers_and_then_the_item():
    first, second = build_items(task(), ROWS, SHOTS)
    assert first.prompt == "Question: 0 + 1?\nAnswer: #### 1\n\nQuestion: 1 + 1?\nAnswer:"
    assert (first.target, first.index, first.id) == ("#### 2", 0, "0")
    assert second.prompt.endswith("Question: 1 + 2?\nAnswer:")


def test_examples_of_a_chat_are_turns_between_the_system_message_and_the_item():
    messages = (Message(role="system", content="Calculate."), Message(role="user", content="{{question}}"))
    item = build_items(task(template=None, messages=messages), ROWS, SHOTS)[0]
    assert item.prompt == (
        {"role": "system", "content": "Calculate."},
        {"role": "user", "content": "0 + 1?"},
        {"role": "assistant", "content": "#### 1"},
        {"role": "user", "content": "1 + 1?"},
    )


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"template": "{{quesion}}"}, "row 1.*'quesion' is undefined"),
        ({"template": "{{question"}, "template: invalid template"),
        ({"template": "{{ ''.__class__.__mro__ }}"}, "unsafe"),
        ({"template": "{% set x = question.append(1) %}"}, "cannot be rendered"),
        ({"template": "{{ 1 / 0 }}"}, "division by zero"),
        ({"template": None}, "either `template` or `messages`"),
        ({"scorings": ()}, "has no scorer"),
        ({"scorings": (STRICT, STRICT)}, "two scorers report 'exact_match,strict-match'"),
        ({"repeats": 0}, "`repeats` is 0"),
        ({"shuffle_seed": 1}, "needs `choices_column` and `answer_column`"),
        ({"id_column": "name"}, "column 'name' is None"),
        ({"choices_column": "question"}, "must be a list of texts"),
    ],
)
def test_a_task_that_cannot_be_asked_is_refused_before_anything_is_requested(changes, what):
    with pytest.raises(UsageError, match=f"(?s)evals.yaml:3:5.*{what}"):
        build_items(task(**changes), ROWS)


def test_duplicate_ids_are_refused_naming_both_rows():
    rows = [*ROWS, {**ROWS[0], "question": "another?"}]
    with pytest.raises(DatasetError, match="row 3: the id 'a' is also that of row 1"):
        build_items(task(id_column="id"), rows)


def test_an_item_that_is_also_an_example_is_refused():
    with pytest.raises(DatasetError, match="row 1: is also a few-shot example"):
        build_items(task(), ROWS, [ROWS[0]])


def test_an_empty_dataset_is_refused():
    with pytest.raises(DatasetError, match="has no items"):
        build_items(task(), [])


def test_fewer_requests_than_the_concurrency_are_refused():
    items = build_items(task(), ROWS)
    with pytest.raises(UsageError, match="2 items in 1 repeats, fewer than the concurrency 3"):
        keys_of(task(), items, 3)
    assert len(keys_of(task(repeats=2), items, 3)) == 4


def test_shuffled_choices_reach_the_template_and_the_target():
    rows = [{"q": "Which?", "options": ["red", "blue", "green", "grey"], "right": 1}]
    made = task(
        template="{{q}}{% for choice in choices %}\n{{loop.index}} {{choice}}{% endfor %}",
        target="({{answer_letter}})",
        choices_column="options",
        answer_column="right",
        shuffle_seed=7,
        scorings=(build_scoring("multiple-choice-shuffled"),),
    )
    item = build_items(made, rows)[0]
    letter = item.target[1]
    assert item.choices[ord(letter) - ord("A")] == "blue"
    assert sorted(item.choices) == ["blue", "green", "grey", "red"]
    assert item.prompt.splitlines()[1:] == [
        f"{place} {choice}" for place, choice in enumerate(item.choices, 1)
    ]
    assert made.scorings[0].score(Response(content=f"({letter})"), item.target, item.choices).value == 1


@pytest.mark.parametrize("right", [4, -1, True, "1", None])
def test_an_invalid_index_of_the_right_choice_is_refused(right):
    made = task(template="{{q}}", target="x", choices_column="options", answer_column="right", shuffle_seed=7)
    with pytest.raises(DatasetError, match="expected an index from 0 to 3"):
        build_items(made, [{"q": "?", "options": list("abcd"), "right": right}])


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("items", {"rows": [ROWS[1], ROWS[0]]}),
        ("items", {"rows": [{**ROWS[0], "answer": "#### 9"}, ROWS[1]]}),
        ("prompts", {"made": task(template="Q: {{question}}\nA:")}),
        ("few_shots", {"shots": [{**SHOTS[0], "answer": "#### 0"}]}),
        ("parameters", {"made": task(parameters={"stop": ["Question:"]})}),
        ("seed", {"made": task(seed=1)}),
        ("model", {"model": "n"}),
        ("revision", {"revision": "r"}),
        ("repeats", {"made": task(repeats=2)}),
        ("concurrency", {"concurrency": 4}),
    ],
)
def test_the_fingerprint_of_generation_covers_everything_that_answers_depend_on(field, changes):
    plain, changed = generation(task()), generation(**{"made": task(), **changes})
    assert getattr(plain, field) != getattr(changed, field)


def test_the_fingerprint_of_generation_does_not_cover_scoring():
    other = task(scorings=(build_scoring("numeric"),), target="{{answer}}!")
    assert generation(task(), shots=[]) == generation(other, shots=[])
    assert scoring_of(task()) != scoring_of(other)


def test_the_fingerprint_of_scoring_covers_target_and_prompt():
    assert scoring_of(task()) == scoring_of(task())
    assert scoring_of(task()) != scoring_of(task(target="{{answer}}!"))
    assert scoring_of(task()) != scoring_of(task(template="{{question}}"))


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, unique=True))
def test_rows_are_data_and_never_templates(questions):
    items = build_items(
        task(template="{{question}}"), [{"question": text, "answer": ""} for text in questions]
    )
    assert [item.prompt for item in items] == questions
    assert len({item.content for item in items}) == len(questions)


def rows_of(name):
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]


def test_the_shipped_eval_set_is_what_its_script_writes():
    path = DATA / "make_arithmetic_stories.py"
    spec = importlib.util.spec_from_file_location("make_arithmetic_stories", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    rows = script.stories()
    assert rows[: script.SHOTS] == rows_of("arithmetic-stories-shots")
    assert rows[script.SHOTS :] == rows_of("arithmetic-stories")
    answers = script.answers(rows[script.SHOTS :], rows[: script.SHOTS])
    assert answers == rows_of("arithmetic-stories-answers")
    assert {row.get("finish_reason", "stop") for row in answers} == {"stop", "length", "content_filter"}


def test_every_worked_answer_of_the_shipped_eval_set_is_right():
    rows = [*rows_of("arithmetic-stories-shots"), *rows_of("arithmetic-stories")]
    assert len(rows) == 208
    for row in rows:
        steps = re.findall(r"<<([^=]+)=([0-9]+)>>", row["answer"])
        for left, right in steps:
            total = Fraction(0)
            for term in re.findall(r"[+-]?[^+-]+", left):
                first, *factors = re.split(r"([*/])", term)
                value = Fraction(first)
                for sign, factor in zip(factors[::2], factors[1::2], strict=True):
                    value = value * int(factor) if sign == "*" else value / int(factor)
                total += value
            assert total == int(right), row
        assert row["answer"].endswith(f"#### {steps[-1][1]}") or "," in row["answer"].splitlines()[-1]


def test_the_shipped_eval_set_is_scored_right_on_its_own_answers():
    made = task(id_column="id")
    items = build_items(made, rows_of("arithmetic-stories"), rows_of("arithmetic-stories-shots"))
    for name in ("gsm8k-strict-match", "gsm8k-flexible-extract", "numeric"):
        scoring = build_scoring(name)
        assert all(scoring.score(Response(content=item.target), item.target).value == 1 for item in items)
