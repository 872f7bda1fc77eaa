"""The other audits against a server that cheats in the way that each detects, and against an honest one."""

from __future__ import annotations

import json

import pytest
from http_servers import Handler, serving

from pytest_bench.audits.point import judgement_of
from pytest_bench.audits.reverify import reverify

SUITE = """
suite: s
deployment:
  api: sglang
  model: m
  endpoint: simulator
  metrics_path: null
  generation: {{max_tokens: 6, temperature: 0}}
  simulator: {{ttft_ms: 60, itl_ms: 1, {behaviour}}}
datasets:
  prompts: {{path: prompts.jsonl}}
  answers: {{path: answers.jsonl}}
perf:
  busy:
    dataset: prompts
    load: {{pattern: concurrency, concurrency: 4, requests: 16}}
    budget: {{vacancy: 1, schedule_lateness_ms: 2000, cpu_share: 1, achieved_share: 0.1}}
audit:
  a: {{of: busy, {audit}}}
"""

ACCURACY = "test: accuracy-in-performance, threshold: 0.95"
CONSISTENCY = "test: output-consistency, samples: 12, eos_token_ids: [2]"
LENGTH = "test: output-length, minimum_tokens: 5.5, maximum_tokens: 6"
FULL = "test: accuracy-in-performance-full, answers: answers, minimum: 0.9"

ONLY_UNDER_LOAD = "cheat_in_flight: 2"


@pytest.fixture
def suite(auditor):
    prompt, answer = (lambda n: f"prompt {n} of prompts"), (lambda n: f"answer {n}")
    auditor.dataset("answers", prompt=prompt, answer=answer)
    auditor.dataset("simulated", prompt=prompt, content=answer)

    def text(audit, behaviour="seed: 0"):
        return SUITE.format(audit=audit, behaviour=behaviour)

    return text


@pytest.mark.parametrize(
    ("audit", "behaviour"),
    [
        (ACCURACY, "seed: 0"),
        (CONSISTENCY, "seed: 0"),
        (LENGTH, "seed: 0"),
        (FULL, "answers: simulated.jsonl"),
    ],
)
def test_an_honest_server_passes(auditor, suite, audit, behaviour):
    measured = auditor.audit(suite(audit, behaviour))

    assert measured.outcome == "pass", measured.report()


@pytest.mark.parametrize(
    ("audit", "behaviour", "word"),
    [
        (ACCURACY, f"cheat: [different_output], {ONLY_UNDER_LOAD}", "Accuracy check pass: False"),
        (ACCURACY, f"cheat: [short_output], {ONLY_UNDER_LOAD}", "Accuracy check pass: False"),
        (CONSISTENCY, "cheat: [trailing_eos]", "EOS check pass: False"),
        (CONSISTENCY, f"cheat: [different_output], {ONLY_UNDER_LOAD}", "First token check pass: False"),
        (LENGTH, "cheat: [short_output]", "Min check pass: False"),
        (LENGTH, "cheat: [empty_output]", "Mean output tokens: 0.00"),
        (LENGTH.replace("6", "5.9"), "seed: 0", "Max check pass: False"),
        (ACCURACY, "cache_after: 3", "Performance check pass: False"),
        (FULL, f"answers: simulated.jsonl, cheat: [different_output], {ONLY_UNDER_LOAD}", "TEST FAIL"),
    ],
)
def test_a_server_that_cheats_fails(auditor, suite, audit, behaviour, word):
    measured = auditor.audit(suite(audit, behaviour))

    assert measured.outcome == "fail", measured.report()
    (words,) = measured.folder.glob("verify_*.txt")
    assert word in words.read_text().splitlines()


@pytest.fixture
def counting():
    """A server that says three words, and how many tokens they were: as many as it is told to say."""
    said = {"tokens": 3}

    class Words(Handler):
        def get(self):
            self.say({"data": [{"id": "m"}]})

        def post(self):
            self.body()
            meta = {
                "finish_reason": {"type": "stop"},
                "prompt_tokens": 1,
                "completion_tokens": said["tokens"],
            }
            self.say({"text": "one two three", "output_ids": [5, 6, 7], "meta_info": meta})

        def say(self, answer):
            self.reply(200, json.dumps(answer).encode())

    with serving(Words) as url:
        yield said, url


