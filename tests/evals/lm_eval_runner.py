"""Runs lm-eval, in an environment of its own, on answers that are given: `python lm_eval_runner.py FOLDER`.

FOLDER holds `items.jsonl` and `few_shots.jsonl`, `answers.json` (a list of answers per task, null for none) and
`tasks.json`: for each task `shipped`, the path of a YAML file within lm-eval's own tasks, and fields to replace.
Writes `found.json`: results and samples as lm-eval returns them, and `output/` as it saves them.
"""

import json
import sys
from pathlib import Path

import lm_eval
import yaml
from lm_eval.api.model import LM
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager


class Canned(LM):
    """A model that gives prepared answers, by task and item."""

    def __init__(self, answers):
        super().__init__()
        self.answers = answers

    def generate_until(self, requests, disable_tqdm=False):  # noqa: FBT002 # lm-eval's interface
        return [self.answers[request.task_name][request.doc_id] for request in requests]

    def loglikelihood(self, requests, disable_tqdm=False):  # noqa: FBT002 # lm-eval's interface
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood


class _Loader(yaml.SafeLoader):
    """Leaves functions of task files out."""


_Loader.add_constructor("!function", lambda _loader, _node: None)


def task_of(name, declared, folder):
    shipped = Path(lm_eval.__file__).parent / "tasks" / declared["shipped"]
    config = yaml.load(shipped.read_text(), Loader=_Loader)
    for unwanted in ("tag", "dataset_name", "process_docs", "training_split", "validation_split"):
        config.pop(unwanted, None)
    data_files = {"test": str(folder / "items.jsonl"), "shots": str(folder / "few_shots.jsonl")}
    config.update(
        task=name,
        dataset_path="json",
        dataset_kwargs={"data_files": data_files},
        test_split="test",
        fewshot_split="shots",
        fewshot_config={"sampler": "first_n"},
        **declared["fields"],
    )
    return config


def main():
    folder = Path(sys.argv[1])
    declared = json.loads((folder / "tasks.json").read_text())
    answers = json.loads((folder / "answers.json").read_text())
    tracker = EvaluationTracker(output_path=str(folder / "output"))
    found = lm_eval.simple_evaluate(
        model=Canned(answers),
        tasks=[task_of(name, task, folder) for name, task in declared.items()],
        task_manager=TaskManager(include_defaults=False),
        log_samples=True,
        evaluation_tracker=tracker,
        bootstrap_iters=0 if "--no-stderr" in sys.argv else 100,
    )
    samples = found["samples"]
    (folder / "found.json").write_text(json.dumps(found, default=str))
    found.pop("samples")
    tracker.save_results_aggregated(results=found, samples=samples)
    for name, lines in samples.items():
        tracker.save_results_samples(task_name=name, samples=lines)


if __name__ == "__main__":
    main()
