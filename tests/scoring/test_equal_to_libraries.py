"""Scorers that carry a library's name give what the library gives, called on its own, on the same answers."""

import pytest
from math_verify import parse, verify
from rouge_score.rouge_scorer import RougeScorer

from pytest_bench.scoring import Response, build_scoring

BOXED = [
    ("7", r"\boxed{7}"),
    ("7", r"so \boxed{7}."),
    ("7", r"\boxed{7.0}"),
    ("7", r"\boxed{\text{7}}"),
    ("7", r"$\boxed{7}$ apples, not 8"),
    ("7", r"\boxed{07}"),
    ("7", r"\boxed{-7}"),
    ("7", r"\boxed{}"),
    ("7", r"\boxed{7"),
    ("7", r"\boxed{7\text{ cm}}"),
    ("7", r"\boxed{\mathbf{7}}"),
    ("7", r"\boxed{\frac{14}{2}} and then 8"),
    (r"\$7", r"\boxed{\$7}"),
    (r"\frac12", r"\boxed{0.5}"),
    (r"\frac{1}{2}", r"\boxed{\dfrac{2}{4}}"),
    (r"\frac{1}{2}", r"\boxed{1/2}"),
    (r"\frac{a}{b}", r"\boxed{a/b}"),
    (r"-\frac{3}{4}", r"\boxed{\frac{-3}{4}}"),
    ("0.333", r"\boxed{\frac13}"),
    (r"50\%", r"\boxed{0.5}"),
    ("50", r"\boxed{50\%}"),
    ("1234", r"\boxed{1,234}"),
    ("1{,}234", r"\boxed{1234}"),
    ("10^{3}", r"\boxed{1000}"),
    ("x+1", r"\boxed{1+x}"),
    ("(x+1)^2", r"\boxed{x^2+2x+1}"),
    ("x=3", r"\boxed{3}"),
    (r"x \geq 2", r"\boxed{[2,\infty)}"),
    (r"\{1,2\}", r"\boxed{\{2,1\}}"),
    ("(1,2)", r"\boxed{(2,1)}"),
    ("[1,2)", r"\boxed{(1,2)}"),
    (r"\sqrt{8}", r"\boxed{2\sqrt2}"),
    (r"\pi", r"\boxed{3.14159}"),
    (r"2\pi", r"\boxed{\pi\cdot2}"),
    (r"90^\circ", r"\boxed{90}"),
    ("3+4i", r"\boxed{4i+3}"),
    (r"\text{east}", r"\boxed{\text{east}}"),
    (r"\text{(B)}", r"\boxed{B}"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\boxed{\begin{pmatrix}1\\2\end{pmatrix}}"),
]
"""Targets and answers. Of several boxes our scorer takes the last and math-verify the first, so each has one."""

SUMMARIES = [
    ("The cats sat on the mat today.", "A cat was sitting on the mat"),
    ("The cats sat on the mat today.", "The cats sat on the mat today."),
    ("the cat", "THE  CAT!"),
    ("running runs ran", "run"),
    ("one two three four", "four three two one"),
    ("a a a b", "a b"),
    ("über die Brücke", "uber die brucke"),
    ("漢字", "漢字"),
    ("...", "!"),
    ("1,000 dollars", "1000 dollars"),
    ("", "anything"),
    ("first line.\nsecond line.", "second line.\nfirst line."),
    ("snake_case word", "snake case word"),
]


def test_boxed_math_is_scored_as_by_math_verify_alone():
    scoring = build_scoring("boxed-math")
    values = []
    for target, text in BOXED:
        found = scoring.score(Response(content=text), target)
        theirs = float(verify(parse(rf"\boxed{{{target}}}"), parse(text)))
        assert (found.value, found.error) == (theirs, None), (target, text)
        values.append(found.value)
    assert 0.1 < sum(values) / len(values) < 0.9  # the table holds answers of both kinds


@pytest.mark.parametrize("variant", ["rouge1", "rouge2", "rougeL"])
def test_rouge_is_scored_as_by_rouge_score_alone(variant):
    scoring, theirs = build_scoring(variant.lower()), RougeScorer([variant], use_stemmer=True)
    for target, text in SUMMARIES:
        expected = theirs.score(target, text)[variant].fmeasure
        assert scoring.score(Response(content=text), target).value == expected, (target, text)