@pytest.mark.parametrize(("tokens", "outcome"), [(3, "pass"), (2, "fail")])
def test_a_server_that_miscounts_its_tokens_fails(auditor, suite, counting, tokens, outcome):
    said, url = counting
    said["tokens"] = tokens
    text = suite(CONSISTENCY).replace("endpoint: simulator", f"endpoint: {url}")
    text = text.replace("  simulator: {ttft_ms: 60, itl_ms: 1, seed: 0}\n", "")

    measured = auditor.audit(text.replace("temperature: 0}", "temperature: 0, stream: false}"))

    assert measured.outcome == outcome, measured.report()
    words = (measured.folder / "verify_CONSISTENCY_OUTPUT_TEST.txt").read_text().splitlines()
    assert f"Sample length check pass: {outcome == 'pass'}" in words


def test_a_server_whose_outputs_begin_with_an_end_of_sequence_token_fails_although_mlperfs_lines_pass(
    auditor, suite
):
    measured = auditor.audit(suite(CONSISTENCY, "cheat: [first_eos]"))

    assert measured.outcome == "fail", measured.report()
    assert "audit-finding" in {reason.code for reason in measured.summary.judgement.reasons}
    words = (measured.folder / "verify_CONSISTENCY_OUTPUT_TEST.txt").read_text().splitlines()
    assert "EOS check pass: True" in words
    judged_again(auditor, measured)


def judged_again(auditor, measured):
    """Judging the logs again gives the same outcome, reasons and labels."""
    result, _ = reverify(auditor.planned, measured.point, measured.folder, measured.summary, auditor.audits)
    first, again = measured.summary.judgement, judgement_of(result)
    assert (again.outcome, again.reasons) == (first.outcome, first.reasons)
    assert set(again.labels) <= set(first.labels)


def test_empty_outputs_that_the_suite_allows_are_labelled_and_judged_alike_by_verify(auditor, suite):
    audit = f"{CONSISTENCY}, allow_empty_outputs: true"
    measured = auditor.audit(suite(audit, "cheat: [first_eos]"))

    assert measured.outcome == "pass", measured.report()
    assert "empty-outputs-allowed" in measured.summary.judgement.labels
    judged_again(auditor, measured)


@pytest.mark.parametrize(
    ("audit", "outcome"), [(ACCURACY, "error"), (CONSISTENCY, "fail"), (LENGTH, "fail"), (FULL, "fail")]
)
def test_failed_requests_never_help_to_pass(auditor, suite, audit, outcome):
    measured = auditor.audit(suite(audit, "answers: simulated.jsonl, fault: {http_503: 0.3}"))

    assert measured.outcome == outcome, measured.report()
    records = list(measured.folder.glob("audit_*.json"))
    assert [json.loads(record.read_text())["passed"] for record in records] == [False] * (outcome == "fail")


def test_outputs_without_token_ids_make_the_audit_an_error(auditor, suite):
    text = suite(CONSISTENCY).replace("api: sglang", "api: openai-completions")

    measured = auditor.audit(text)

    assert measured.outcome == "error"
    assert "token ids" in measured.report()
    assert not list(measured.folder.glob("verify_*.txt"))


def test_every_sample_of_the_dataset_is_sent_once(auditor, suite):
    measured = auditor.audit(suite(FULL, "answers: simulated.jsonl"))

    assert measured.summary.phases[0].issued == 40
    assert measured.value("accuracy_score") == 1.0


def test_a_vbench_result_becomes_evidence_of_the_point(auditor, suite):
    names = (
        "subject_consistency background_consistency motion_smoothness dynamic_degree appearance_style scene"
    )
    result = {"dimensions": dict.fromkeys(names.split(), 71.5), "videos": 40}
    (auditor.folder / "result.json").write_text(json.dumps(result))

    measured = auditor.audit(suite("test: vbench, result: result.json, videos: 40"))

    assert measured.outcome == "pass", measured.report()
    assert json.loads((measured.folder / "vbench_result.json").read_text()) == result
    assert measured.summary.phases == ()
    assert auditor.requests() == []
