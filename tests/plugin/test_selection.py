"""What the adapter to pytest's own matchers relies on in the installed pytest."""

from __future__ import annotations

import sys

import pytest

from pytest_bench.plugin.selection import Matcher, Selection, _compile, _positive_words, judging_functions
from pytest_bench.suite.plan import Point

TESTS = """
import pytest

@pytest.mark.parametrize("name", ["one", "two", "three"])
def test_it(name): pass

@pytest.mark.slow(weight=3)
def test_slow(): pass
"""


class Collected:
    def __init__(self):
        self.items, self.config, self.left = [], None, []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, config, items):
        self.items, self.config = list(items), config
        yield
        self.left = list(items)


@pytest.fixture
def collect(tmp_path, monkeypatch):
    """What pytest collects and leaves with options, and what the matcher says that it drops with the same."""
    monkeypatch.delitem(sys.modules, "test_it", raising=False)  # of another example
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow: takes long\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def call(*args):
        sys.modules.pop("test_it", None)
        found = Collected()
        pytest.main(
            ["-q", "--co", "--import-mode=importlib", "-p", "no:inference_bench", *args], plugins=[found]
        )
        dropped = Matcher(found.config, Selection.of(found.config)).left_out(found.items)
        return found, dropped

    return call


SELECTIONS = [
    [],
    ["-k", "one"],
    ["-k", "one or two"],
    ["-k", "not (one or two)"],
    ["-k", "SLOW"],
    ["-k", "it and not slow"],
    ["-m", "slow"],
    ["-m", "not slow"],
    ["-m", "slow(weight=3)"],
    ["-m", "slow(weight=4)"],
    ["--deselect", "test_it.py::test_it[one]"],
    ["--deselect", "test_it.py::test_it"],
    ["-k", "one or slow", "-m", "not slow", "--deselect", "test_it.py::test_it[one]"],
]


@pytest.mark.parametrize("args", SELECTIONS, ids=" ".join)
def test_the_matcher_drops_the_same_items_as_pytest(collect, args):
    found, dropped = collect(*args)
    assert found.items
    assert {item.nodeid for item in dropped} == {
        item.nodeid for item in found.items if item not in found.left
    }


@pytest.mark.parametrize("option", ["--lf", "--sw"])
def test_the_matcher_drops_the_same_items_as_pytest_with_cache_options(collect, tmp_path, option):
    (tmp_path / "test_it.py").write_text(
        TESTS.replace("def test_it(name): pass", "def test_it(name): assert name != 'two'")
    )
    pytest.main(
        ["-q", "--import-mode=importlib", "-p", "no:inference_bench", *(["--sw"] if option == "--sw" else [])]
    )
    found, dropped = collect(option)
    kept = {item.nodeid for item in found.left}
    assert "test_it.py::test_it[two]" in kept
    assert {item.nodeid for item in dropped} == {item.nodeid for item in found.items} - kept


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("a", ["a"]),
        ("a or b and c", ["a", "b", "c"]),
        ("a and not b", ["a"]),
        ("not (a or not b)", ["b"]),
        ("not not a", ["a"]),
        ("one or tow", ["one", "tow"]),
        ("not (a and (b or not c) or d) and e", ["c", "e"]),
        ("not a(name=') or c', size=1) or b(size=2)", ["b"]),
        (" or ".join(["not z", *"abcdefghijkl"]), list("abcdefghijkl")),
    ],
)
def test_a_word_is_positive_unless_it_is_negated(request, expression, wanted):
    assert _positive_words(_compile(request.config, expression)) == wanted


POINT = Point(id="s/perf/a", suite="s", kind="perf", name="a", origin="", dataset=None, load=None)
JUDGING = """
import pytest

@pytest.mark.points("perf")
def test_perf(run_load): pass

@pytest.mark.points("perf", judge=False)
def test_reads(measurement): pass

@pytest.mark.points("audit")
class TestAudit:
    def test_it(self, run_load): pass
"""


@pytest.fixture
def suites(tmp_path):
    (tmp_path / "test_perf.py").write_text(JUDGING)
    (tmp_path / "test_other.py").write_text("def test_other(): pass")
    return tmp_path


def test_judging_functions_are_found_without_importing_the_file(suites):
    assert judging_functions(suites / "test_perf.py") == {("perf", "test_perf"), ("audit", "TestAudit")}


@pytest.mark.parametrize(
    ("args", "options", "left_out"),
    [
        (["."], {}, False),
        (["test_perf.py"], {}, False),
        (["test_other.py"], {}, True),
        (["test_perf.py::test_perf"], {}, False),
        (["test_perf.py::test_perf[s/perf/a]"], {}, False),
        (["test_perf.py::test_perf[s/perf/b]"], {}, True),
        (["test_perf.py::test_reads"], {}, True),
        (["test_other.py::test_other"], {}, True),
        (["."], {"ignore": ["test_perf.py"]}, True),
        (["."], {"ignore_glob": ["*perf*"]}, True),
        (["."], {"ignore": ["test_other.py"]}, False),
        (["."], {"last_failed": True}, False),
    ],
)
def test_an_uncollected_point_is_excluded_by_the_user_only_if_no_option_selects_it(
    request, monkeypatch, suites, args, options, left_out
):
    # Tests of this very run may have failed before.
    monkeypatch.setattr(request.config.pluginmanager.get_plugin("lfplugin"), "lastfailed", {})
    paths = {
        name: tuple(str(suites / path) for path in value) if name != "last_failed" else value
        for name, value in options.items()
    }
    selection = Selection(
        args=tuple(str(suites / arg) if arg != "." else str(suites) for arg in args), **paths
    )
    assert Matcher(request.config, selection).leaves_out_uncollected(POINT, suites) == left_out
