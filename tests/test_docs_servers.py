"""The suites that the pages about servers show have no problems."""

import re
from pathlib import Path

import pytest

from pytest_bench.catalogue import all_apis, require_possible, vocabulary
from pytest_bench.suite.context import Overrides
from pytest_bench.suite.loading import load_plan

PAGES = Path(__file__).parent.parent / "docs" / "how-to" / "servers"
SUITE = re.compile(r"^```yaml\n(suite: .*?)^```$", re.MULTILINE | re.DOTALL)
SUITES = [
    (page.stem, text) for page in sorted(PAGES.glob("*.md")) for text in SUITE.findall(page.read_text())
]


def test_every_page_about_a_server_shows_a_suite():
    assert {name for name, _ in SUITES} == {page.stem for page in PAGES.glob("*.md")} - {"README"}


@pytest.mark.parametrize(("name", "text"), SUITES, ids=[name for name, _ in SUITES])
def test_a_suite_on_a_page_has_no_problems(tmp_path, name, text):
    path = tmp_path / f"{name}.yaml"
    path.write_text(text)
    plan = load_plan([path], vocabulary(all_apis([])), Overrides(), {}, root=tmp_path)
    require_possible(plan, plan.points)
    assert plan.points
