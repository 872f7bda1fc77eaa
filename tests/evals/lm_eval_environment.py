"""The environment in which tests run lm-eval, and how it is made. Its dependencies stay out of ours."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ENVIRONMENT = Path(__file__).parents[2] / ".lm-eval"


def lm_eval_python():
    """The interpreter that has lm-eval. If it is not installed the test is skipped, or fails where CI requires it."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / ".ready").exists():
        missing = "lm-eval is not installed: run `make lmeval`"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return python


def run_lm_eval(folder, tasks, items, few_shots, answers):
    """Run lm-eval on `answers` (by task); `tasks` as lm_eval_runner.py describes them."""
    for name, rows in (("items", items), ("few_shots", few_shots)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "tasks.json").write_text(json.dumps(tasks))
    (folder / "answers.json").write_text(json.dumps(answers))
    home = {"HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(
        [lm_eval_python(), Path(__file__).with_name("lm_eval_runner.py"), folder],
        env={**os.environ, **home},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads((folder / "found.json").read_text())
