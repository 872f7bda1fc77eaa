"""A small eval whose checkpoint was written through the real writer."""

from datetime import UTC, datetime

import msgspec

from pytest_bench.checkpoints import open_checkpoint
from pytest_bench.evals.answers import ResultPayload, account, score_answers
from pytest_bench.evals.measure import measure_eval
from pytest_bench.evals.results import Run
from pytest_bench.evals.tasks import Task, build_items, generation_of, keys_of, scoring_of
from pytest_bench.records import RequestRecord, TextRecord, Usage
from pytest_bench.scoring import build_scoring

CONCURRENCY = 2
ROWS = [
    {"id": f"q{number}", "question": f"{number} + {number}?", "answer": f"#### {2 * number}"}
    for number in range(6)
]
SHOTS = [{"id": "s", "question": "7 + 7?", "answer": "#### 14"}]
RIGHT = {row["id"]: row["answer"] for row in ROWS}


def make_task(**changes):
    fields = {
        "name": "sums",
        "origin": "evals.yaml:3:5",
        "template": "Question: {{question}}\nAnswer:",
        "target": "{{answer}}",
        "id_column": "id",
        "parameters": {"temperature": 0, "stop": ["Question:"]},
        "scorings": (build_scoring("gsm8k-strict-match"), build_scoring("gsm8k-flexible-extract")),
    }
    return Task(**{**fields, **changes})


def payload(seq, text, *, start_s=0, **changes):
    fields = {
        "seq": seq,
        "request_id": f"r-{seq}",
        "index": seq,
        "sample_index": seq,
        "send_start_ns": int(start_s * 1e9),
        "end_ns": int((start_s + 1) * 1e9),
        "outcome": "succeeded",
        "finish_reason": "stop",
        "usage": Usage(input_tokens=10, output_tokens=5),
        **changes,
    }
    words = text if isinstance(text, dict) else {"content": text}
    record = RequestRecord(**fields)
    return ResultPayload(
        request=record,
        text=None if text is None else TextRecord(request_id=record.request_id, sample_index=seq, **words),
    )


class EvalLog:
    """One point: its task, items, keys and checkpoint."""

    def __init__(self, path, task=None, concurrency=CONCURRENCY):
        self.path, self.task, self.concurrency = path, task or make_task(), concurrency
        self.items = build_items(self.task, ROWS, SHOTS)
        self.keys = keys_of(self.task, self.items, concurrency)
        self.generation = generation_of(
            self.task, self.items, SHOTS, model="org/model", revision=None, concurrency=concurrency
        )

    def session(self, answers, failed=(), *, start_s=0, repeat=0, end=False):
        """Write a session: answers by item id, and items that failed before them."""
        by_item = {key.item: key for key in self.keys if key.repeat == repeat}
        with open_checkpoint(self.path) as checkpoint:
            contents = checkpoint.contents
            writer = checkpoint.writer()
            if contents.header is None:
                writer.append("header", {"log": "checkpoint", "point": "p", "generation": self.generation})
            scoring = scoring_of(self.task)
            writer.append("session", {"nonce": "n", "repeats": 1, "scoring": scoring, "started_ns": 1})
            for item in failed:
                record = payload(0, None, start_s=start_s, outcome="failed", error="timeout", usage=None)
                writer.append("error", record, by_item[item])
            for number, (item, text) in enumerate(answers.items()):
                words = (
                    text
                    if isinstance(text, ResultPayload)
                    else payload(number, text, start_s=start_s + number)
                )
                writer.append("result", words, by_item[item])
            if end:
                writer.append("end", {"results": len(contents.results) + len(answers)})
            writer.close()
        assert writer.fault is None

    def scored(self):
        with open_checkpoint(self.path) as checkpoint:
            return list(score_answers(self.task, self.items, self.keys, self.path, checkpoint.contents))

    def metrics(self, **options):
        return measure_eval(self.task.scorings, [one.answered for one in self.scored()], **options)

    def account(self):
        return account(self.path)


def make_run(concurrency=CONCURRENCY, **changes):
    fields = {
        "model": "org/model",
        "concurrency": concurrency,
        "started": datetime(2026, 11, 29, 12, 30, 0, 125, tzinfo=UTC),
        "version": "0.1.0",
        "nonce": "n",
        "few_shots": 1,
        "dataset_items": len(ROWS),
        "labels": {"hw": "h200", "tp": 8, "team": "x"},
    }
    return Run(**{**fields, **changes})


def same(first, second):
    return msgspec.json.encode(first) == msgspec.json.encode(second)
