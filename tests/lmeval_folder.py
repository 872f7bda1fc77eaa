"""A valid folder as lm-eval and its job write it; tests change one thing in it."""

from __future__ import annotations

import copy
import json
import time


def metadata(*concs, batch=None, **changes):
    content = {
        "eval_exit_code": 0,
        "conc": concs[0],
        "infmax_model_prefix": "small",
        "model": "org/small",
        "framework": "vllm",
    }
    if batch if batch is not None else len(concs) > 1:
        content |= {
            "eval_concs": list(concs),
            "completed_eval_concs": list(concs),
            "failed_eval_concs": [],
        }
    return content | changes


def result(conc, score=0.9, task="gsm8k"):
    return {
        "results": {
            task: {
                "alias": task,
                "exact_match,strict-match": score,
                "exact_match_stderr,strict-match": 0.01,
                "exact_match,flexible-extract": score,
                "exact_match_stderr,flexible-extract": "N/A",
            }
        },
        "n-samples": {task: {"original": 10, "effective": 10}},
        "higher_is_better": {task: {"exact_match": True}},
        "group_subtasks": {task: []},
        "config": {
            "model": "local-chat-completions",
            "model_args": f"model=org/small,base_url=http://127.0.0.1:1/v1,num_concurrent={conc},max_retries=3",
            "limit": None,
        },
        "model_name": "org/small",
        "date": time.time(),
        "total_evaluation_time_seconds": f"{conc}.5",
    }


class EvalFolder:
    """Files by name; `write()` puts them on disk."""

    def __init__(self, path, *concs, batch=None):
        self.path = path
        self.metadata = metadata(*concs, batch=batch)
        suffixed = len(concs) > 1 or bool(batch)
        self.results = {
            f"results_2026-01-02T03-04-05{f'_conc{conc}' if suffixed else ''}.json": result(conc)
            for conc in concs
        }
        self.thresholds = {"default": {"gsm8k": 0.85}, "models": {"small": {"gsm8k": 0.9}}}

    @property
    def first(self):
        """The first result, to be altered."""
        return next(iter(self.results.values()))

    @property
    def first_name(self):
        return next(iter(self.results))

    def rename(self, old, new):
        self.results = {new if name == old else name: content for name, content in self.results.items()}

    def add(self, name, content):
        self.results[name] = copy.deepcopy(content)

    def write(self):
        self.path.mkdir(exist_ok=True)
        if self.metadata is not None:
            (self.path / "meta_env.json").write_text(json.dumps(self.metadata))
        for name, content in self.results.items():
            (self.path / name).write_text(json.dumps(content))
        return self.path
