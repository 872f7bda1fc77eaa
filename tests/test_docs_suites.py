"""Every YAML block of the documentation is a suite that can be planned, or a part of one that can, or is in `OTHER`."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from docs_pages import PAGES, ROOT, blocks

from pytest_bench.catalogue import require_possible
from pytest_bench.cli.planning import words
from pytest_bench.cli.quick_suite import _Dumper
from pytest_bench.suite.context import Overrides
from pytest_bench.suite.document import read_document
from pytest_bench.suite.loading import load_plan
from pytest_bench.suite.problems import Problems

HOW_TO = "docs/how-to"
CI = f"{HOW_TO}/gate-a-deployment-in-ci.md"

OTHER = {
    (CI, "jobs:"): "a workflow of GitHub Actions",
    (CI, "expectation:"): "a pipeline of GitLab",
    (f"{HOW_TO}/servers/gateways.md", "# config.yaml of LiteLLM"): "the configuration of LiteLLM",
    (f"{HOW_TO}/edit-suites.md", "# yaml-language-server: $schema=suite.schema.json"): "a comment",
}
"""Blocks that are no part of a suite, by page and first line, and what they are."""

PARTS = {
    (f"{HOW_TO}/choose-a-load.md", "admitted:"): "perf",
    (f"{HOW_TO}/choose-a-load.md", "monday:"): "datasets",
    (f"{HOW_TO}/choose-a-load.md", "morning:"): "perf",
    (f"{HOW_TO}/choose-a-load.md", "warmup:"): "perf.steady",
    (f"{HOW_TO}/export-for-mlperf.md", "order:"): "perf.offline",
    (f"{HOW_TO}/quiet-a-server.md", "container:"): "deployment",
    (f"{HOW_TO}/quiet-a-server.md", "benign:"): "deployment.container.log",
    (f"{HOW_TO}/quiet-a-server.md", "failures:"): "deployment.container.log",
    (f"{HOW_TO}/read-container-diagnostics.md", "container:"): "deployment",
    (f"{HOW_TO}/run-an-eval.md", "bounds:"): "eval.gsm8k",
    (f"{HOW_TO}/serve-a-model-in-a-container.md", "image:"): "deployment.container",
    (f"{HOW_TO}/several-endpoints-and-keys.md", "endpoint:"): "deployment",
    (f"{HOW_TO}/several-endpoints-and-keys.md", "api_key:"): "deployment",
    (f"{HOW_TO}/write-a-scorer.md", "scorers:"): "eval.gsm8k",
}
"""Where a block belongs in a suite, by page and first key. One that begins with a section of a suite is not listed."""

SECTIONS = ("deployment", "datasets", "perf", "audit", "eval")

WHOLE = """\
suite: page
deployment:
  api: openai-chat
  model: my-model
  endpoint: http://host:8000
  generation: {max_tokens: 64}
datasets:
  prompts: {path: data/prompts.jsonl}
perf:
  steady: {dataset: prompts, load: {pattern: concurrency, concurrency: 4, requests: 20}}
  offline: {dataset: prompts, load: {pattern: burst, requests: 20}}
eval:
  gsm8k:
    preset: gsm8k
    dataset: prompts
    generation: {max_tokens: 64}
    concurrency: 1
