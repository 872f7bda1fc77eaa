"""Our scorings give what lm-eval gives, item by item, on the same answers."""

import math

import pytest
from hard_answers import CHOICE_PIECES, CHOICES, GSM8K, GSM8K_PIECES, random_answers
from lm_eval_environment import run_lm_eval

from pytest_bench.evals.estimates import estimate
from pytest_bench.evals.tasks import Task, build_items
from pytest_bench.scoring import Response, build_scoring

TARGETS = [
    "Work.\n#### 7",
    "#### 7",
    "7",
    "#### -7",
    "#### 7,000",
    "#### $7.",
    "#### 1234.50",
    "A #### 5 #### 7",
]
FEW_SHOTS = [
    {"question": "How many?", "answer": "Count.\n#### 3", "choices": ["x", "y"]},
    {"question": "And now?\n", "answer": "Again.\n#### 4", "choices": ["x", "y"]},
]
LETTERS = ["red", "blue", "light blue", "Red?"]
GSM8K_TEMPLATE = "Question: {{question}}\nAnswer:"
PLAIN = {"doc_to_text": "{{question}}", "doc_to_target": "{{answer}}", "num_fewshot": 0}
INFERENCEX_STRICT = [
    {
        "name": "strict-match",
        "filter": [
            {"function": "regex", "group_select": -1, "regex_pattern": r"#### (\-?[0-9\.\,]+)"},
            {"function": "take_first"},
        ],
    }
]
EXTRACT_ABCD = [
    {
        "name": "extract_abcd",
        "filter": [
            {"function": "regex", "group_select": -1, "regex_pattern": r"(?i)\b\(?([A-D])\)?\b"},
            {"function": "take_first"},
        ],
    }
]
TASKS = {
    "gsm8k": {"shipped": "gsm8k/gsm8k.yaml", "fields": {"num_fewshot": 2}},
    "gsm8k_inferencex": {
        "shipped": "gsm8k/gsm8k.yaml",
        "fields": {**PLAIN, "filter_list": INFERENCEX_STRICT},
    },
    "gpqa": {"shipped": "gpqa/cot_zeroshot/_gpqa_cot_zeroshot_yaml", "fields": PLAIN},
    "gpqa_inferencex": {
        "shipped": "gpqa/cot_zeroshot/_gpqa_cot_zeroshot_yaml",
        "fields": {
            **PLAIN,
            "filter_list": EXTRACT_ABCD,
            "metric_list": [
                {
                    "metric": "exact_match",
                    "aggregation": "mean",
                    "higher_is_better": True,
                    "ignore_case": True,
                }
            ],
        },
    },
}
SCORINGS = {
    "gsm8k-strict-match": "gsm8k",
    "gsm8k-flexible-extract": "gsm8k",
    "gsm8k-inferencex-strict-match": "gsm8k_inferencex",
    "gsm8k-inferencex-flexible-extract": "gsm8k",
    "gpqa-flexible-extract": "gpqa",
    "gpqa-inferencex-extract-abcd": "gpqa_inferencex",
}


@pytest.fixture(scope="module")
def cases():
    """Cases with a question, a target, choices and an answer each."""
    numbers = [*GSM8K, *random_answers(1, GSM8K_PIECES, 1500)]
    letters = [*CHOICES, *random_answers(2, CHOICE_PIECES, 1500)]
    made = [(TARGETS[place % len(TARGETS)], answer) for place, answer in enumerate(numbers)]
    made += [(target, answer) for answer in letters for target in ("(B)", "B")]
    return [
        {"question": f"Number {place}?", "answer": target, "choices": LETTERS, "response": response}
        for place, (target, response) in enumerate(made)
    ]


@pytest.fixture(scope="module")
def found(cases, tmp_path_factory):
    items = [{name: case[name] for name in ("question", "answer", "choices")} for case in cases]
    answers = {task: [case["response"] for case in cases] for task in TASKS}
    return run_lm_eval(tmp_path_factory.mktemp("lm-eval"), TASKS, items, FEW_SHOTS, answers)


@pytest.mark.parametrize("name", SCORINGS)
def test_every_answer_is_extracted_and_scored_as_by_lm_eval(cases, found, name):
    scoring = build_scoring(name)
    samples = {
        sample["doc_id"]: sample
        for sample in found["samples"][SCORINGS[name]]
        if sample["filter"] == scoring.filter
    }
    assert len(samples) == len(cases)
    outcomes = set()
    for place, case in enumerate(cases):
        score = scoring.score(Response(content=case["response"]), case["answer"], case["choices"])
        sample = samples[place]
        extracted = "[invalid]" if score.extracted is None else score.extracted
        assert (extracted, score.value) == (sample["filtered_resps"][0], sample["exact_match"]), case
        outcomes.add((score.value, score.extracted is None))
    assert outcomes == {(1.0, False), (0.0, False), (0.0, True)}  # the answers tell extractors apart


@pytest.mark.parametrize("name", SCORINGS)
def test_value_and_standard_error_are_those_of_lm_eval(cases, found, name):
    scoring = build_scoring(name)
    values = {
        str(place): [scoring.score(Response(content=case["response"]), case["answer"], case["choices"]).value]
        for place, case in enumerate(cases)
    }
    ours, theirs = estimate(values, binary=True), found["results"][SCORINGS[name]]
    assert math.isclose(ours.value, theirs[f"exact_match,{scoring.filter}"], rel_tol=1e-12)
    assert math.isclose(ours.stderr, theirs[f"exact_match_stderr,{scoring.filter}"], rel_tol=1e-9)


def test_prompts_with_few_shot_examples_are_those_of_lm_eval(cases, found):
    task = Task(
        name="gsm8k",
        template=GSM8K_TEMPLATE,
        target="{{answer}}",
        scorings=(build_scoring("gsm8k-strict-match"),),
    )
    rows = [{name: case[name] for name in ("question", "answer")} for case in cases]
    items = build_items(task, rows, [{**shot} for shot in FEW_SHOTS])
    theirs = {sample["doc_id"]: sample["arguments"][0][0] for sample in found["samples"]["gsm8k"]}
    assert [item.prompt for item in items] == [theirs[place] for place in range(len(cases))]
    assert items[0].prompt.count("####") == 2
