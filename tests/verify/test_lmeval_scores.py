"""Every evidence rule on single results and their scores, and how problems are reported."""

from __future__ import annotations

import json
import math
import os

import pytest

from pytest_bench.cli import main

ASKED = "1 4"
NAME = "results_2026-01-02T03-04-05"


@pytest.mark.parametrize("arguments", ["model=org/large,num_concurrent=1", {"model": "org/large"}])
def test_a_result_of_another_model_is_red(batch, check, arguments):
    batch.first["config"]["model_args"] = arguments
    status, said = check(batch)
    assert (status, "'org/small' was requested" in said) == (1, True), said


def test_another_model_is_red_if_only_its_pretrained_name_differs(batch, check):
    del batch.first["model_name"]
    batch.first["config"]["model_args"] = "pretrained=org/other,num_concurrent=1"
    status, said = check(batch)
    assert (status, "config.model_args.pretrained: is 'org/other'" in said) == (1, True), said


@pytest.mark.parametrize("model", [..., None, "", 7])
def test_two_models_are_red_if_the_metadata_names_none(batch, check, model):
    del batch.metadata["model"]
    if model is not ...:
        batch.metadata["model"] = model
    assert check(batch)[0] == 0
    batch.first["model_name"] = "org/large"
    status, said = check(batch)
    assert (status, f"model_name: is 'org/small'; {batch.first_name} has 'org/large'" in said) == (1, True), (
        said
    )


def test_another_concurrency_than_in_the_arguments_of_the_model_is_red(batch, check):
    batch.first["config"] |= {"model_args": "model=org/small", "num_concurrent": 64}
    status, said = check(batch)
    assert (status, "config.num_concurrent: is 64; the file should be of concurrency 1" in said) == (
        1,
        True,
    ), said


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"7", b"\xff", b'{"results": {}, "results": {}}', b"[" * 10**5]
)
def test_an_unreadable_result_is_red(batch, check, data):
    batch.write()
    del batch.results[f"{NAME}_conc4.json"]
    (batch.path / f"{NAME}_conc4.json").write_bytes(data)
    status, said = check(batch)
    assert (status, f"{NAME}_conc4.json" in said) == (1, True), said


@pytest.mark.parametrize(
    "counts",
    [{"original": 10, "effective": 9}, {"original": 10}, {}, None, {"original": True, "effective": True}],
)
def test_fewer_items_than_there_are_is_red(batch, check, counts):
    batch.first["n-samples"]["gsm8k"] = counts
    status, said = check(batch)
    assert (status, "n-samples.gsm8k" in said) == (1, True), said


def test_an_undeclared_limit_is_red(batch, check):
    batch.first["config"]["limit"] = 5
    status, said = check(batch)
    assert (status, "config.limit: is 5" in said) == (1, True), said


def test_a_declared_limit_is_accepted_if_that_many_items_were_evaluated(batch, check):
    for content in batch.results.values():
        content["config"]["limit"] = 5.0
        content["n-samples"]["gsm8k"]["effective"] = 5
    assert check(batch, "--limit", "5")[0] == 0
    assert check(batch, "--limit", "6")[0] == 1
    batch.first["n-samples"]["gsm8k"]["effective"] = 4
    status, said = check(batch, "--limit", "5")
    assert (status, "4 of 10 items were evaluated, but a limit of 5 was declared" in said) == (1, True), said


def test_a_declared_limit_above_the_number_of_items_is_accepted(batch, check):
    assert check(batch, "--limit", "5")[0] == 0
    for content in batch.results.values():
        content["config"]["limit"] = 50
    assert check(batch, "--limit", "50")[0] == 0


@pytest.mark.parametrize("limit", ["0", "-1", "1.5", "x"])
def test_a_limit_that_is_not_a_count_is_a_usage_error(batch, check, limit):
    assert check(batch, "--limit", limit)[0] == 2


@pytest.mark.parametrize(
    "score",
    ["0.9", True, None, "N/A", "NaN", math.nan, math.inf, -math.inf, 1.0000001, -0.1, 10**400, [0.9], {}],
)
def test_a_score_that_is_not_a_share_is_red(batch, check, score):
    batch.first["results"]["gsm8k"]["exact_match,strict-match"] = score
    status, said = check(batch)
    assert (status, f"{batch.first_name}: results.gsm8k.exact_match,strict-match: is" in said) == (1, True), (
        said
    )


