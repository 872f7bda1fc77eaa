"""Scores are recomputed from the samples of every version of lm-eval, and never from another mean."""

from __future__ import annotations

import json

import pytest
from lmeval_folder import EvalFolder

from pytest_bench.errors import EvidenceError
from pytest_bench.lmeval.samples import read_samples

TIME = "2026-01-02T03-04-05"
FILTERS = ("strict-match", "flexible-extract")
RIGHT = {"strict-match": 9, "flexible-extract": 8}
"""Of ten answers."""


def samples(*, named=True, ranks=1, filters=FILTERS, right=RIGHT):
    """Samples in the order in which lm-eval writes them: by process, then by filter, then by document."""
    return [
        {"doc_id": number, "exact_match": float(number < right[name])} | ({"filter": name} if named else {})
        for rank in range(ranks)
        for name in filters
        for number in range(rank, 10, ranks)
    ]


class Kept(EvalFolder):
    """A folder of concurrency 4, with the samples of its one task."""

    def __init__(self, path, task="gsm8k", suffix=""):
        super().__init__(path, 4)
        self.name = f"samples_{task}_{TIME}{suffix}.jsonl"
        self.samples = samples()
        scores = self.first["results"]["gsm8k"]
        scores["exact_match,flexible-extract"] = 0.8
        self.thresholds = {"gsm8k": 0.5}
        self.first["configs"] = {"gsm8k": {"filter_list": [{"name": name} for name in FILTERS]}}

    def write(self):
        super().write()
        text = "".join(json.dumps(sample) + "\n" for sample in self.samples)
        (self.path / self.name).write_text(text)
        return self.path


@pytest.fixture
def kept(tmp_path):
    return Kept(tmp_path / "eval")


@pytest.fixture
def judge(check):
    return lambda folder, *words: check(folder, *words, asked="4")


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("ranks", [1, 3])
def test_scores_that_equal_their_samples_are_good_in_every_version(kept, judge, named, ranks):
    kept.samples = samples(named=named, ranks=ranks)
    status, said = judge(kept)
    assert status == 0, said


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(("name", "mean"), [("strict-match", 0.9), ("flexible-extract", 0.8)])
def test_a_score_that_differs_from_the_samples_of_its_filter_is_red(kept, judge, named, name, mean):
    kept.samples = samples(named=named)
    kept.first["results"]["gsm8k"][f"exact_match,{name}"] = 0.85
    status, said = judge(kept)
    assert (status, f"exact_match,{name}: is 0.85; its 10 samples in {kept.name} give {mean}" in said) == (
        1,
        True,
    ), said


def test_samples_without_a_filter_belong_to_the_only_one_of_their_task(kept, judge):
    del kept.first["configs"]
    del kept.first["results"]["gsm8k"]["exact_match,flexible-extract"]
    kept.samples = samples(named=False, filters=("strict-match",))
    status, said = judge(kept)
    assert status == 0, said


def test_samples_of_several_filters_are_not_judged_by_a_guessed_order(kept, judge):
    del kept.first["configs"]
    kept.samples = samples(named=False)
    status, said = judge(kept)
    assert (status, "the samples cannot be told apart" in said, "give" in said) == (1, True, False), said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:-1], "has 1 samples of doc_id 9, and the task has 2 filters"),
        (lambda lines: [*lines, lines[0]], "line 21 is one too many of doc_id 0: the task has 2 filters"),
        (lambda lines: [{"exact_match": 1.0}, *lines], "line 1 names neither its filter nor its doc_id"),
        (
            lambda lines: [*lines, {"doc_id": 10, "exact_match": 1.0, "filter": "strict-match"}],
            "on some lines only",
        ),
        (lambda lines: [{"doc_id": 1, "filter": 7}, *lines], "line 1: filter is 7; expected text"),
    ],
)
def test_samples_that_cannot_be_distinguished_are_refused(tmp_path, change, said):
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(sample) + "\n" for sample in change(samples(named=False))))
    with pytest.raises(EvidenceError, match=said):
        read_samples(path, FILTERS)


@pytest.mark.parametrize("named", [True, False])
def test_fewer_samples_than_items_are_red_even_if_they_have_the_same_mean(kept, judge, named):
    everything = dict.fromkeys(FILTERS, 10)
    kept.first["results"]["gsm8k"] |= {f"exact_match,{name}": 1.0 for name in FILTERS}
    kept.samples = samples(named=named, right=everything)
    assert judge(kept)[0] == 0
    kept.samples = [sample for sample in kept.samples if sample["doc_id"] != 9]
    status, said = judge(kept)
    assert (status, f"has 9 samples in {kept.name}; n-samples.gsm8k.effective is 10" in said) == (1, True), (
        said
    )


