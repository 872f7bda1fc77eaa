"""The shell commands of docs/how-to/gate-a-deployment-in-ci.md, run as its recipes run them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/how-to/gate-a-deployment-in-ci.md").read_text(encoding="utf-8")
RECIPES = ("GitHub Actions", "GitLab", "Jenkins")
COMMAND = re.compile(r"pytest-bench (?:plan|run|verify) [^\n']*(?:\n +--[^\n']*)*")


def commands(recipe):
    """The words of `plan`, `run` and `verify` in a recipe, before the shell replaces variables."""
    section = PAGE.partition(f"\n## {recipe}\n")[2].partition("\n## ")[0].replace("\\\n", " ")
    section = section.replace("${{ vars.STAGING_URL }}", "$STAGING_URL")
    return [" ".join(found.split()) for found in COMMAND.findall(section)]


def shell(folder, command, **environ):
    program = (
        f"{shlex.quote(sys.executable)} -c 'from pytest_bench.cli import main; raise SystemExit(main())'"
    )
    return subprocess.run(
        ["bash", "-c", command.replace("pytest-bench", program, 1)],
        cwd=folder.root,
        env=folder.environment() | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def artifacts(folder, name):
    """What the jobs of a recipe hand over to its gate, where the gate finds it."""
    if name == "GitHub Actions":
        # `upload-artifact` keeps the paths below the common folder; `download-artifact` makes a folder of each.
        (folder.root / "artifacts/expectation").mkdir(parents=True)
        shutil.copy(folder.root / "expectation.json", folder.root / "artifacts/expectation")
        shutil.copytree(folder.root / "results/ci", folder.root / "artifacts/results/results/ci")
        shutil.copy(folder.root / "junit.xml", folder.root / "artifacts/results")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_plans_runs_and_verifies_and_a_lost_point_is_red(folder, name):
    folder.points = ("one",)
    folder.__post_init__()
    folder.edit("bench/tiny.yaml", "ready_timeout_s: 5", "ready_timeout_s: 60")
    plan, run, verify = commands(name)
    environ = {"STAGING_URL": "simulator", "BUILD_NUMBER": "ci"}
    for command in (plan, run):
        done = shell(folder, command, **environ)
        assert done.returncode == 0, done.stdout + done.stderr
    artifacts(folder, name)
    done = shell(folder, verify, **environ)
    assert done.returncode == 0, done.stdout + done.stderr
    folder.write(
        "artifacts/expectation/expectation.json" if "artifacts/" in verify else "expectation.json",
        '{"points": ["tiny/perf/one", "tiny/perf/lost"]}',
    )
    done = shell(folder, verify, **environ)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "tiny/perf/lost" in done.stderr


def test_the_commands_at_the_top_of_the_page_are_those_of_the_recipes():
    shown = [line.removeprefix("$ ") for line in PAGE.splitlines() if line.startswith("$ pytest-bench")]
    gitlab = [command.replace("$STAGING_URL", "$ENDPOINT") for command in commands("GitLab")]
    assert shown[:3] == gitlab
