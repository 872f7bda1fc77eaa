"""The documentation says what the code says, and its links lead somewhere."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from pytest_bench import host, records
from pytest_bench.audits import artifacts as audit_files
from pytest_bench.checkpoints import CHECKPOINT_VERSION
from pytest_bench.cli import COMMANDS
from pytest_bench.cluster import preflight
from pytest_bench.containers import evidence as container_files
from pytest_bench.endpoints import scrape
from pytest_bench.evals import evidence as eval_files
from pytest_bench.evals import gating, node_files
from pytest_bench.gang import status
from pytest_bench.lines import LineReader
from pytest_bench.load import raw
from pytest_bench.results import event_log, evidence, plan_file, summary, withheld
from pytest_bench.running import server_log, server_side
from pytest_bench.simulator import truth
from pytest_bench.tokens import counts
from pytest_bench.verdict import expectation, verdict

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")
COMMAND = re.compile(r"(?:`|^\$ |^)pytest-bench ([a-z]+)", re.MULTILINE)
VERSIONS = {
    "`plan.json`": plan_file.PLAN_FILE_VERSION,
    "`verdict.json`": verdict.VERDICT_VERSION,
    "`events/<process>.jsonl`": event_log.EVENTS_VERSION,
    "`environment.json`": host.ENVIRONMENT_VERSION,
    "`nodes.json`": preflight.NODES_VERSION,
    "`status.json` in `nodes/<rank>/`": node_files.STATUS_VERSION,
    "`status.json` in `rank-<n>/`": status.VERSION,
    "`point.json`": summary.POINT_VERSION,
    "`summary.json`": summary.SUMMARY_VERSION,
    "`evidence.json`": evidence.EVIDENCE_VERSION,
    "`phase.json`": records.PHASE_VERSION,
    "`audit_<name>.json`": audit_files.AUDIT_VERSION,
    "`withheld.json`": withheld.WITHHELD_VERSION,
    "`container.json`": container_files.VERSION,
    "`server_log.json`": server_log.VERSION,
    "`artifacts.json`": server_side.VERSION,
    "`baselines.json`": gating.BASELINES_VERSION,
    "`requests.<w>.jsonl`": records.REQUESTS_VERSION,
    "`texts.<w>.jsonl`": records.REQUESTS_VERSION,
    "`tokens.jsonl`": counts.COUNTS_VERSION,
    "`rows.jsonl`, `few_shots.jsonl`": eval_files.ROWS_VERSION,
    "`checkpoint.jsonl`": CHECKPOINT_VERSION,
    "`raw.<w>.jsonl`": raw.RAW_VERSION,
    "`metrics.<e>.jsonl`": scrape.METRICS_VERSION,
    "`simulator.jsonl`": truth.TRUTH_VERSION,
    "an expectation": expectation.EXPECTATION_VERSION,
}
"""The version of each file of the results folder."""
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


def test_the_page_of_the_results_folder_states_the_version_of_each_file():
    page = (DOCS / "reference" / "results-folder.md").read_text()
    _, _, table = page.partition("| file | version |")
    rows = re.findall(r"^\| ([^|]+) \| (\d+) \|", table, re.MULTILINE)
    assert {name: int(number) for name, number in rows} == VERSIONS


def test_the_log_in_the_page_of_the_results_folder_is_read_by_this_version(tmp_path):
    page = (DOCS / "reference" / "results-folder.md").read_text()
    path = tmp_path / "texts.0.jsonl"
    path.write_text(re.search(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1])
    assert len(list(LineReader(path, "texts", records.REQUESTS_VERSION))) == 1


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
