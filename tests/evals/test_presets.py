import json
import subprocess

import pytest
from lm_eval_environment import lm_eval_python

from pytest_bench.evals.presets import PRESETS
from pytest_bench.evals.tasks import Task, build_items
from pytest_bench.scoring import build_scoring

READ = """
import json, sys, yaml
from pathlib import Path
import lm_eval
print(json.dumps(yaml.safe_load((Path(lm_eval.__file__).parent / "tasks/gsm8k/gsm8k.yaml").read_text())))
"""


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_makes_a_task_whose_scorers_can_be_built(name):
    preset = PRESETS[name]
    task = Task(
        name=name,
        template=preset.template or "Question: {{question}}\nAnswer:",
        target=preset.target,
        parameters={"stop": list(preset.stop), "temperature": preset.temperature},
        scorings=tuple(build_scoring(scorer) for scorer in preset.scorers),
    )
    item = build_items(task, [{"question": "1 + 1?", "answer": "#### 2"}])[0]
    assert item.prompt.startswith("Question: 1 + 1?\n")
    assert item.prompt.endswith("\nAnswer:")
    assert item.target == "#### 2"


def test_the_preset_of_gsm8k_is_the_task_that_lm_eval_ships():
    python = lm_eval_python()
    shipped = json.loads(subprocess.run([python, "-c", READ], capture_output=True, check=True).stdout)
    preset = PRESETS["gsm8k"]
    assert (preset.template, preset.target) == (shipped["doc_to_text"], shipped["doc_to_target"])
    generation = shipped["generation_kwargs"]
    assert (list(preset.stop), preset.temperature) == (generation["until"], generation["temperature"])
    assert preset.few_shots == shipped["num_fewshot"]
    assert [build_scoring(scorer).filter for scorer in preset.scorers] == [
        declared["name"] for declared in shipped["filter_list"]
    ]