def test_an_empty_file_of_samples_is_red(kept, judge):
    kept.samples = []
    status, said = judge(kept)
    assert (status, "cannot be recomputed" in said) == (1, True), said


def test_samples_are_not_assigned_to_a_task_with_a_shorter_name(kept, judge):
    result = kept.first
    for field in ("results", "n-samples", "configs", "higher_is_better", "group_subtasks"):
        result[field] = {"quiz": result[field]["gsm8k"], "quiz_2024": result[field]["gsm8k"]}
    kept.thresholds = {"quiz": 0.5, "quiz_2024": 0.5}
    kept.name = f"samples_quiz_2024_{TIME}.jsonl"
    status, said = judge(kept)
    assert status == 0, said
    result["results"]["quiz"] = dict(result["results"]["quiz"], **{"exact_match,strict-match": 0.7})
    status, said = judge(kept)
    assert status == 0, said
    kept.path.joinpath(f"samples_quiz_{TIME}.123456.jsonl").write_text(
        "".join(json.dumps(sample) + "\n" for sample in samples())
    )
    status, said = judge(kept)
    assert (status, "results.quiz.exact_match,strict-match: is 0.7" in said) == (1, True), said


def test_two_files_of_samples_of_one_task_are_red(kept, judge):
    kept.write()
    (kept.path / f"samples_gsm8k_{TIME}.5.jsonl").write_text((kept.path / kept.name).read_text())
    status, said = judge(kept)
    assert (status, "results.gsm8k: has 2 files of samples" in said) == (1, True), said


@pytest.mark.parametrize("suffix", ["", "_conc4", "_conc4_2"])
def test_samples_of_a_task_that_no_result_has_are_red(kept, judge, suffix):
    kept.name = f"samples_mmlu_{TIME}{suffix}.jsonl"
    status, said = judge(kept)
    assert (status, f"{kept.name}: holds samples of a task that no result file has" in said) == (1, True), (
        said
    )


def swe_bench(folder, *, resolved, total, score):
    """A single-shot run of SWE-bench as InferenceX leaves it: scored by SWE-bench's harness, not by lm-eval."""
    folder.results = {
        "results_swebench_lite.json": {
            "lm_eval_version": "0.4.9",
            "model_name": "org/small",
            "results": {
                "swebench_lite": {
                    "alias": "swebench_lite",
                    "exact_match,resolved": score,
                    "exact_match_stderr,resolved": 0.1,
                }
            },
            "configs": {
                "swebench_lite": {
                    "metric_list": [{"metric": "exact_match"}],
                    "filter_list": [{"name": "resolved"}],
                }
            },
            "n-samples": {"swebench_lite": {"effective": total, "original": total}},
            "swebench": {"resolved": resolved, "total": total, "resolved_rate": score},
        }
    }
    folder.name = f"samples_swebench_lite_{TIME}.jsonl"
    folder.samples = [{"doc_id": n, "filter": "none", "exact_match": 0.0} for n in range(total)]
    folder.thresholds = {"swebench_lite": 0.5}


def test_a_single_shot_run_of_swe_bench_is_judged_by_its_own_counts(kept, judge):
    swe_bench(kept, resolved=6, total=10, score=0.6)
    status, said = judge(kept)
    assert (status, "swebench_lite exact_match,resolved = 0.6000 >= 0.5" in said) == (0, True), said


@pytest.mark.parametrize(
    "counts", [{"resolved": 5, "total": 10}, {"resolved": 6, "total": 9}, {"resolved": 6}, 6]
)
def test_counts_of_swe_bench_that_contradict_the_score_are_red(kept, judge, counts):
    swe_bench(kept, resolved=6, total=10, score=0.6)
    kept.first["swebench"] = counts
    status, said = judge(kept)
    assert (status, "swebench" in said) == (1, True), said


def test_samples_with_other_filters_than_the_score_are_reported(kept, judge):
    swe_bench(kept, resolved=6, total=10, score=0.6)
    del kept.first["swebench"]
    status, said = judge(kept)
    assert (
        status,
        f"cannot be recomputed: {kept.name} holds samples of the filters 'none', and none of 'resolved'"
        in said,
    ) == (1, True), said
