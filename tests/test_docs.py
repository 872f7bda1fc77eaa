"""The documentation says what the code says, and its links lead somewhere."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from pytest_bench.cli import COMMANDS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")
COMMAND = re.compile(r"(?:`|^\$ |^)pytest-bench ([a-z]+)", re.MULTILINE)
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


def generator():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name", ["apis.md", "command-line.md", "metrics.md", "results-folder.md", "simulator.md", "suites.md"]
)
def test_a_reference_page_says_what_the_code_says(name):
    page = generator().PAGES[name]()
    assert (DOCS / "reference" / name).read_text() == page, "run: python docs/generate.py"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(path):
    for target in LINK.findall(path.read_text()):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_command_that_a_page_calls_exists(path):
    assert set(COMMAND.findall(path.read_text())) <= set(COMMANDS)


def test_the_site_has_every_page_in_its_navigation():
    def pages(entry):
        if isinstance(entry, str):
            yield entry
        else:
            for part in entry.values() if isinstance(entry, dict) else entry:
                yield from pages(part)

    shown = list(pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(shown) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
