import re
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_bench.errors import UsageError
from pytest_bench.scoring import SCORINGS, Response, build_scoring, shuffled_choices
from pytest_bench.scoring import comparisons as comparisons_module
from pytest_bench.scoring.normaliser import Normaliser

READY = sorted(SCORINGS.keys() - {"regex"})


def score(name, text, target, choices=(), **options):
    return build_scoring(name, options).score(Response(content=text), target, choices)


def test_an_answer_that_recites_an_example_first_tells_the_variants_of_gsm8k_apart():
    text, target = "#### 5\n\nQuestion: next\nAnswer: #### 7", "#### 7"
    assert score("gsm8k-strict-match", text, target).extracted == "5"
    assert score("gsm8k-strict-match", text, target).value == 0
    assert score("gsm8k-inferencex-strict-match", text, target).extracted == "7"
    assert score("gsm8k-inferencex-strict-match", text, target).value == 1


@pytest.mark.parametrize(
    ("text", "extracted"),
    [
        ("#### 7", "7"),
        ("The answer is 7.", "7"),
        ("Answer: **$1,250.50**", "1250.50"),
        (r"so \boxed{12}", "12"),
        (r"The answer is $\boxed{-3}$", "-3"),
        ("#### 5 then #### 7", "7"),
        ("#### 5, and later 9", "5"),
        ("#### \u22127", "-7"),
        ("answer is .5", ".5"),
        ("#### 1,23", "1"),
        ("#### 1234,567", "1234"),
        ("#### 1e3", "1e3"),
        ("7 apples", None),
        ("answer is seven", None),
        ("", None),
        ("\u0667 #### \u0667", None),
    ],
)
def test_numeric_takes_the_last_number_after_an_anchor(text, extracted):
    assert score("numeric", text, "0").extracted == extracted


@pytest.mark.parametrize(
    ("text", "target", "value"),
    [
        ("#### 7.0", "7", 1),
        ("#### 7.00", "7.000", 1),
        ("#### 1,000", "1000", 1),
        ("#### 1e3", "1000", 1),
        ("#### 0.1", "0.10000000000000001", 0),
        ("#### 0.30000000000000004", "0.3", 0),
        ("#### 7", "It is 5 + 2.\n#### 7", 1),
        ("#### $7", "$7", 1),
        ("#### 8", "7", 0),
    ],
)
def test_numeric_compares_as_decimals(text, target, value):
    assert score("numeric", text, target).value == value


@pytest.mark.parametrize(
    ("options", "text", "value"),
    [
        ({"tolerance": "0.01"}, "#### 3.15", 1),
        ({"tolerance": "0.01"}, "#### 3.1501", 0),
        ({"relative_tolerance": "0.5"}, "#### 4.71", 1),
        ({"relative_tolerance": "0.5"}, "#### 4.72", 0),
    ],
)
def test_numeric_accepts_differences_up_to_its_tolerance(options, text, value):
    assert score("numeric", text, "3.14", comparison=options).value == value


def test_a_target_that_is_no_number_leaves_the_answer_unscored_not_wrong():
    result = score("numeric", "#### 7", "seven")
    assert result.value is None
    assert "'seven' is not a number" in result.error


@pytest.mark.parametrize(
    ("text", "extracted"),
    [
        ("The answer is (B).", "B"),
        ("answer: B", "B"),
        ("answer: b", None),
        ("Answer: **C**", "C"),
        ("The answer is A. No, the answer is B.", "B"),
        ("(A) is wrong, so (C)", "C"),
        ("B", "B"),
        (" b. ", "B"),
        ("(B", None),
        ("The answer is E", None),
        ("A dog", None),
        ("", None),
    ],
)
def test_multiple_choice_takes_the_last_letter_that_is_a_choice(text, extracted):
    assert score("multiple-choice", text, "B", ["w", "x", "y", "z"]).extracted == extracted


@pytest.mark.parametrize(
    ("text", "target", "value", "extracted"),
    [
        (r"\boxed{\frac{1}{2}}", "0.5", 1, r"\frac{1}{2}"),
        (r"\boxed{1} or \boxed{ 2 }", "2", 1, "2"),
        (r"\boxed{\{1,2\}}", r"\{2,1\}", 1, r"\{1,2\}"),
        (r"\boxed{x+1}", r"so \boxed{1+x}", 1, "x+1"),
        (r"\boxed{8}", "7", 0, "8"),
        (r"\boxed{\frac{1}{2}", "0.5", 0, None),
        (r"\boxed{}", "0.5", 0, None),
        ("7", "7", 0, None),
        (r'\boxed{__import__("os").abort()}', "7", 0, '__import__("os").abort()'),
        (r"\boxed{\notacommand{[}", "7", 0, None),
    ],
)
def test_boxed_math_compares_the_last_box_by_meaning(text, target, value, extracted):
    result = score("boxed-math", text, target)
    assert (result.value, result.extracted, result.error) == (value, extracted, None)


