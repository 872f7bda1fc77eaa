"""The environment in which tests run lm-eval, and how it is made. Its dependencies stay out of ours."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

VERSION = "0.4.13"
ENVIRONMENT = Path(__file__).parents[2] / ".bench" / "lm-eval"


def lm_eval_python():
    """The interpreter that has lm-eval. Where CI is set it is installed if it is missing; elsewhere tests skip."""
    python = Path(os.environ.get("LM_EVAL_PYTHON", ENVIRONMENT / "bin" / "python"))
    if not python.exists() and os.environ.get("CI"):
        ENVIRONMENT.parent.mkdir(exist_ok=True)
        with ENVIRONMENT.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # of several xdist workers, one installs
            if not python.exists():
                unfinished = ENVIRONMENT.with_suffix(".unfinished")
                subprocess.run([sys.executable, "-m", "venv", "--clear", unfinished], check=True)
                pip = [unfinished / "bin" / "python", "-m", "pip", "install", "--quiet"]
                subprocess.run([*pip, f"lm_eval[api]=={VERSION}"], check=True)
                unfinished.rename(ENVIRONMENT)
    if not python.exists():
        pytest.skip(
            f"lm-eval is not installed: python3 -m venv {ENVIRONMENT} && "
            f"{ENVIRONMENT}/bin/pip install 'lm_eval[api]=={VERSION}'"
        )
    return python


def run_lm_eval(folder, tasks, items, few_shots, answers):
    """What lm-eval makes of `answers` (by task); `tasks` as lm_eval_runner.py describes them."""
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
