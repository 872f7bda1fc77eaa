"""Scorers of third parties: checked when registered, identified by their configuration, and never trusted."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from pytest_bench.errors import UsageError
from pytest_bench.scoring import (
    SCORINGS,
    ExactMatch,
    Normaliser,
    Response,
    Scoring,
    WholeText,
    all_scorings,
    build_scoring,
    code,
)

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-a-scorer.md"


class Upper(msgspec.Struct, frozen=True, kw_only=True):
    marker: str = "#"
    version: int = 1

    def extract(self, text, choices):
        return text.partition(self.marker)[2].upper() or None


class Lower(Upper, frozen=True, kw_only=True):
    """The same fields as `Upper`."""


class Returns(msgspec.Struct, frozen=True, kw_only=True):
    """Returns what it holds."""

    binary: ClassVar[bool] = True
    requires: ClassVar[tuple[str, str] | None] = None
    value: object = 1
    version: int = 1

    def compare(self, answer, target, normaliser):
        if isinstance(self.value, str):
            raise SystemExit(self.value)
        return self.value


def scoring(**changes):
    fields = {"name": "own", "version": 1, "metric": "own", "filter": "f"}
    return Scoring(**{**fields, "extractor": Upper(), "comparison": ExactMatch(), **changes})


def module_of(path, code):
    """The module of a file with this code."""
    path.write_text(code)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_scorer_of_the_how_to_page_scores_and_is_configured(tmp_path):
    (code,) = re.findall(r"```python\n(# conftest.py.*?)```", PAGE.read_text(), re.DOTALL)
    known = all_scorings(module_of(tmp_path / "mine.py", code).pytest_bench_scorers())
    assert known.keys() == {*SCORINGS, "json-overlap"}
    built = build_scoring("json-overlap", {"extractor": {"field": "final"}}, among=known)
    answer = Response(content='{"final": "One two", "answer": "x"}')
    assert (built.key, built.is_binary) == ("overlap,json", False)
    assert built.score(answer, "one TWO three four").value == 0.5
    assert built.score(Response(content="no JSON"), "one").conditions == ("extraction_failed",)
    assert "ZeroDivisionError" in built.score(answer, "").error


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"extractor": Upper(version=2)},
        {"extractor": Upper(marker="!")},
        {"extractor": Lower()},
        {"comparison": Returns()},
        {"normaliser": Normaliser(strip=True)},
    ],
)
def test_its_digest_covers_its_types_its_fields_and_its_versions(change):
    assert scoring(**change).digest("p") != scoring().digest("p")
    assert scoring(**change).digest("p") == scoring(**change).digest("p")


CODE = """
import msgspec

class Base(msgspec.Struct, frozen=True, kw_only=True):
    def found(self, text):
        return text.strip()

class Own(Base, frozen=True, kw_only=True):
    version: int = 1

    def extract(self, text, choices):
        return self.found(text)