def test_math_that_takes_too_long_is_unscored():
    result = score("boxed-math", r"\boxed{10^{10^{10^{10}}}}", "7", comparison={"timeout_s": 1})
    assert result.value is None
    assert "math-verify took longer than 1 s" in result.error


@pytest.mark.parametrize("variant", ["rouge1", "rouge2", "rougel"])
def test_rouge_is_the_f_measure_of_rouge_score(variant):
    from rouge_score.rouge_scorer import RougeScorer  # noqa: PLC0415 # an extra

    target, text = "The cats sat on the mat today.", "A cat was sitting on the mat"
    theirs = {name.lower(): name for name in ("rouge1", "rouge2", "rougeL")}[variant]
    expected = RougeScorer([theirs], use_stemmer=True).score(target, text)[theirs].fmeasure
    assert score(variant, text, target).value == expected
    assert 0 < expected < 1


@pytest.mark.parametrize(
    ("text", "target", "value"), [(" yes\n", "yes", 1), ("Yes", "yes", 0), ("yes", "yes\n", 1), ("", "", 0)]
)
def test_exact_match_ignores_surrounding_space_only(text, target, value):
    assert score("exact-match", text, target).value == value


def test_a_regex_with_options_extracts_and_normalises():
    options = {"extractor": {"pattern": "Final: (.*)", "select": "last"}, "normaliser": {"ignore_case": True}}
    assert score("regex", "Final: no\nFinal: YES", "yes", **options).value == 1


@pytest.mark.parametrize(
    ("name", "options", "what"),
    [
        ("gsm8k-strict", {}, "did you mean 'gsm8k-strict-match'"),
        ("nothing-like-it", {}, "expected one of"),
        ("regex", {}, "needs `extractor: {pattern: ...}`"),
        ("regex", {"extractor": {"pattern": "("}}, "cannot be built"),
        ("regex", {"extractor": {"patern": "x"}}, "'patern'"),
        ("regex", {"extractor": "x"}, "must be a mapping"),
        ("regex", {"extractor": {"pattern": "x", "select": "middle"}}, "Invalid enum value"),
        ("regex", {"extractor": {"pattern": "x", "name": "boxed"}}, "'name'"),
        ("numeric", {"comparison": {"tolerance": "-1"}}, "at least 0"),
        ("numeric", {"comparison": {"tolerance": "NaN"}}, "not a finite number"),
        ("numeric", {"extractor": {"anchors": []}}, "anchors"),
        ("numeric", {"text": "all"}, "Invalid enum value"),
        ("numeric", {"texts": "content"}, "has no option 'texts'"),
        ("gsm8k-strict-match", {"normaliser": {"ignore_case": False}}, "reproduces another tool's results"),
    ],
)
def test_a_scorer_that_cannot_be_built_is_an_error_that_says_where(name, options, what):
    with pytest.raises(UsageError) as caught:
        build_scoring(name, options, origin="evals.yaml:3:5")
    assert str(caught.value).startswith("evals.yaml:3:5: ")
    assert what in str(caught.value)


@pytest.mark.parametrize(("name", "extra"), [("boxed-math", "math"), ("rouge1", "rouge")])
def test_a_scorer_whose_library_is_missing_names_the_extra_and_is_not_replaced(monkeypatch, name, extra):
    monkeypatch.setattr(comparisons_module.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(UsageError, match=rf"pip install 'pytest-inference-bench\[{extra}\]'"):
        build_scoring(name)


@settings(deadline=None)
@given(st.sampled_from(READY), st.text(max_size=60), st.text(max_size=20))
def test_any_answer_gets_a_share_or_is_unscored_with_a_reason(name, text, target):
    if name == "boxed-math":
        text = f"\\boxed{{{text[:5]}}}"
    result = score(name, text, target, ["x", "y"])
    assert (result.value is None) == (result.error is not None)
    assert result.value is None or 0 <= result.value <= 1


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ("scorer", {"comparison": {"tolerance": "1"}}),
        ("extractor", {"extractor": {"anchors": ["=> "]}}),
        ("normaliser", {"normaliser": {"ignore_case": True}}),
        ("text", {"text": "after_think"}),
    ],
)
def test_the_digest_covers_every_part_of_the_configuration(change, options):
    plain = build_scoring("numeric")
    assert build_scoring("numeric", options).digest("p") != plain.digest("p"), change
    assert plain.digest("p") != plain.digest("q")
    assert plain.digest("p") == build_scoring("numeric").digest("p")


