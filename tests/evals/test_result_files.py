import json

import pytest
from eval_log import RIGHT, ROWS, SHOTS, EvalLog, make_run, make_task
from lm_eval_environment import run_lm_eval

from pytest_bench.evals.measure import Allowance
from pytest_bench.evals.results import (
    LABELS,
    metadata,
    results_document,
    sample_lines,
    sanitized_model,
    write_metadata,
    write_results,
)
from pytest_bench.evals.tasks import Message
from pytest_bench.files import read_json
from pytest_bench.lmeval import Request, Thresholds, verify_folder

ANSWERS = {**RIGHT, "q1": "#### 99", "q2": "It is 4."}
COLLECTOR_KEYS = {
    # what InferenceX's utils/collect_eval_results.py reads
    *("is_multinode", "framework", "precision", "spec_decoding", "tp", "ep", "dp_attention", "prefill_tp"),
    *("prefill_ep", "prefill_dp_attention", "prefill_num_workers", "decode_tp", "decode_ep"),
    *("decode_dp_attention", "decode_num_workers", "infmax_model_prefix", "hw", "isl", "osl"),
}


def write_point(
    folder, concurrency=2, *, answers=None, batched=False, task=None, metrics_options=None, **run
):
    """A finished point and its result files; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    log = EvalLog(folder / f"{concurrency}.checkpoint", task, concurrency)
    log.session(answers or ANSWERS)
    metrics, about = log.metrics(**(metrics_options or {})), make_run(concurrency, **run)
    document = results_document(log.task, metrics, about, log.account(), len(log.items))
    samples = list(sample_lines(log.task, metrics, log.scored(), "n"))
    return write_results(folder, document, samples, log.task, about, batched=batched)


def request(*concurrencies, **changes):
    return Request(concurrencies=concurrencies, thresholds=Thresholds(default={"sums": 0.5}), **changes)


def test_files_of_one_concurrency_are_named_and_placed_as_by_lm_eval(tmp_path):
    results, samples = write_point(tmp_path)
    assert results.relative_to(tmp_path).as_posix() == "org__model/results_2026-11-29T12-30-00.000125.json"
    assert samples.name == "samples_sums_2026-11-29T12-30-00.000125.jsonl"
    row = read_json(results)["results"]["sums"]
    assert row["exact_match,strict-match"] == 4 / 6
    assert row["exact_match,flexible-extract"] == 5 / 6
    assert row["exact_match_stderr,strict-match"] > 0
    assert (row["alias"], row["name"], row["sample_len"]) == ("sums", "sums", 6)


def test_one_concurrency_is_read_back_and_judged(tmp_path):
    write_point(tmp_path)
    write_metadata(tmp_path, metadata("org/model", {}, [2], [2], 0, nonce="n"))
    verification = verify_folder(tmp_path, request(2))
    # `eval_concs` is in the metadata, so the rules for several concurrencies apply, which require the suffix
    assert {finding.file for finding in verification.findings} == {
        "org__model/results_2026-11-29T12-30-00.000125.json",
        "results*.json",
    }
    content = metadata("org/model", {}, [2], [2], 0, nonce="n", batched=False)
    write_metadata(tmp_path, content)
    verification = verify_folder(tmp_path, request(2))
    assert verification.findings == ()
    assert {checked.score.metric for checked in verification.checked} == {
        "exact_match,strict-match",
        "exact_match,flexible-extract",
    }


def test_several_concurrencies_are_read_back_and_judged(tmp_path):
    for concurrency in (1, 2, 4):
        write_point(tmp_path, concurrency, batched=True)
    write_metadata(tmp_path, metadata("org/model", {"hw": "h200"}, [1, 2, 4], [1, 2, 4], 0, nonce="n"))
    verification = verify_folder(tmp_path, request(1, 2, 4))
    assert verification.findings == ()
    assert len(verification.checked) == 6
    assert (tmp_path / "results_2026-11-29T12-30-00.000125_conc4.json").exists()


def test_a_concurrency_that_is_lost_is_named_by_the_verification(tmp_path):
    write_point(tmp_path, 1, batched=True)
    write_metadata(tmp_path, metadata("org/model", {}, [1, 2], [1], 1, nonce="n"))
    sentences = [str(finding) for finding in verify_folder(tmp_path, request(1, 2)).findings]
    assert any("failed_eval_concs" in sentence and "2" in sentence for sentence in sentences)
    assert any("no result file of concurrency 2" in sentence for sentence in sentences)
    assert any("eval_exit_code" in sentence for sentence in sentences)


def test_a_score_that_does_not_follow_from_its_samples_is_found(tmp_path):
    results, _ = write_point(tmp_path)
    write_metadata(tmp_path, metadata("org/model", {}, [2], [2], 0, nonce="n", batched=False))
    results.write_text(results.read_text().replace(str(4 / 6), "0.9"))
    assert any("samples" in str(finding) for finding in verify_folder(tmp_path, request(2)).findings)


def test_a_score_that_is_not_defined_is_null_and_is_not_read_as_a_number(tmp_path):
    some = {item: text for item, text in ANSWERS.items() if item != "q5"}
    results, samples = write_point(tmp_path, answers=some)
    assert read_json(results)["results"]["sums"]["exact_match,strict-match"] is None
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    assert [line["exact_match"] for line in lines if line["item"] == "q5"] == [None, None]
    assert {line["exact_match"] for line in lines if line["item"] == "q0"} == {1}
    write_metadata(tmp_path, metadata("org/model", {}, [2], [2], 0, nonce="n", batched=False))
    assert any("strict-match" in str(finding) for finding in verify_folder(tmp_path, request(2)).findings)


def test_unscored_requests_within_the_allowance_are_wrong_in_score_and_samples_alike(tmp_path):
    some = {item: text for item, text in RIGHT.items() if item != "q5"}
    results, _ = write_point(tmp_path, answers=some, metrics_options={"allowance": Allowance(count=1)})
    assert read_json(results)["results"]["sums"]["exact_match,strict-match"] == 5 / 6
    write_metadata(tmp_path, metadata("org/model", {}, [2], [2], 0, nonce="n", batched=False))
    assert verify_folder(tmp_path, request(2)).findings == ()


def test_a_limited_run_says_so_and_is_admitted_only_if_the_limit_was_declared(tmp_path):
    write_point(tmp_path, dataset_items=1000, limit=6)
    write_metadata(tmp_path, metadata("org/model", {}, [2], [2], 0, nonce="n", batched=False))
    assert any("6 of 1000" in str(finding) for finding in verify_folder(tmp_path, request(2)).findings)
    assert verify_folder(tmp_path, request(2, limit=6)).findings == ()


def test_labels_are_in_every_file_and_missing_ones_are_not_invented(tmp_path):
    results, _ = write_point(tmp_path)
    assert read_json(results)["labels"] == {"hw": "h200", "tp": 8, "team": "x"}
    content = metadata("org/model", {"hw": "h200", "tp": 8, "team": "x"}, [1, 4], [4], 3, nonce="n")
    assert content == {
        "hw": "h200",
        "tp": 8,
        "model": "org/model",
        "conc": 1,
        "eval_concs": [1, 4],
        "completed_eval_concs": [4],
        "failed_eval_concs": [1],
        "eval_exit_code": 3,
        "pytest_bench": {"nonce": "n"},
    }
    assert LABELS.keys() >= COLLECTOR_KEYS


def test_model_output_with_control_characters_stays_within_its_line(tmp_path):
    _, samples = write_point(tmp_path, answers={**ANSWERS, "q0": "a\n\r\u2028\x1b[31m\0b"})
    assert len(samples.read_bytes().split(b"\n")) == 2 * 6 + 1
    assert b"\x1b" not in samples.read_bytes()


@pytest.mark.parametrize(
    ("model", "folder"),
    [
        ("org/model", "org__model"),
        ("../../x", "..__..__x"),
        ("a:b|c?", "a__b__c__"),
        ("plain-1.5", "plain-1.5"),
    ],
)
def test_the_folder_of_a_model_is_always_within_the_results(model, folder):
    assert sanitized_model(model) == folder


def test_results_have_every_field_that_lm_eval_itself_writes_about_tasks(tmp_path):
    ours_path, our_samples = write_point(tmp_path / "ours")
    fields = {"num_fewshot": 1, "metadata": {"version": 3.0}}
    answers = {"sums": [ANSWERS[row["id"]] for row in ROWS]}
    theirs_folder = tmp_path / "theirs"
    theirs_folder.mkdir()
    run_lm_eval(
        theirs_folder, {"sums": {"shipped": "gsm8k/gsm8k.yaml", "fields": fields}}, ROWS, SHOTS, answers
    )
    theirs_path = next(theirs_folder.rglob("results_*.json"))
    their_samples = next(theirs_folder.rglob("samples_sums_*.jsonl"))
    ours, theirs = json.loads(ours_path.read_text()), json.loads(theirs_path.read_text())
    about_tasks = {
        "results",
        "configs",
        "versions",
        "n-shot",
        "higher_is_better",
        "n-samples",
        "group_subtasks",
    }
    assert about_tasks <= ours.keys() & theirs.keys()
    assert theirs["results"]["sums"].keys() == ours["results"]["sums"].keys()
    for name, value in theirs["results"]["sums"].items():
        assert ours["results"]["sums"][name] == pytest.approx(value) if "," in name else value
    for field in ("n-shot", "higher_is_better", "n-samples"):
        assert ours[field] == theirs[field]
    for config in ("metric_list", "filter_list"):
        assert [one.get("name", one.get("metric")) for one in ours["configs"]["sums"][config]] == [
            one.get("name", one.get("metric")) for one in theirs["configs"]["sums"][config]
        ]

    def by_place(path):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return {(line["doc_id"], line["filter"]): line for line in lines}

    mine, other = by_place(our_samples), by_place(their_samples)
    assert mine.keys() == other.keys()
    for place, line in other.items():
        assert line.keys() <= mine[place].keys()
        same = (
            "doc",
            "target",
            "resps",
            "filter",
            "metrics",
            "doc_hash",
            "prompt_hash",
            "target_hash",
            "exact_match",
        )
        assert {name: mine[place][name] for name in same} == {name: line[name] for name in same}


def test_a_chat_prompt_is_kept_as_messages(tmp_path):
    task = make_task(template=None, messages=(Message(role="user", content="{{question}}"),))
    _, samples = write_point(tmp_path, task=task)
    line = json.loads(samples.read_text().splitlines()[0])
    assert [message["role"] for message in line["arguments"]["gen_args_0"]["arg_0"]] == [
        "user",
        "assistant",
        "user",
    ]
