"""Extractors, normalisers and scorers: pure functions from a response and a target to a score.

Others use `build_scoring`, which turns a declaration into a `Scoring`, `Scoring.score`, `Response`, `Score`, and
`shuffled_choices`. Inside: `responses` (which text is scored), `extractors`, `normaliser`, `comparisons`, and
`catalogue` (the named scorings and the tool whose results each one reproduces).
"""

from pytest_bench.scoring.catalogue import SCORINGS, build_scoring
from pytest_bench.scoring.responses import CONDITIONS, Condition, Response, TextChoice
from pytest_bench.scoring.score import Score, Scoring
from pytest_bench.scoring.shuffle import shuffled_choices

__all__ = [
    "CONDITIONS",
    "SCORINGS",
    "Condition",
    "Response",
    "Score",
    "Scoring",
    "TextChoice",
    "build_scoring",
    "shuffled_choices",
]
