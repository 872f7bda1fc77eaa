"""What the plugin relies on in the JUnit writer of the installed pytest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

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
TAKES = """
import json
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from pytest_bench.plugin.junit import JUnitCases

@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    if hasattr(config, "workerinput"):
        return
    def append(event):
        with Path("events.jsonl").open("a") as stream:
            stream.write(json.dumps(msgspec.to_builtins(event)) + chr(10))
    call = SimpleNamespace(append=append, results=Path.cwd())
    config.pluginmanager.register(JUnitCases(config, call))
"""


def comparable(case):
    case.attrib.pop("time", None)
    return ET.tostring(case)


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
@pytest.mark.parametrize("broken", [False, True], ids=["tests", "collection"])
def test_the_cases_equal_the_elements_that_pytest_writes(tmp_path, workers, broken):
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "takes.py").write_text(TAKES)
    if broken:
        (tmp_path / "test_broken.py").write_text("import no_such_module")
    (tmp_path / "pytest.ini").write_text("[pytest]\njunit_logging = all\npythonpath = .\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    for args in (["--junitxml=own.xml"], ["--junitxml=named.xml", "-p", "takes"]):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:inference_bench", workers, *args]
        subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    own = ET.parse(tmp_path / "own.xml").getroot().find("testsuite")
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    cases = [ET.fromstring(event["xml"]) for event in events if event["type"] == "case"]
    assert cases
    assert sorted(map(comparable, cases)) == sorted(map(comparable, own.findall("testcase")))
    assert not (tmp_path / "named.xml").exists(), "pytest's own file goes nowhere"
    properties = [(event["name"], event["value"]) for event in events if event["type"] == "suite-property"]
    written = [(item.get("name"), item.get("value")) for item in own.iterfind("properties/property")]
    assert properties == written


def test_without_a_writer_the_session_fails(tmp_path):
    """A missing writer must not leave a log without cases and without an error."""
    (tmp_path / "test_it.py").write_text("def test_good(): pass")
    (tmp_path / "takes.py").write_text(f"{TAKES}\n    config.option.xmlpath = None\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:inference_bench", "-n0", "-p", "takes"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode != 0, done.stdout
    assert b"INTERNALERROR" in done.stdout
