"""Every evidence rule on the request, thresholds, metadata and concurrencies, each applied to a valid folder."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from lmeval_folder import EvalFolder

ASKED = "1 4"
NAME = "results_2026-01-02T03-04-05"


def test_a_folder_in_order_is_good(batch, check):
    status, said = check(batch)
    assert (status, "gsm8k exact_match,strict-match = 0.9000 >= 0.9 (models.small.gsm8k)" in said) == (
        0,
        True,
    ), said


def test_one_concurrency_in_order_is_good(single, check):
    assert check(single, asked="4")[0] == 0


def test_one_concurrency_with_lists_in_its_metadata_goes_by_the_rules_for_several(tmp_path, check):
    assert check(EvalFolder(tmp_path / "eval", 4, batch=True), asked="4")[0] == 0


def test_ten_concurrencies_asked_and_one_ran_is_red_and_names_the_nine(tmp_path, check):
    status, said = check(EvalFolder(tmp_path / "eval", 1), asked="1 2 4 8 16 32 64 128 256 512")
    assert status == 1
    assert "no result file of concurrency" in said
    assert "2, 4, 8, 16, 32, 64, 128, 256, 512" in said, said
    for field in ("eval_concs", "completed_eval_concs", "failed_eval_concs"):
        assert f"meta_env.json: {field}: is missing" in said, said


@pytest.mark.parametrize("concs", [(1,), (1, 4)])
def test_without_an_expectation_nothing_is_good(tmp_path, check, concs):
    status, said = check(EvalFolder(tmp_path / "eval", *concs), asked=None)
    assert (status, "an expectation is required" in said) == (1, True), said


def test_expected_concurrencies_may_be_large_and_in_any_order(tmp_path, check):
    assert check(EvalFolder(tmp_path / "eval", 4, 1, 1234567890), asked="1  1234567890\n4")[0] == 0


@pytest.mark.parametrize(
    "words",
    ["", "  ", "1 1", "0", "04", "-1", "+1", "1,4", "1.0", "1e2", "0x1", "1_0", "x", "1 \u0664", "9" * 5000],
)
def test_a_malformed_expectation_is_a_usage_error(batch, check, words):
    assert check(batch, asked=words)[0] == 2


def test_the_points_of_a_plan_are_an_expectation(tmp_path, batch, check):
    file = tmp_path / "expectation.json"
    file.write_text(
        json.dumps({"points": ["x/eval/gsm8k/c0001", "x/eval/gsm8k/c0004", "x/eval/gsm8k/c0008"]})
    )
    status, said = check(batch, "--expect", file, asked=None)
    assert (status, "no result file of concurrency 8" in said) == (1, True), said


@pytest.mark.parametrize(
    ("thresholds", "named"),
    [
        ({"default": {"gsm8k": True}}, "default.gsm8k"),
        ({"default": {"gsm8k": "0.9"}}, "default.gsm8k"),
        ({"default": {"gsm8k": 1.5}}, "default.gsm8k"),
        ({"default": {"gsm8k": -0.1}}, "default.gsm8k"),
        ({"default": {"gsm8k": None}}, "default.gsm8k"),
        ({"models": {"small": {"gsm8k": []}}}, "models.small.gsm8k"),
        ({"models": []}, "models"),
        ({"default": {"gsm8k": 0.9}, "defaults": {}}, "defaults"),
        ({"gsm8k": "high"}, "gsm8k"),
        ([], "thresholds.json"),
        ({}, "thresholds.json"),
    ],
)
def test_bad_thresholds_are_an_error(batch, check, thresholds, named):
    batch.thresholds = thresholds
    status, said = check(batch)
    assert (status, "error: " in said, named in said) == (1, True, True), said


@pytest.mark.parametrize(
    "text", ["", "{", '{"gsm8k": NaN}', '{"gsm8k": 1e999}', '{"a": 0.1, "a": 0.2}', "[" * 5000]
)
@pytest.mark.parametrize("ending", ["json", "yaml"])
def test_unreadable_thresholds_are_an_error(tmp_path, batch, check, text, ending):
    file = tmp_path / f"bad.{ending}"
    file.write_text(text)
    status, said = check(batch, "--thresholds", file, thresholds=False)
    assert (status, file.name in said) == (1, True), said


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("gsm8k: .nan", "gsm8k: is nan"),
        ("gsm8k: .inf", "gsm8k: is inf"),
        ("gsm8k: yes", "gsm8k: is True"),
        ("gsm8k: 0.1\ngsm8k: 0.2", "repeats the key 'gsm8k'"),
        ("? [gsm8k]\n: 0.1", "has a key that is not text"),
        ("1: 0.5", "a task's name must be text"),
        ("a: 0.5\n---\nb: 0.5", "expected a single document"),
        ("a: !!python/object:os.system x", "is not YAML"),
        ("a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60)), "a59"),
    ],
)
def test_thresholds_in_yaml_are_as_strict(tmp_path, batch, check, text, named):
    file = tmp_path / "thresholds.yaml"
    file.write_text(text)
    status, said = check(batch, "--thresholds", file, thresholds=False)
    assert (status, "error: " in said, named in said) == (1, True, True), said


def test_missing_thresholds_are_an_error(tmp_path, batch, check):
    assert check(batch, "--thresholds", tmp_path / "none.json", thresholds=False)[0] == 1


def test_a_task_without_a_threshold_is_an_error(batch, check):
    batch.thresholds = {"other": 0.5}
    status, said = check(batch)
    assert (status, "'gsm8k' has no threshold" in said) == (1, True), said


@pytest.mark.parametrize(
    "thresholds",
    [
        {"gsm8k": 0.85, "mmlu": 0.5},
        {"models": {"small": {"gsm8k": 0.85, "mmlu": 0.5}}},
        {"default": {"gsm8k": 0.85, "mmlu": 0.5}},
        {"default": {"gsm8k": 0.85}, "models": {"small": {"mmlu": 0.5}, "large": {"mmlu": 0.5}}},
    ],
)
def test_a_table_of_thresholds_may_list_tasks_that_did_not_run(batch, check, thresholds):
    batch.thresholds = thresholds
    status, said = check(batch)
    assert status == 0, said


def test_the_threshold_of_a_task_is_not_taken_from_another_task(batch, check):
    for content in batch.results.values():
        content["results"] = {"gpqa": content["results"]["gsm8k"]}
        content["n-samples"] = {"gpqa": content["n-samples"]["gsm8k"]}
    batch.thresholds = {"default": {"gpqa": 0.3}, "models": {"small": {"gsm8k": 0.91}}}
    status, said = check(batch)
    assert (status, "gpqa exact_match,strict-match = 0.9000 >= 0.3 (default.gpqa)" in said) == (0, True), said


def test_an_expected_task_without_a_score_is_red(batch, check):
    assert check(batch, "--expected-tasks", "gsm8k")[0] == 0
    status, said = check(batch, "--expected-tasks", "gsm8k mmlu")
    assert (status, "results.mmlu: is missing; --expected-tasks names it" in said) == (1, True), said


@pytest.mark.parametrize(
    "words",
    [
        ("--expected-tasks", ""),
        ("--expected-tasks", " "),
        ("--expected-tasks", "gsm8k gsm8k"),
        ("--metric-prefix", ""),
        ("--model-prefix", ""),
        ("--allow-missing", ""),
        ("--allow-missing", "conc"),
    ],
)
def test_an_empty_or_unknown_value_is_a_usage_error(batch, check, words):
    assert check(batch, *words)[0] == 2


def test_the_least_score_given_is_the_threshold_of_last_resort(batch, check):
    assert check(batch, "--min-score", "0.9", thresholds=False)[0] == 0
    status, said = check(batch, "--min-score", "0.91", thresholds=False)
    assert (status, "below 0.91 (--min-score)" in said) == (1, True), said


@pytest.mark.parametrize(
    ("prefix", "said_by_metadata", "source"),
    [
        (None, "small", "models.small"),
        ("large", "small", "models.large"),
        (None, None, "default"),
        (None, "?", "default"),
    ],
)
def test_the_most_specific_threshold_counts(batch, check, prefix, said_by_metadata, source):
    batch.thresholds = {
        "default": {"gsm8k": 0.1},
        "models": {"small": {"gsm8k": 0.2}, "large": {"gsm8k": 0.3}},
    }
    batch.metadata["infmax_model_prefix"] = said_by_metadata
    status, said = check(batch, *([] if prefix is None else ["--model-prefix", prefix]))
    assert (status, f"({source}.gsm8k)" in said) == (0, True), said


@pytest.mark.parametrize(
    "data", [None, b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a": 1, "a": 2}', b"\0" * 100]
)
def test_bad_metadata_is_an_error(batch, check, data):
    batch.metadata = None
    batch.write()
    if data is not None:
        (batch.path / "meta_env.json").write_bytes(data)
    status, said = check(batch)
    assert (status, "error: meta_env.json" in said) == (1, True), said


@pytest.mark.parametrize("field", ["eval_exit_code", "artifact_exit_code"])
@pytest.mark.parametrize("status", [True, False, -1, 1, 137, "0", None, 0.0])
def test_a_bad_exit_status_is_red(batch, check, field, status):
    batch.metadata[field] = status
    exit_status, said = check(batch)
    assert (exit_status, f"meta_env.json: {field}: " in said) == (1, True), said


def test_a_missing_exit_status_is_an_error(batch, check):
    del batch.metadata["eval_exit_code"]
    status, said = check(batch)
    assert (status, "eval_exit_code: is missing" in said) == (1, True), said


def test_a_missing_exit_status_may_be_accepted_and_is_noted(batch, check):
    del batch.metadata["eval_exit_code"]
    assert "--allow-missing eval_exit_code accepts that" in check(batch)[1]
    status, said = check(batch, "--allow-missing", "eval_exit_code")
    assert (status, "note: meta_env.json: eval_exit_code is missing" in said) == (0, True), said
    assert "it is not proven that the eval ended successfully" in said


@pytest.mark.parametrize("status", [1, None, "0", True])
def test_a_bad_exit_status_is_red_even_if_a_missing_one_would_be_accepted(batch, check, status):
    batch.metadata["eval_exit_code"] = status
    assert check(batch, "--allow-missing", "eval_exit_code")[0] == 1


@pytest.mark.parametrize(
    "artifacts",
    [["server.log"], ["../secret"], ["/etc/hostname"], "server.log", [1], [""], ["a\0b"], ["n" * 5000], {}],
)
def test_a_missing_declared_artifact_is_an_error(batch, check, artifacts):
    batch.metadata["artifacts"] = artifacts
    status, said = check(batch)
    assert (status, "error: meta_env.json: artifacts" in said) == (1, True), said


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "linked folder", "file"])
def test_a_declared_artifact_is_a_plain_file_of_the_folder(tmp_path, batch, check, kind):
    name = "logs/server.log"
    batch.metadata["artifacts"] = [name]
    batch.write()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "server.log").write_text("ready")
    if kind == "linked folder":
        (batch.path / "logs").symlink_to(elsewhere)
    else:
        (batch.path / "logs").mkdir()
        path = batch.path / name
        {
            "link": lambda: path.symlink_to(elsewhere / "server.log"),
            "folder": path.mkdir,
            "pipe": lambda: os.mkfifo(path),
            "file": lambda: path.write_text("ready"),
        }[kind]()
    status, said = check(batch)
    assert (status, "which is not a regular file of the folder" in said) == (
        (0, False) if kind == "file" else (1, True)
    )


@pytest.mark.parametrize("conc", [1, "4", True, None, 4.0, -4])
def test_another_concurrency_than_the_one_asked_for_is_red(single, check, conc):
    single.metadata["conc"] = conc
    status, said = check(single, asked="4")
    assert (status, "meta_env.json: conc: " in said) == (1, True), said


def test_no_result_is_red(single, check):
    single.results = {}
    assert check(single, asked="4")[0] == 1


def test_two_results_of_one_concurrency_asked_are_red(single, check):
    single.add("results_again.json", single.first | {"date": 2e9})
    status, said = check(single, asked="4")
    assert (status, "2 result files" in said) == (1, True), said


def test_a_suffix_is_red_if_one_concurrency_was_requested(single, check):
    single.rename(single.first_name, f"{NAME}_conc4.json")
    status, said = check(single, asked="4")
    assert (status, "has a concurrency suffix" in said) == (1, True), said


@pytest.mark.parametrize("model", ["acme__my_concise-7b", "acme__run_conc8", "acme_conc8.json"])
@pytest.mark.parametrize("concs", [(4,), (1, 4)])
def test_a_folder_named_like_its_model_states_no_concurrency(tmp_path, check, model, concs):
    folder = EvalFolder(tmp_path / "eval", *concs)
    (folder.path / model).mkdir(parents=True)
    for name in list(folder.results):
        folder.rename(name, f"{model}/{name}")
    status, said = check(folder, asked=" ".join(map(str, concs)))
    assert status == 0, said


@pytest.mark.parametrize("field", ["eval_concs", "completed_eval_concs", "failed_eval_concs"])
@pytest.mark.parametrize(
    "value", [..., None, "1 4", [1, 1], [0], [-1], [True, 4], ["1", "4"], [1.0, 4.0], {}]
)
def test_bad_lists_of_concurrencies_are_red(batch, check, field, value):
    if value is ...:
        del batch.metadata[field]
    else:
        batch.metadata[field] = value
    status, said = check(batch, asked=ASKED)
    assert (status, f"meta_env.json: {field}: " in said or "eval_concs" in said) == (1, True), said


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"eval_concs": [1]}, "eval_concs: 4 requested, but not listed"),
        ({"eval_concs": [1, 4, 8]}, "eval_concs: 8 listed, but not requested"),
        ({"completed_eval_concs": [1]}, "completed_eval_concs: 4 requested, but not completed"),
        ({"completed_eval_concs": [1, 4, 8]}, "completed_eval_concs: 8 completed, but not requested"),
        ({"failed_eval_concs": [4]}, "failed_eval_concs: the eval failed at concurrency 4"),
        ({"failed_eval_concs": [4]}, "4 both completed and failed"),
    ],
)
def test_lists_that_differ_from_the_request_are_red_and_name_the_values(batch, check, changes, named):
    batch.metadata |= changes
    status, said = check(batch)
    assert (status, named in said) == (1, True), said


@pytest.mark.parametrize(
    ("name", "said_of_it"),
    [
        (f"{NAME}.json", "no concurrency suffix"),
        (f"{NAME}_conc04.json", "malformed concurrency suffix"),
        (f"{NAME}_conc.json", "malformed concurrency suffix"),
        (f"{NAME}_conc0.json", "malformed concurrency suffix"),
        (f"{NAME}_conc4.5.json", "malformed concurrency suffix"),
        (f"{NAME}_conc8.json", "was not requested"),
    ],
)
def test_result_files_of_another_name_are_red_and_the_missing_one_is_named(batch, check, name, said_of_it):
    batch.rename(f"{NAME}_conc4.json", name)
    status, said = check(batch)
    assert (status, said_of_it in said, "no result file of concurrency 4" in said) == (1, True, True), said


@pytest.mark.parametrize("below", ["old", "old/older"])
def test_a_result_apart_from_the_others_is_red_and_named(batch, check, below):
    folder = batch.write() / below
    folder.mkdir(parents=True)
    (folder / f"{NAME}_conc64.json").write_text("{}")
    status, said = check(batch)
    assert (status, f"fail: {below}/{NAME}_conc64.json: lies apart" in said) == (1, True), said


def test_two_results_of_one_concurrency_are_red(batch, check):
    batch.add("results_2026-01-01_conc4.json", batch.results[f"{NAME}_conc4.json"] | {"date": 2e9})
    status, said = check(batch)
    assert (status, "2 result files of concurrency 4" in said) == (1, True), said


@pytest.mark.parametrize(("number", "ordinal"), [(2, "second"), (3, "third"), (11, "11th")])
def test_a_further_result_of_a_concurrency_is_red_and_counted(batch, check, number, ordinal):
    name = f"{NAME}_conc4_{number}.json"
    batch.add(name, batch.results[f"{NAME}_conc4.json"] | {"date": 2e9})
    status, said = check(batch)
    assert (status, f"{name}: is the {ordinal} result of 4; expected one result" in said) == (1, True), said
    assert "malformed" not in said


def test_a_further_result_does_not_replace_the_first(batch, check):
    batch.rename(f"{NAME}_conc4.json", f"{NAME}_conc4_2.json")
    status, said = check(batch)
    assert (status, "no result file of concurrency 4" in said) == (1, True), said


@pytest.mark.parametrize("below", ["", "org__small/"])
def test_results_of_an_output_path_that_ends_in_json_are_read(single, check, below):
    if below:
        (single.path / below).mkdir(parents=True)
    single.rename(single.first_name, f"{below}gsm8k_2026-01-02T03-04-05.123456.json")
    status, said = check(single, asked="4")
    assert (status, "gsm8k_2026-01-02T03-04-05.123456.json: gsm8k exact_match,strict-match" in said) == (
        0,
        True,
    ), said


def test_a_json_file_with_another_name_is_reported_if_no_result_is_found(single, check):
    single.rename(single.first_name, "gsm8k.json")
    status, said = check(single, asked="4")
    assert (status, "no result; lm-eval does not give a result the name gsm8k.json" in said) == (1, True), (
        said
    )


def test_a_result_with_another_name_is_reported_if_it_cannot_be_used(single, check):
    single.results = {}
    single.write()
    (single.path / "gsm8k_2026-01-02T03-04-05.json").write_text("{")
    status, said = check(single, asked="4")
    assert (status, "gsm8k_2026-01-02T03-04-05.json: is not strict JSON" in said) == (1, True), said


def test_a_result_copied_over_another_concurrency_is_red(batch, check):
    batch.write()
    batch.results.pop(f"{NAME}_conc4.json")
    shutil.copy(batch.path / f"{NAME}_conc1.json", batch.path / f"{NAME}_conc4.json")
    status, said = check(batch)
    assert (status, "the same bytes" in said) == (1, True), said


def test_a_renamed_result_of_another_concurrency_is_red(batch, check):
    one, four = f"{NAME}_conc1.json", f"{NAME}_conc4.json"
    batch.results = {one: batch.results[four], four: batch.results[one]}
    status, said = check(batch)
    assert (status, "should be of concurrency 4" in said, "should be of concurrency 1" in said) == (
        1,
        True,
        True,
    ), said
