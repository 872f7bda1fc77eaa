"""Result files of an eval in lm-eval's layout, and the `meta_env.json` that InferenceX's collector reads."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from pytest_bench.evals.answers import Account, ScoredItem
from pytest_bench.evals.measure import EvalMetrics
from pytest_bench.evals.tasks import Task
from pytest_bench.files import canonical_json, readable_json, write_atomic
from pytest_bench.scoring import Scoring

METADATA = "meta_env.json"
OWN_KEY = "pytest_bench"
"""Key of what only this project writes, in results, in each line of samples, and in `meta_env.json`: the session's
nonce. Tools that read lm-eval's layout ignore keys that they do not know."""

LABELS: dict[str, str] = {
    "is_multinode": "whether several nodes serve",
    "framework": "serving framework",
    "precision": "precision of the weights",
    "spec_decoding": "speculative decoding",
    "tp": "tensor parallelism",
    "pp": "pipeline parallelism",
    "ep": "expert parallelism",
    "dp_attention": "data-parallel attention",
    "prefill_tp": "tensor parallelism of prefill",
    "prefill_ep": "expert parallelism of prefill",
    "prefill_dp_attention": "data-parallel attention of prefill",
    "prefill_num_workers": "prefill workers",
    "decode_tp": "tensor parallelism of decode",
    "decode_ep": "expert parallelism of decode",
    "decode_dp_attention": "data-parallel attention of decode",
    "decode_num_workers": "decode workers",
    "infmax_model_prefix": "model prefix, by which thresholds are found",
    "hw": "hardware",
    "isl": "input length of the deployment's workload",
    "osl": "output length of the deployment's workload",
}
"""Labels of a deployment that go into `meta_env.json`; others go into the result files only."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What a result file says about the run, beside its scores."""

    model: str
    concurrency: int
    started: datetime
    """With a time zone; in UTC, it names the files."""
    version: str
    """Of pytest-inference-bench."""
    few_shots: int
    dataset_items: int
    """Items of the dataset before a limit."""
    limit: int | None = None
    """Items that `--eval-limit` allows; None: all."""
    labels: Mapping[str, Any] = {}
    nonce: str
    """Nonce of the session that writes the file."""
    extra: Mapping[str, Any] = {}
    """Further provenance, such as the point and its digest."""


def sanitized_model(model: str) -> str:
    """Folder name of a model, as lm-eval makes it."""
    return re.sub(r"[\"<>:/|\\?*\[\]]+", "__", model)


def results_document(
    task: Task, metrics: EvalMetrics, run: Run, account: Account, items: int
) -> dict[str, Any]:
    """Content of `results_<time>.json`. A score that is not defined is null, which no reader takes for a number."""
    row: dict[str, Any] = {"name": task.name, "alias": task.name, "sample_len": items}
    for scoring in task.scorings:
        estimate = metrics.scorings[scoring.key].estimate
        row[scoring.key] = None if estimate is None else estimate.value
        stderr = None if estimate is None else estimate.stderr
        row[f"{scoring.metric}_stderr,{scoring.filter}"] = "N/A" if stderr is None else stderr
    return {
        "results": {task.name: row},
        "group_subtasks": {task.name: []},
        "configs": {task.name: _config(task, run)},
        "versions": {task.name: max(scoring.version for scoring in task.scorings)},
        "n-shot": {task.name: run.few_shots},
        "higher_is_better": {task.name: {scoring.metric: True for scoring in task.scorings}},
        "n-samples": {task.name: {"original": run.dataset_items, "effective": items}},
        "config": {
            "model": "pytest-inference-bench",
            "model_args": {"model": run.model, "num_concurrent": run.concurrency},
            "limit": None if run.limit is None else float(run.limit),
            "gen_kwargs": task.parameters,
        },
        "date": run.started.timestamp(),
        "lm_eval_version": f"pytest-inference-bench {run.version}",
        "model_source": "pytest-inference-bench",
        "model_name": run.model,
        "model_name_sanitized": sanitized_model(run.model),
        "total_evaluation_time_seconds": str(account.elapsed_s),
        "labels": dict(run.labels),
        OWN_KEY: {
            "nonce": run.nonce,
            **run.extra,
            "metrics": msgspec.to_builtins(metrics),
            "account": msgspec.to_builtins(account),
        },
    }


def sample_lines(
    task: Task, metrics: EvalMetrics, scored: Iterable[ScoredItem], nonce: str
) -> Iterator[dict[str, Any]]:
    """Lines of `samples_<task>_<time>.jsonl`: one for each item and scoring, its value the mean over repeats.

    An unscored repeat counts as wrong within the allowance, as in `metrics`; beyond it, the value is null.
    """
    by_item: dict[str, list[ScoredItem]] = {}
    for one in scored:
        by_item.setdefault(one.item.id, []).append(one)
    for repeats in by_item.values():
        for scoring in task.scorings:
            unscored = None if metrics.scorings[scoring.key].estimate is None else 0.0
            yield {**_sample(task, repeats, scoring, unscored), OWN_KEY: {"nonce": nonce}}


