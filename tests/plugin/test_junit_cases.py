"""What is expected of the JUnit writer of the pytest that is installed."""

from __future__ import annotations

from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest

from pytest_bench.plugin.junit import JUnitCases
from pytest_bench.verdict.events import JUnitCase, SuiteProperty

TESTS = """
import pytest

def test_good(record_property):
    record_property("size", 3)

def test_bad(): assert False

@pytest.mark.skip(reason="not today")
def test_skipped(): pass

@pytest.fixture
def broken():
    yield
    raise RuntimeError("no tear-down")

def test_twice(broken): assert False

def test_suite(record_testsuite_property):
    record_testsuite_property("build", "7")
"""


class Takes:
    def __init__(self, results):
        self.events = []
        self.results = results

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config):
        call = SimpleNamespace(log=SimpleNamespace(append=self.events.append), results=self.results)
        config.pluginmanager.register(JUnitCases(config, call))


def comparable(case):
    case.attrib.pop("time", None)
    return ET.tostring(case)


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
@pytest.mark.parametrize("broken", [False, True], ids=["tests", "collection"])
def test_the_cases_are_the_elements_that_pytest_would_have_written(tmp_path, monkeypatch, workers, broken):
    (tmp_path / "test_it.py").write_text(TESTS)
    if broken:
        (tmp_path / "test_broken.py").write_text("import no_such_module")
    (tmp_path / "pytest.ini").write_text("[pytest]\njunit_logging = all\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    args = ["-q", "-p", "no:inference_bench", "-p", "no:randomly", workers]
    pytest.main([*args, "--junitxml=own.xml"])
    taken = Takes(tmp_path)
    pytest.main([*args, "--junitxml=named.xml"], plugins=[taken])
    own = ET.parse("own.xml").getroot().find("testsuite")
    cases = [ET.fromstring(event.xml) for event in taken.events if isinstance(event, JUnitCase)]
    assert sorted(map(comparable, cases)) == sorted(map(comparable, own.findall("testcase")))
    assert not (tmp_path / "named.xml").exists(), "pytest's own file goes nowhere"
    if not broken:
        assert SuiteProperty(name="build", value="7") in taken.events