"""


def test_its_digest_covers_the_code_of_its_types(tmp_path):
    before, same, after = (
        scoring(extractor=module_of(tmp_path / f"{name}.py", code).Own()).digest("p")
        for name, code in (("a", CODE), ("b", CODE), ("c", CODE.replace("strip", "lstrip")))
    )
    assert before == same != after


def test_its_digest_covers_the_code_of_base_classes_in_other_files(tmp_path):
    base, _, own = CODE.partition("class Own")
    digests = []
    for change in ("strip", "lstrip"):
        module = module_of(tmp_path / "base.py", base.replace("strip", change))
        path = tmp_path / "own.py"
        path.write_text(f"import msgspec\n\nclass Own{own}")
        written = {"__name__": "own", "Base": module.Base}
        exec(compile(path.read_text(), path, "exec"), written)
        digests.append(scoring(extractor=written["Own"]()).digest("p"))
    assert digests[0] != digests[1]


def test_its_digest_covers_the_version_of_its_distribution(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    info = tmp_path / "their_scorers-1.0.dist-info"
    info.mkdir()
    (info / "RECORD").write_text("their_scorers.py,,\n")
    (info / "top_level.txt").write_text("their_scorers\n")
    digests = []
    for version in ("1.0", "1.1"):
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: their-scorers\nVersion: {version}\n")
        code._distributions.cache_clear()
        own = module_of(tmp_path / "their_scorers.py", CODE).Own()
        assert code.identify(type(own)).distributions == (f"their-scorers=={version}",)
        digests.append(scoring(extractor=own).digest("p"))
    code._distributions.cache_clear()
    assert digests[0] != digests[1]


def test_a_part_whose_code_is_in_no_file_is_refused():
    written = {"__name__": "typed"}
    exec(CODE, written)
    with pytest.raises(UsageError, match="cannot be identified: the code of Own is in '<string>'"):
        all_scorings([scoring(extractor=written["Own"]())])


class Loose(msgspec.Struct):
    version: int = 1

    def extract(self, text, choices):
        return text


class Unversioned(msgspec.Struct, frozen=True):
    version: ClassVar[int] = 1

    def extract(self, text, choices):
        return text


class Holder(Upper, frozen=True, kw_only=True):
    held: object = None


@pytest.mark.parametrize(
    ("offered", "complaint"),
    [
        ("own", "a plugin offers 'own'; expected pytest_bench.scoring.Scoring"),
        (scoring(name="numeric"), "'numeric' is registered twice, or has the name of a shipped one"),
        (scoring(name=""), "has name = ''; expected a text"),
        (scoring(metric="a,b"), "has metric = 'a,b'; expected a text without a comma"),
        (scoring(version=True), "has version = True; expected a whole number"),
        (
            scoring(extractor=print),
            "has extractor = <built-in function print>; expected a frozen msgspec.Struct",
        ),
        (scoring(extractor=Loose()), "expected a frozen msgspec.Struct, whose fields its digest covers"),
        (
            scoring(extractor=Unversioned()),
            "has the extractor Unversioned, which lacks a field `version`, a whole number",
        ),
        (scoring(extractor=ExactMatch()), "has the extractor ExactMatch, which lacks extract()"),
        (scoring(comparison=Upper()), "has the comparison Upper, which lacks compare()"),
        (scoring(extractor=Holder(held=object())), "cannot be identified by a digest of its fields"),
    ],
)
def test_what_is_not_a_complete_scoring_is_refused_when_registered(offered, complaint):
    with pytest.raises(UsageError, match=re.escape(complaint)):
        all_scorings([offered])


def test_two_with_one_name_are_refused():
    with pytest.raises(UsageError, match="'own' is registered twice"):
        all_scorings([scoring(), scoring(version=2)])


class Needy(Returns, frozen=True, kw_only=True):
    requires: ClassVar[tuple[str, str] | None] = ("no_such_library", "no-such-library")


def test_one_whose_library_is_missing_cannot_be_built_and_may_be_registered():
    known = all_scorings([scoring(comparison=Needy())])
    with pytest.raises(
        UsageError, match=r"s\.yaml:3: scorer 'own' needs a library.*pip install 'no-such-library'"
    ):
        build_scoring("own", origin="s.yaml:3", among=known)


@pytest.mark.parametrize("value", [0.5, 2, -1, float("nan"), None, "exit"])
def test_a_value_that_is_none_leaves_the_answer_unscored(value):
    score = scoring(extractor=WholeText(), comparison=Returns(value=value)).score(Response(content="x"), "x")
    assert score.value is None
    assert score.error


@pytest.mark.parametrize(
    ("options", "complaint"), [({"marker": 1}, "cannot be built"), ({"mark": "!"}, "no field")]
)
def test_its_fields_are_checked_when_a_suite_sets_them(options, complaint):
    with pytest.raises(UsageError, match=complaint):
        build_scoring("own", {"extractor": options}, among=all_scorings([scoring()]))