@pytest.mark.parametrize(
    "results", [{}, [], None, {"gsm8k": {}}, {"gsm8k": []}, {"gsm8k": {"acc,none": 0.9}}]
)
def test_a_file_or_a_task_without_a_checked_metric_is_red(batch, check, results):
    batch.first["results"] = results
    status, said = check(batch)
    assert (status, f"{batch.first_name}: results" in said) == (1, True), said


def test_another_metric_can_be_checked(batch, check):
    for content in batch.results.values():
        content["results"]["gsm8k"] = {"acc,none": 0.95, "acc_stderr,none": "N/A"}
    assert check(batch)[0] == 1
    assert check(batch, "--metric-prefix", "acc,")[0] == 0


def test_a_metric_that_only_some_files_have_is_red(batch, check):
    del batch.first["results"]["gsm8k"]["exact_match,flexible-extract"]
    status, said = check(batch)
    assert (status, "results.gsm8k.exact_match,flexible-extract: is missing" in said) == (1, True), said


def test_a_task_that_only_some_files_have_is_red(batch, check):
    extra = batch.first["results"]["gsm8k"]
    batch.first["results"]["mmlu"] = dict(extra)
    batch.first["n-samples"]["mmlu"] = {"original": 1, "effective": 1}
    batch.thresholds["default"]["mmlu"] = 0.1
    status, said = check(batch)
    assert (status, "results.mmlu" in said) == (1, True), said


def test_a_group_without_a_threshold_is_judged_by_its_members(batch, check):
    for content in batch.results.values():
        content["results"]["math"] = {"alias": "math", "exact_match,strict-match": 0.1}
        content["group_subtasks"] = {"math": ["gsm8k"]}
    assert check(batch)[0] == 0


def with_group(folder, score):
    for content in folder.results.values():
        content["results"]["math"] = {"alias": "math", "exact_match,none": score}
        content["group_subtasks"] = {"math": ["gsm8k"]}


@pytest.mark.parametrize("section", ["default", "models"])
def test_a_group_that_a_threshold_names_is_held_to_it(batch, check, section):
    table = batch.thresholds["default"] if section == "default" else batch.thresholds["models"]["small"]
    table["math"] = 0.7
    with_group(batch, 0.7)
    assert check(batch)[0] == 0
    with_group(batch, 0.3)
    status, said = check(batch)
    assert (status, "results.math.exact_match,none: is 0.3, below 0.7" in said) == (1, True), said


@pytest.mark.parametrize("metrics", [..., [], {"alias": "math"}])
def test_a_group_that_a_threshold_names_and_has_no_score_is_red(batch, check, metrics):
    batch.thresholds["default"]["math"] = 0.7
    with_group(batch, 0.9)
    if metrics is ...:
        del batch.first["results"]["math"]
    else:
        batch.first["results"]["math"] = metrics
    status, said = check(batch)
    assert (status, f"{batch.first_name}: results.math" in said) == (1, True), said


@pytest.mark.parametrize("thresholds", [True, False])
@pytest.mark.parametrize("own_items", [True, False])
def test_a_task_is_not_hidden_by_listing_members_below_it(batch, check, thresholds, own_items):
    for content in batch.results.values():
        content["results"]["easy"] = {"exact_match,none": 0.95}
        content["n-samples"]["easy"] = {"original": 10, "effective": 10}
        content["results"]["gsm8k"] = {"exact_match,strict-match": 0.1}
        content["group_subtasks"] = {"gsm8k": ["easy"]}
        if not own_items:
            del content["n-samples"]["gsm8k"]
    status, said = check(batch, "--min-score", "0.5", thresholds=thresholds)
    # Without a threshold of its own, and without items, nothing tells it from a group.
    hidden = not (thresholds or own_items)
    assert (status, "results.gsm8k.exact_match,strict-match: is 0.1, below" in said) == (
        (0, False) if hidden else (1, True)
    ), said


@pytest.mark.parametrize("stderr", ["0.01", True, -1, []])
def test_a_standard_error_that_is_not_a_number_is_red(batch, check, stderr):
    batch.first["results"]["gsm8k"]["exact_match_stderr,strict-match"] = stderr
    assert check(batch)[0] == 1


@pytest.mark.parametrize(("score", "status"), [(0.9, 0), (0.8999999, 1), (1, 0), (0, 1)])
def test_a_score_passes_if_it_reaches_its_threshold(batch, check, score, status):
    for name in ("exact_match,strict-match", "exact_match,flexible-extract"):
        batch.first["results"]["gsm8k"][name] = score
    found, said = check(batch)
    assert found == status
    assert ("below 0.9 (models.small.gsm8k)" in said) == (status == 1), said


