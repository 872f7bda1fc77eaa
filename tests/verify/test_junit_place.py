"""`verify` expects the JUnit file where the session had to write it."""

from __future__ import annotations

import re
from pathlib import Path

from tampering import tell

RECIPES = Path(__file__).parents[2] / "docs" / "how-to" / "gate-a-deployment-in-ci.md"


def test_a_junit_file_that_is_gone_is_red(results, verify):
    (results / "junit.xml").unlink()
    status, said = verify(results)
    assert (status, "junit.xml: is missing" in said, "--junit FILE" in said) == (1, True, True), said


def test_a_junit_file_behind_a_link_is_red(results, tmp_path, verify):
    elsewhere = (results / "junit.xml").rename(tmp_path / "report.xml")
    (results / "junit.xml").symlink_to(elsewhere)
    status, said = verify(results)
    assert (status, "junit.xml: is a link" in said) == (1, True), said


def test_a_junit_file_outside_of_the_folder_is_noted_as_not_verified(results, tmp_path, verify):
    elsewhere = (results / "junit.xml").rename(tmp_path / "report.xml")
    tell(results, junit=str(elsewhere))
    status, said = verify(results)
    assert (status, "note: " in said, "name it with --junit FILE" in said) == (0, True, True), said
    status, said = verify(results, "--junit", elsewhere)
    assert (status, "note: " in said) == (0, False), said
    elsewhere.write_text(elsewhere.read_text().replace('"outcome" value="pass"', '"outcome" value="fail"', 1))
    assert verify(results, "--junit", elsewhere)[0] == 1


def test_a_junit_file_with_another_name_is_found_in_the_results(results, verify):
    file = (results / "junit.xml").rename(results / "report.xml")
    (results / "report.xml").unlink()
    tell(results, junit="report.xml")
    assert verify(results)[0] == 0
    file.unlink()
    status, said = verify(results)
    assert (status, "report.xml: is missing" in said) == (1, True), said


def test_every_recipe_gives_verify_an_age_and_the_junit_file():
    text = RECIPES.read_text().replace("\\\n", " ")
    calls = [
        line
        for line in re.sub(r"run: >\n\s+|\n\s+(?=--)", " ", text).splitlines()
        if "pytest-bench verify " in line
    ]
    assert len(calls) == 5
    for call in calls:
        assert "--max-age " in call
        assert "--junit " in call or "--expected-concs" in call, call
