"""`pytest-bench samples` on the files of finished evals: ours and lm-eval's."""

import json
import unicodedata

import msgspec
import pytest
from eval_log import RIGHT, ROWS, EvalLog, make_run, make_task, payload
from rich.cells import cell_len

from pytest_bench import cli
from pytest_bench.evals.results import metadata, results_document, sample_lines, write_metadata, write_results
from pytest_bench.evals.sample_files import read_result_samples
from pytest_bench.evals.sample_text import sample_lines as text_of
from pytest_bench.evals.samples import Sample
from pytest_bench.records import TextRecord
from pytest_bench.scoring import Score

STRICT, FLEXIBLE = "exact_match,strict-match", "exact_match,flexible-extract"


@pytest.fixture
def call(capsys):
    def run(*words):
        try:
            status = cli.main(["samples", *map(str, words)])
        except SystemExit as exit_:
            status = exit_.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def write_eval(folder, answers_by_concurrency, failed=(), task=None):
    """Result files of a batch of concurrencies, as a finished eval leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    for concurrency, answers in answers_by_concurrency.items():
        log = EvalLog(folder.parent / f"{folder.name}-{concurrency}.checkpoint", task, concurrency)
        log.session(answers, failed)
        metrics, about = log.metrics(), make_run(concurrency)
        document = results_document(log.task, metrics, about, log.account(), len(log.items))
        samples = list(sample_lines(log.task, metrics, log.scored(), "n"))
        write_results(folder, document, samples, log.task, about, batched=True)
    asked = list(answers_by_concurrency)
    write_metadata(folder, metadata("org/model", {}, asked, asked, 0, nonce="n"))
    return folder


def write_lm_eval(folder, values, *, doc="a", chat=False):
    """Samples as lm-eval 0.4.13 writes them, of one task with two filters."""
    prompt = (
        json.dumps([{"role": "user", "content": "How many?"}]) if chat else "Question: How many?\nAnswer:"
    )
    lines = [
        {
            "doc_id": number,
            "doc": {"question": "How many?"},
            "target": "#### 4",
            "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {"until": ["Q"]}}},
            "resps": [[f"It is {answer}."]],
            "filtered_resps": [answer],
            "filter": name,
            "metrics": ["exact_match"],
            "doc_hash": f"{doc}{number}",
            "prompt_hash": "p",
            "target_hash": "t",
            "exact_match": value,
        }
        for name in ("strict-match", "flexible-extract")
        for number, (answer, value) in enumerate(values)
    ]
    folder.mkdir(parents=True)
    (folder / "samples_gsm8k_2026-01-02T03-04-05.678901.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines)
    )
    (folder / "results_2026-01-02T03-04-05.678901.json").write_text(json.dumps({"results": {"gsm8k": {}}}))
    return folder


def listed(out):
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def ours(tmp_path):
    wrong = {**RIGHT, "q1": "#### 99", "q2": payload(2, "It is 4", finish_reason="length")}
    lost = {item: text for item, text in RIGHT.items() if item != "q5"}
    return write_eval(tmp_path / "ours", {2: {**wrong}, 4: RIGHT, 6: lost})


def test_every_sample_is_shown_with_prompt_output_target_and_scores(call, ours):
    status, out, _ = call(ours, "--point", "sums", "--json")
    samples = listed(out)
    assert (status, len(samples)) == (0, 18)
    (found,) = [one for one in samples if one["item"] == "q1" and one["concurrency"] == 2]
    assert found["prompt"].endswith("Question: 1 + 1?\nAnswer:")
    assert found["outputs"] == ["#### 99"]
    assert found["target"] == "#### 2"
    assert (found["finish_reason"], found["attempts"], found["status"]) == ("stop", 1, "completed")
    assert found["scores"][STRICT] == {"value": 0.0, "extracted": "99"}
    assert list(found["scores"]) == [STRICT, FLEXIBLE]


@pytest.mark.parametrize(
    ("options", "items"),
    [
        (["--wrong"], [("q1", 2), ("q2", 2)]),
        (["--truncated"], [("q2", 2)]),
        (["--unscored"], [("q5", 6)]),
        (["--unscored", "--truncated"], [("q2", 2), ("q5", 6)]),
        (["--wrong", "--metric", FLEXIBLE], [("q1", 2)]),
        (["--item", "q3", "--item", "q4"], [(item, n) for n in (2, 4, 6) for item in ("q3", "q4")]),
    ],
)
def test_samples_are_selected_by_their_outcome(call, ours, options, items):
    status, out, _ = call(ours, *options, "--json")
    assert status == 0
    assert [(one["item"], one["concurrency"]) for one in listed(out)] == items


def test_items_that_flipped_between_two_concurrencies_are_shown_with_both_answers(call, ours):
    status, out, _ = call(ours, "--flipped", 2, 4, "--json")
    assert status == 0
    flips = [(one["metric"], one["before"][0]["item"], one["after"][0]["item"]) for one in listed(out)]
    assert flips == [(STRICT, "q1", "q1"), (STRICT, "q2", "q2"), (FLEXIBLE, "q1", "q1")]
    _, out, err = call(ours, "--flipped", 2, 6)
    assert "#### 99" in out
    assert "#### 2" in out
    assert "3 scores of 6 items flipped from 2 to 6" in out
    assert "1 items are unscored in one of them" in err


def test_items_that_flipped_between_two_runs_are_paired_by_eval_and_concurrency(call, tmp_path):
    before = write_eval(tmp_path / "before", {2: RIGHT, 4: {**RIGHT, "q3": "#### 1"}})
    after = write_eval(tmp_path / "after", {2: RIGHT, 4: RIGHT})
    status, out, _ = call(after, "--flipped", before, after, "--json", "--metric", STRICT)
    assert status == 0
    (flip,) = listed(out)
    scores = [flip[side][0]["scores"][STRICT]["value"] for side in ("before", "after")]
    assert (flip["before"][0]["item"], flip["before"][0]["concurrency"], scores) == ("q3", 4, [0.0, 1.0])


def test_evals_of_other_items_are_not_compared(call, tmp_path):
    before = write_lm_eval(tmp_path / "before", [("4", 1.0)])
    after = write_lm_eval(tmp_path / "after", [("4", 1.0)], doc="b")
    status, _, err = call(after, "--flipped", before, after)
    assert status == 1
    assert "1 changed since the baseline" in err


def test_samples_of_lm_eval_are_read_with_both_filters_of_an_item_together(call, tmp_path):
    folder = write_lm_eval(tmp_path / "lm", [("4", 1.0), ("[invalid]", 0.0)], chat=True)
    status, out, _ = call(folder, "--wrong", "--json")
    assert status == 0
    (found,) = listed(out)
    assert found["prompt"] == [{"role": "user", "content": "How many?"}]
    assert found["outputs"] == ["It is [invalid]."]
    assert found["scores"][STRICT] == {"value": 0.0, "conditions": ["extraction_failed"]}
    assert (found["item"], found["attempts"], found["finish_reason"]) == ("1", None, None)
    one_file = next(folder.glob("samples_*"))
    assert listed(call(one_file, "--json")[1])[1]["outputs"] == found["outputs"]


def test_a_filter_that_the_evidence_cannot_answer_is_refused(call, tmp_path, ours):
    folder = write_lm_eval(tmp_path / "lm", [("4", 1.0)])
    for words, complaint in (
        ([folder, "--truncated"], "does not say why answers ended"),
        ([folder, "--metric", "acc"], "has no such score; expected one of exact_match,strict-match"),
        ([folder, "--item", "77"], "has no samples of --item 77"),
        ([ours, "--flipped", 2, 8], "its concurrencies are 2, 4, 6"),
        ([ours, "--flipped", 2, 4, "--wrong"], "leave out --follow, --wrong"),
        ([ours, "--follow"], "is not the results folder of a session"),
        ([tmp_path / "nothing"], "does not exist"),
    ):
        status, out, err = call(*words)
        assert (status, out) == (2, "")
        assert complaint in err
    (tmp_path / "empty").mkdir()
    status, _, err = call(tmp_path / "empty")
    assert (status, "has no samples" in err) == (1, True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: {**line, "resps": None, "metrics": None},
        lambda line: {name: value for name, value in line.items() if name != "resps"},
        lambda line: {**line, "filter": 3},
        lambda line: {**line, "conditions": 3},
        lambda line: {**line, "arguments": {"gen_args_0": []}, "metrics": 7},
    ],
)
def test_damaged_samples_are_a_clear_error(call, tmp_path, damage):
    folder = write_lm_eval(tmp_path / "lm", [("4", 1.0)])
    (path,) = folder.glob("samples_*")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(damage(line)) + "\n" for line in lines))
    status, _, err = call(folder)
    assert status == 1
    assert path.name in err


def sample(**changes):
    fields = {
        "source": "s/eval/sums/c0002",
        "eval": "s/eval/sums",
        "concurrency": 2,
        "item": "q1",
        "content": "h",
        "prompt": "word " * 4000,
        "outputs": ("\x1b[31mred\x07\r\nsecond \u202eline " + "漢字" * 200,),
        "reasoning": "because",
        "finish_reason": "length",
        "target": "#### 2",
        "attempts": 3,
        "error": "timeout: no answer",
        "scores": {STRICT: Score(value=0.0, extracted="99", conditions=("truncated",))},
    }
    return Sample(**{**fields, **changes})


@pytest.mark.parametrize("width", [10, 80, 200])
@pytest.mark.parametrize("whole", [False, True])
def test_text_fits_the_terminal_and_has_no_control_characters(width, whole):
    lines = list(text_of(sample(), width, whole=whole))
    assert max(map(cell_len, lines)) <= max(width, 20)
    assert not [letter for line in lines for letter in line if unicodedata.category(letter)[0] == "C"]
    shown = "".join("".join(lines).split())
    assert ("--fullshowsthem" in shown) is not whole
    for text in ("wrong,truncated", "because", "3attempts", "finishreasonlength", "timeout:noanswer", "'99'"):
        assert text in shown


def test_empty_null_and_missing_answers_look_different():
    def output(**changes):
        lines = text_of(sample(**changes), 80, whole=True)
        return [line[10:] for line in lines if line.startswith("output")]

    assert output(outputs=("",)) == ["(empty)"]
    assert output(outputs=(None,)) == ["(null)"]
    assert output(outputs=(), status="missing", scores={}) == []


def test_a_sample_is_read_back_from_its_file(tmp_path):
    odd = TextRecord(request_id="r", sample_index=0, content="a\n\r\u2028\x1b[31m\0b", reasoning="c")
    task = make_task(repeats=2)
    folder = tmp_path / "odd"
    folder.mkdir()
    log = EvalLog(tmp_path / "odd.checkpoint", task)
    log.session({**RIGHT, "q0": {"content": odd.content, "reasoning": odd.reasoning}})
    log.session({row["id"]: "#### 1" for row in ROWS}, repeat=1)
    metrics = log.metrics()
    document = results_document(task, metrics, make_run(), log.account(), len(log.items))
    write_results(
        folder, document, list(sample_lines(task, metrics, log.scored(), "n")), task, make_run(), batched=True
    )
    found = {(one.item, one.repeat): one for one in read_result_samples(folder)}
    assert len(found) == 12
    assert (found["q0", 0].outputs, found["q0", 0].reasoning) == ((odd.content,), "c")
    scored = {(one.item.id, one.repeat): one.answered.scores for one in log.scored()}
    for key, one in found.items():
        kept = {name: msgspec.structs.replace(score, source="content") for name, score in scored[key].items()}
        assert one.scores == kept