def test_a_score_edited_by_hand_is_contradicted_by_its_samples(batch, check):
    batch.write()
    lines = [
        json.dumps({"doc_id": number, "filter": name, "exact_match": float(number < 9)})
        for name in ("strict-match", "flexible-extract")
        for number in range(10)
    ]
    for conc in (1, 4):
        (batch.path / f"samples_gsm8k_2026-01-02T03-04-05_conc{conc}.jsonl").write_text("\n".join(lines))
    assert check(batch)[0] == 0
    batch.first["results"]["gsm8k"]["exact_match,strict-match"] = 0.95
    status, said = check(batch)
    assert (status, "is 0.95; its 10 samples" in said) == (1, True), said


def test_yesterdays_folder_is_red_if_an_age_is_given(batch, check):
    batch.first["date"] -= 86400
    assert check(batch)[0] == 0
    status, said = check(batch, "--max-age", "12h")
    assert (status, "is of an earlier run" in said) == (1, True), said
    del batch.first["date"]
    assert check(batch, "--max-age", "12h")[0] == 1


def test_a_folder_of_tomorrow_is_red_if_an_age_is_given(batch, check):
    batch.first["date"] += 86400
    assert check(batch)[0] == 0
    status, said = check(batch, "--max-age", "12h")
    assert (status, "in the future: one of the clocks is wrong" in said) == (1, True), said


@pytest.mark.parametrize("name", ["meta_env.json", f"{NAME}_conc4.json"])
@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_anything_but_a_regular_file_is_red(tmp_path, batch, check, name, kind):
    batch.write()
    path = batch.path / name
    elsewhere = tmp_path / "elsewhere.json"
    path.rename(elsewhere)
    if name == "meta_env.json":
        batch.metadata = None
    else:
        del batch.results[name]
    if kind == "link":
        path.symlink_to(elsewhere)
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    status, said = check(batch)
    assert (status, name in said) == (1, True), said


def test_samples_behind_a_link_are_red(tmp_path, batch, check):
    batch.write()
    (tmp_path / "samples").write_text("")
    (batch.path / "samples_gsm8k_2026-01-02T03-04-05_conc4.jsonl").symlink_to(tmp_path / "samples")
    status, said = check(batch)
    assert (status, "is not a regular file; evidence must hold regular files" in said) == (1, True), said


def test_every_problem_is_one_line_on_standard_error_with_file_and_field(tmp_path, batch, capsys):
    batch.metadata |= {"eval_exit_code": 1, "completed_eval_concs": [1]}
    batch.first["config"]["limit"] = 5
    batch.first["results"]["gsm8k"]["exact_match,strict-match"] = 0.5
    batch.first["results"]["gsm8k"]["exact_match,flexible-extract"] = "N/A"
    (tmp_path / "thresholds.json").write_text(json.dumps(batch.thresholds))
    words = (batch.write(), "--expected-concs", ASKED, "--thresholds", tmp_path / "thresholds.json")
    assert main(["verify", *map(str, words)]) == 1
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert sorted(" ".join(line.split(": ")[:3]) for line in lines) == sorted(
        [
            "fail meta_env.json eval_exit_code",
            "fail meta_env.json completed_eval_concs",
            f"fail {batch.first_name} config.limit",
            f"fail {batch.first_name} results.gsm8k.exact_match,strict-match",
            f"fail {batch.first_name} results.gsm8k.exact_match,flexible-extract",
            f"fail {batch.first_name} results.gsm8k.exact_match,flexible-extract",
        ]
    )
    assert not any(line.startswith(("fail", "error")) for line in captured.out.splitlines())


def test_every_problem_is_reported_at_once(batch, check):
    batch.metadata |= {"eval_exit_code": 1, "failed_eval_concs": [4]}
    batch.first["config"]["limit"] = 5
    batch.first["results"]["gsm8k"]["exact_match,strict-match"] = 0.5
    status, said = check(batch)
    assert status == 1
    for named in ("eval_exit_code", "failed_eval_concs", "config.limit", "below 0.9"):
        assert named in said, said


def test_an_unrecognised_folder_is_a_usage_error(tmp_path, verify):
    assert verify(tmp_path)[0] == 2
    assert verify(tmp_path / "none")[0] == 2


def test_text_of_a_file_never_steers_the_terminal(batch, check):
    batch.metadata["model"] = "\x1b[2J"
    batch.first["results"] = {"\x1b[31mgsm8k\n": {"exact_match,strict-match": 0.9}}
    status, said = check(batch)
    assert (status, "\x1b" in said) == (1, False)