def test_the_digest_covers_the_version_of_the_library_that_compares(monkeypatch):
    scoring = build_scoring("boxed-math")
    before = scoring.digest("p")
    monkeypatch.setattr(comparisons_module.importlib.metadata, "version", lambda _name: "99")
    assert scoring.digest("p") != before


def test_no_two_scorings_have_one_digest():
    assert len({SCORINGS[name].digest("p") for name in SCORINGS}) == len(SCORINGS)


def test_choices_are_shuffled_by_seed_and_id_alone():
    choices = list("abcdef")
    orders = {shuffled_choices(seed, item, choices, 2) == (choices, 2) for seed in range(9) for item in "xyz"}
    assert orders == {False}
    assert shuffled_choices(1, "x", choices, 2) == shuffled_choices(1, "x", choices, 2)
    assert shuffled_choices(3407, "q-17", ["red", "blue", "green", "grey"], 1) == (
        ["grey", "red", "blue", "green"],  # by `printf '3407\\0q-17\\0%d' 0 | sha256sum` and so on
        2,
    )


@settings(deadline=None)
@given(st.integers(), st.text(), st.lists(st.text(), min_size=1, max_size=10), st.data())
def test_a_shuffle_keeps_every_choice_and_the_right_one(seed, item, choices, data):
    answer = data.draw(st.integers(0, len(choices) - 1))
    shuffled, place = shuffled_choices(seed, item, choices, answer)
    assert sorted(shuffled) == sorted(choices)
    assert shuffled[place] == choices[answer]


@pytest.mark.parametrize(
    "text",
    [
        "x" + " " * 300_000 + "x",
        "answer" + "\n" * 300_000 + "x",
        "answer:" * 100_000,
        "#" * 300_000,
        "#### " * 100_000,
        "\\boxed{" * 100_000,
        "{" * 300_000,
        "(" * 300_000,
        "<think>" * 100_000,
        "1," * 200_000,
        ": " * 200_000,
        "-" * 300_000,
    ],
    ids=lambda text: repr(text[:8]),
)
@pytest.mark.parametrize("name", sorted({*READY} - {"rouge1", "rouge2", "rougel"}))
def test_a_degenerate_answer_is_scored_in_linear_time(name, text):
    # a quadratic extractor would not come back
    assert score(name, text, "7", ["red", "blue"]).error is None


@pytest.mark.parametrize(
    ("text", "extracted"),
    [
        (r"\boxed{a{b}c}", "a{b}c"),
        (r"\boxed{\boxed{7}}", r"\boxed{7}"),
        (r"\boxed{5} and \boxed{7", "5"),
        (r"} \boxed{7}", "7"),
        (r"\boxed{\{7\}}", r"\{7\}"),
        (r"\fbox {7}", "7"),
        (r"\boxed{7} then \boxed{}", None),
    ],
)
def test_boxes_are_read_with_balanced_braces(text, extracted):
    assert score("boxed-math", text, "7").extracted == extracted


@settings(deadline=None)
@given(st.text("# \n7\0", max_size=40))
def test_text_up_to_the_last_mark_is_removed_as_by_a_regular_expression(text):
    expected = re.sub(r"(?s).*#### ", "", text.rstrip("\0")).rstrip("\0")
    assert Normaliser(regexes_to_ignore=(r"(?s).*#### ",))(text) == expected


@settings(deadline=None)
@given(st.text(), st.booleans(), st.booleans(), st.booleans())
def test_normalising_is_what_numpy_arrays_of_text_make_of_it(
    text, ignore_case, ignore_punctuation, ignore_numbers
):
    array = np.array([text])
    if ignore_case:
        array = np.char.lower(array)
    if ignore_punctuation:
        array = np.char.translate(array, table=str.maketrans("", "", string.punctuation))
    if ignore_numbers:
        array = np.char.translate(array, table=str.maketrans("", "", string.digits))
    normaliser = Normaliser(
        ignore_case=ignore_case, ignore_punctuation=ignore_punctuation, ignore_numbers=ignore_numbers
    )
    assert normaliser(text) == array[0]
