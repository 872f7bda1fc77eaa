"""lm-eval itself, run as the command of an eval against the simulator, beside a native eval of the same items."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from lm_eval_environment import lm_eval_python

from pytest_bench.evals.sample_sources import read_samples_of
from pytest_bench.simulator import Answers
from pytest_bench.simulator.output import Asked

DATA = Path(__file__).parents[2] / "suites" / "data"
SHOTS, CONCURRENCY = 2, 8
STRICT, FLEXIBLE = "exact_match,strict-match", "exact_match,flexible-extract"

TASK = {
    # gsm8k of lm-eval 0.4.13, on the shipped data instead of gsm8k's, which a test cannot download
    "task": "stories",
    "dataset_path": "json",
    "dataset_kwargs": {
        "data_files": {
            "test": str(DATA / "arithmetic-stories.jsonl"),
            "shots": str(DATA / "arithmetic-stories-shots.jsonl"),
        }
    },
    "output_type": "generate_until",
    "test_split": "test",
    "fewshot_split": "shots",
    "fewshot_config": {"sampler": "first_n"},
    "num_fewshot": SHOTS,
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_target": "{{answer}}",
    "metric_list": [
        {
            "metric": "exact_match",
            "aggregation": "mean",
            "higher_is_better": True,
            "ignore_case": True,
            "ignore_punctuation": False,
            "regexes_to_ignore": [",", "\\$", "(?s).*#### ", "\\.$"],
        }
    ],
    "generation_kwargs": {
        "until": ["Question:", "</s>", "<|im_end|>"],
        "do_sample": False,
        "temperature": 0.0,
        "max_gen_toks": 256,
    },
    "filter_list": [
        {
            "name": "strict-match",
            "filter": [
                {"function": "regex", "regex_pattern": "#### (\\-?[0-9\\.\\,]+)"},
                {"function": "take_first"},
            ],
        },
        {
            "name": "flexible-extract",
            "filter": [
                {"function": "regex", "group_select": -1, "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)"},
                {"function": "take_first"},
            ],
        },
    ],
    "metadata": {"version": 3.0},
}

TEST_EVAL = """
import pytest


@pytest.mark.points("eval")
def test_eval(run_load):
    run_load().require()
"""


def suite(python, model_args):
    command = [
        *(str(python), "-m", "lm_eval", "--model=local-completions", f"--model_args={model_args}"),
        *("--include_path=tasks", "--tasks=stories", "--output_path={output}", "--log_samples"),
    ]
    return {
        "suite": "both",
        "deployment": {
            "api": "openai-completions",
            "model": "simulated",
            "endpoint": "simulator",
            "tokens": {"count": "usage"},
            "simulator": {
                "answers": str(DATA / "arithmetic-stories-answers.jsonl"),
                "ttft_ms": 1,
                "itl_ms": 0,
            },
        },
        "datasets": {
            "stories": {"path": str(DATA / "arithmetic-stories.jsonl")},
            "shots": {"path": str(DATA / "arithmetic-stories-shots.jsonl")},
        },
        "eval": {
            "native": {
                "preset": "gsm8k",
                "dataset": "stories",
                "id_column": "id",
                "few_shots": {"dataset": "shots", "count": SHOTS},
                "generation": {"max_tokens": 256, "stream": False},
                "concurrency": CONCURRENCY,
                "budget": {"vacancy": 1},
            },
            "lm-eval": {
                "command": command,
                "environment": {"HF_HOME": "hf", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"},
                "tasks": ["stories"],
                "thresholds": {"stories": 0.9},
                "concurrency": CONCURRENCY,
            },
        },
    }


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The results folder of one session with both evals, and what it printed."""
    root = tmp_path_factory.mktemp("both")
    model_args = (
        "model={model},base_url={endpoint}/v1/completions,num_concurrent={concurrency},"
        "tokenizer_backend=none,max_retries=1"
    )
    (root / "tasks").mkdir()
    (root / "tasks/stories.yaml").write_text(yaml.safe_dump(TASK))
    (root / "suite.yaml").write_text(yaml.safe_dump(suite(lm_eval_python(), model_args)))
    (root / "test_eval.py").write_text(TEST_EVAL)
    (root / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    (root / "leases").mkdir(mode=0o700)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", ".", "--endpoint=simulator", "--results=results"],
        cwd=root,
        env={**kept, "PYTEST_BENCH_LEASES": str(root / "leases")},
        capture_output=True,
        text=True,
        check=False,
    )
    logs = [path.read_text() for path in root.glob("results/points/**/harness.stderr.log")]
    assert done.returncode == 0, "\n".join([done.stdout, *logs])
    return root / "results"


def by_question(results, name):
    found = {}
    for sample in read_samples_of(results):
        if sample.eval == f"both/eval/{name}":
            found[sample.prompt.rpartition("Question: ")[2]] = sample
    return found


def test_its_files_are_admitted_by_the_evidence_rules(ran):
    summary = json.loads((ran / "points/both/eval/lm-eval/summary.json").read_text())
    assert summary["judgement"]["outcome"] == "pass"
    scores = {name: metric["value"] for name, metric in summary["measurement"]["metrics"].items()}
    assert scores == {f"stories: {STRICT}": 0.905, f"stories: {FLEXIBLE}": 0.945}
    assert summary["detail"]["notes"] == []  # it states the model and the concurrency


def test_the_native_eval_sends_the_same_prompts_and_scores_every_answer_alike(ran):
    native, theirs = by_question(ran, "native"), by_question(ran, "lm-eval")
    assert len(native) == len(theirs) == 200
    for question, ours in native.items():
        assert ours.prompt == theirs[question].prompt
        for metric in (STRICT, FLEXIBLE):
            own, other = ours.scores[metric], theirs[question].scores[metric]
            assert (own.value, own.extracted) == (other.value, other.extracted), (ours, theirs[question])
    outcomes = {(ours.scores[STRICT].value, ours.scores[FLEXIBLE].value) for ours in native.values()}
    assert outcomes == {(1.0, 1.0), (0.0, 0.0), (0.0, 1.0)}


def test_every_prompt_of_lm_eval_has_its_answer(ran):
    answers = Answers(DATA / "arithmetic-stories-answers.jsonl")
    for theirs in by_question(ran, "lm-eval").values():
        given = answers.find(Asked(prompt=theirs.prompt, prompt_tokens=1))
        if given.content and not given.reasoning and "Question:" not in given.content:
            assert theirs.outputs == (given.content,)