"""
"""A suite of which the blocks are a part."""

ENVIRON = {
    **dict.fromkeys(("CHAT_ENDPOINT", "ACME_ENDPOINT", "ENDPOINT"), "http://host:8000"),
    **dict.fromkeys(("CHAT_API_KEY", "GATEWAY_KEY", "HF_TOKEN"), "not-a-real-key"),
    "HOME": "/home/user",
    "SLURM_JOB_ID": "1",
    "MAD_DOCKER_BUILDS": "/builds",
}

BLOCKS = [block for page in PAGES for block in blocks(page) if block.language == "yaml"]


MANIFEST = {
    "built_images": {"ci-chat": {"docker_image": "ci-chat"}},
    "built_models": {"ci-chat": {"name": "chat"}},
    "context": {"docker_env_vars": {"MODEL_DIR": "/models"}},
}


def key(block):
    """The first key of a block."""
    return next((line.split(" ")[0] for line in block.text.splitlines() if not line.startswith("#")), "")


def read(text):
    problems = Problems()
    document = read_document(text.encode(), "page.yaml", ENVIRON, problems)
    assert not problems, problems.error()
    return document.value


def within(place, value):
    for name in reversed(place.split(".") if place else []):
        value = {name: value}
    return value


def merged(base, change):
    """`base` with the values of `change`. Mappings are merged, and a container replaces an endpoint."""
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    result = dict(base)
    for name, value in change.items():
        result[name] = merged(base[name], value) if name in base else value
    if change.keys() & {"container", "containers"}:
        result.pop("endpoint", None)
    return result


def whole(block):
    """The suite that a block is, or is a part of."""
    text = re.sub(r"\{…\}", "{}", re.sub(r"^ *\.\.\.\n", "", block.text, flags=re.MULTILINE))
    value = read(text)
    if "suite" in value:
        return block.text
    first = key(block)
    place = "" if first.rstrip(":") in SECTIONS else PARTS[block.page, first]
    base = read(WHOLE)
    if place.startswith("deployment.container") or "container:" in block.text:
        base = merged(
            base, within("deployment.container", {"image": "our/server:1", "log": {"engine": "vllm"}})
        )
    return yaml.dump(merged(base, within(place, value)), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def write_files(folder, suite):
    """The files that a suite names: datasets, traces, and what containers mount and are built from."""
    for name in ("data", "server", "my-model"):
        (folder.parent / name if name != "data" else folder / name).mkdir(parents=True)
    (folder / "build_manifest.json").write_text(json.dumps(MANIFEST))
    (folder.parent / "server/Dockerfile").write_text("FROM our/base:1\n")
    shutil.copytree(ROOT / "examples", folder.parent / "examples")
    datasets = suite.get("datasets", {}).values()
    for dataset in datasets:
        if "path" in dataset:
            (folder / dataset["path"]).write_text('{"prompt": "What is dew?"}\n')
    lengths = {"input_length": 20, "output_length": 4, "hash_ids": [1]}
    row = {"timestamp": 0} | (lengths if any("synthetic" in dataset for dataset in datasets) else {})
    (folder / "data/monday.jsonl").write_text(f"{json.dumps(row)}\n")


def contributed(folder, page):
    """What the code of a page registers, as the plugins of a command."""
    for block in blocks(page):
        if block.language == "python" and block.first_line.startswith("# "):
            name = Path(block.first_line.removeprefix("# ").partition(",")[0]).name
            (folder / name).write_text(block.text)
    conftest = folder / "conftest.py"
    return [str(conftest)] if conftest.exists() else []


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{Path(block.page).stem}:{block.line}")
def test_a_yaml_block_is_a_suite_or_a_part_of_one(block, tmp_path, monkeypatch):
    if (block.page, block.first_line) in OTHER:
        yaml.safe_load(block.text)
        return
    folder = tmp_path / "suites"
    text = whole(block).replace("/data/my-model", "../my-model")
    write_files(folder, read(text))
    (folder / "page.yaml").write_text(text)
    monkeypatch.syspath_prepend(folder)
    vocabulary = words(contributed(folder, block.page))
    plan = load_plan([folder / "page.yaml"], vocabulary, Overrides(), ENVIRON, root=tmp_path)
    require_possible(plan, plan.points)
    assert plan.points


def test_every_row_of_the_tables_is_a_block():
    assert set(OTHER) <= {(block.page, block.first_line) for block in BLOCKS}
    assert set(PARTS) <= {(block.page, key(block)) for block in BLOCKS}


def test_every_page_about_a_server_shows_a_suite():
    servers = {page for page in PAGES if "/servers/" in page and not page.endswith("README.md")}
    assert servers == {
        block.page for block in BLOCKS if "/servers/" in block.page and block.text.startswith("suite: ")
    }
