"""Every label has one name and one meaning, in one module."""

import ast
from pathlib import Path

import pytest

from pytest_bench.labels import ORDER_LABELS, TOKEN_LABELS, Label
from pytest_bench.verdict.points import LABEL_RULES

PACKAGE = Path(__file__).parents[1] / "pytest_bench"
WORDS = {str(label) for label in Label} - {"simulator", "unofficial"}
"""Those two are also words of a suite."""


def test_a_label_is_text():
    assert Label.CACHE_SHARED == "cache-shared"
    assert f"{Label.CACHE_SHARED}" == "cache-shared"
    assert hash(Label.CACHE_SHARED) == hash("cache-shared")


def test_every_label_has_a_meaning_of_its_own():
    meanings = [label.meaning for label in Label]
    assert all(meanings)
    assert len(set(meanings)) == len(meanings)


def test_the_groups_and_the_rules_of_the_verdict_name_known_labels():
    assert set(Label) > TOKEN_LABELS | ORDER_LABELS
    assert set(Label) > set(LABEL_RULES)


@pytest.mark.parametrize(
    "path",
    sorted({*PACKAGE.rglob("*.py")} - {PACKAGE / "labels.py"}),
    ids=lambda path: path.relative_to(PACKAGE).as_posix(),
)
def test_no_other_module_spells_a_label(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    spelled = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)} & WORDS
    assert not spelled, f"{path.name} spells {spelled}: use pytest_bench.labels.Label"
