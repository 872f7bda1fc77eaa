"""`pytest-bench init`: write a starter folder of suites."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_bench.cli.planning import words
from pytest_bench.errors import UsageError
from pytest_bench.files import readable_json
from pytest_bench.suite.json_schema import json_schema

SUMMARY = "write a starter folder: a suite, its test files and prompts"
EXAMPLE = "pytest-bench init bench/"

_SCHEMA = "suite.schema.json"
"""Named by the suite, so that editors complete and check it."""

_SUITE = """\
# yaml-language-server: $schema=suite.schema.json
# Run it:  pytest THIS_FOLDER --endpoint=http://host:8000
#          pytest THIS_FOLDER --endpoint=simulator     (to try it out: nothing it measures is a model's)
suite: chat

deployment:
  api: openai-chat
  model: my-model                 # the name your server knows
  endpoint: ${CHAT_ENDPOINT:-}    # or --endpoint; none at all is an error
  generation: {max_tokens: 64, temperature: 0, ignore_eos: true}
  # tokens: {tokenizer: path/to/tokenizer}   # counts tokens; without one, the server's usage counts them

datasets:
  prompts: {path: data/prompts.jsonl}

perf:
  steady:
    dataset: prompts
    load: {pattern: concurrency, requests: 24}
    sweep: {concurrency: [1, 8]}
    bounds:
      time_to_first_token.p99: "<= 2s"
      request_throughput: ">= 0.5"

audit:
  caching:                        # MLPerf's TEST04: no answers from a cache
    test: output-caching
    of: steady/c0008
    threshold: 0.20
"""

_TEST = '''\
"""One test for every {kind} point of this folder's suites."""

import pytest


@pytest.mark.points("{kind}")
def test_{kind}(run_load):
    run_load().require()
'''

_INI = """\
[pytest]
# Without the plugin nothing would be measured and everything would be green: a missing plugin is an error.
required_plugins = pytest-inference-bench
"""

_PROMPTS = (
    "Explain why the sky is blue to a {audience}.",
    "Write a short note that thanks a {audience} for their help.",
    "List three questions that a {audience} would ask about a new bridge.",
    "Describe a quiet morning as a {audience} would see it.",
    "Give a {audience} one reason to learn a second language.",
    "Summarise the plot of a story about a {audience} and a lost key.",
    "Name five things that a {audience} carries to work, and why.",
    "Tell a {audience} how a refrigerator keeps food cold.",
)
_AUDIENCES = ("baker", "gardener", "pilot", "nurse", "carpenter", "teacher", "sailor", "librarian", "student")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="where to write; existing files are never replaced"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the folder and print the next step. Raises `UsageError` if a file would be replaced."""
    folder: Path = arguments.folder
    files = starter_files() | {_SCHEMA: readable_json(json_schema(words([]))).decode()}
    taken = [str(folder / name) for name in files if (folder / name).exists()]
    if taken:
        raise UsageError(f"{', '.join(taken)}: already there; name another folder, or move it away")
    try:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror or error}") from error
    print(f"{folder}: {', '.join(files)}")
    print(f"next: pytest {folder} --endpoint=simulator")
    return 0


def test_file(kind: str) -> str:
    """Content of a test file that runs every point of a kind."""
    return _TEST.format(kind=kind)


def starter_files() -> dict[str, str]:
    """Contents of the files, by path within the folder."""
    prompts = (text.format(audience=audience) for audience in _AUDIENCES for text in _PROMPTS)
    return {
        "chat.yaml": _SUITE,
        **{f"test_{kind}.py": test_file(kind) for kind in ("perf", "audit", "eval")},
        "pytest.ini": _INI,
        "data/prompts.jsonl": "".join(f'{{"prompt": "{text}"}}\n' for text in prompts),
    }