def results_names(task: Task, run: Run, *, batched: bool) -> tuple[str, str]:
    """Names of results and samples in their folder.

    One concurrency: `<model>/results_<time>.json`, as lm-eval names it. `batched`, of several: beside
    `meta_env.json`, as `results_<time>_conc<N>.json`, where InferenceX's collector looks for them.
    """
    time = (
        run.started.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds").replace(":", "-")
    )
    suffix = f"_conc{run.concurrency}" if batched else ""
    place = "" if batched else f"{sanitized_model(run.model)}/"
    name = re.sub(r"[^\w.-]", "_", task.name)
    return f"{place}results_{time}{suffix}.json", f"{place}samples_{name}_{time}{suffix}.jsonl"


def encoded_results(document: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> tuple[bytes, bytes]:
    """Bytes of results and samples."""
    return readable_json(document), b"".join(canonical_json(sample) + b"\n" for sample in samples)


def write_results(
    folder: Path,
    document: Mapping[str, Any],
    samples: Sequence[Mapping[str, Any]],
    task: Task,
    run: Run,
    *,
    batched: bool,
) -> tuple[Path, Path]:
    """Write samples, then results, each whole or not at all; returns the paths of results and samples."""
    results_path, samples_path = (folder / name for name in results_names(task, run, batched=batched))
    results, logged = encoded_results(document, samples)
    results_path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(samples_path, logged)
    write_atomic(results_path, results)
    return results_path, samples_path


def metadata(
    model: str,
    labels: Mapping[str, Any],
    asked: Sequence[int],
    completed: Sequence[int],
    exit_code: int,
    *,
    nonce: str,
    batched: bool = True,
) -> dict[str, Any]:
    """Content of `meta_env.json`. Labels that were not given are left out: none has a default.

    `batched` as in `write_results`: without it, one concurrency was asked for, and the lists are left out.
    """
    content = {
        **{name: labels[name] for name in LABELS if name in labels},
        "model": model,
        "conc": asked[0],
        "eval_exit_code": exit_code,
        OWN_KEY: {"nonce": nonce},
    }
    if not batched:
        return content
    return {
        **content,
        "eval_concs": list(asked),
        "completed_eval_concs": [one for one in asked if one in completed],
        "failed_eval_concs": [one for one in asked if one not in completed],
    }


def write_metadata(folder: Path, content: Mapping[str, Any]) -> Path:
    path = folder / METADATA
    write_atomic(path, readable_json(content))
    return path


def _config(task: Task, run: Run) -> dict[str, Any]:
    return {
        "task": task.name,
        "output_type": "generate_until",
        "doc_to_text": task.template
        if task.template is not None
        else [msgspec.to_builtins(message) for message in task.messages],
        "doc_to_target": task.target,
        "target_delimiter": task.target_delimiter,
        "fewshot_delimiter": task.few_shot_delimiter,
        "num_fewshot": run.few_shots,
        "repeats": task.repeats,
        "generation_kwargs": task.parameters,
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True}
            for metric in dict.fromkeys(scoring.metric for scoring in task.scorings)
        ],
        "filter_list": [
            {"name": scoring.filter, "filter": [{"function": scoring.name, **msgspec.to_builtins(scoring)}]}
            for scoring in task.scorings
        ],
        "metadata": {
            "version": max(scoring.version for scoring in task.scorings),
            "scoring_digests": {scoring.key: scoring.digest(task.prompt_source) for scoring in task.scorings},
        },
    }


def _sample(
    task: Task, repeats: Sequence[ScoredItem], scoring: Scoring, unscored: float | None
) -> dict[str, Any]:
    item = repeats[0].item
    scores = [one.answered.scores.get(scoring.key) for one in repeats]
    values = [unscored if score is None or score.value is None else score.value for score in scores]
    known = [value for value in values if value is not None]
    prompt = item.prompt if isinstance(item.prompt, str) else json.dumps(item.prompt, ensure_ascii=False)
    return {
        "doc_id": item.index,
        "item": item.id,
        "doc": item.row,
        "target": item.target,
        "arguments": {"gen_args_0": {"arg_0": item.prompt, "arg_1": task.parameters}},
        "resps": [[None if one.response is None else one.response.content for one in repeats]],
        "reasoning": [None if one.response is None else one.response.reasoning for one in repeats],
        "finish_reasons": [None if one.response is None else one.response.finish_reason for one in repeats],
        "limits": [None if one.response is None else one.response.limit for one in repeats],
        "filtered_resps": [None if score is None else score.extracted for score in scores],
        "filter": scoring.filter,
        "metrics": [scoring.metric],
        "values": [None if score is None else score.value for score in scores],
        "scorer_errors": [None if score is None else score.error for score in scores],
        "conditions": [[] if score is None else list(score.conditions) for score in scores],
        "attempts": [one.answered.attempts for one in repeats],
        "status": [one.answered.status for one in repeats],
        "doc_hash": row_hash(item.row),
        "prompt_hash": _text_hash(prompt),
        "target_hash": _text_hash(item.target),
        scoring.metric: sum(known) / len(known) if len(known) == len(values) else None,
    }


def row_hash(row: Mapping[str, Any]) -> str:
    """lm-eval's hash of an item."""
    return _text_hash(json.dumps(row, indent=2, ensure_ascii=False))


def _text_hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
