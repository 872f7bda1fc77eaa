"""Extractors, normalisers and scorers: pure functions from a response and a target to a score.

Others use `build_scoring`, which turns a declaration into a `Scoring`, `Scoring.score`, `Response`, `Score`, and
`shuffled_choices`. Third parties make a `Scoring` of their own or of shipped parts (`Extractor`, `Normaliser`,
`Comparison`), which `all_scorings` adds to those shipped. Inside: `responses` (which text is scored), `extractors`,
`normaliser`, `comparisons`, `catalogue` (the named scorings and the tool whose results each one reproduces), and
`contributed` (those of third parties).
"""

from pytest_bench.scoring.catalogue import SCORINGS, Scorings, build_scoring
from pytest_bench.scoring.comparisons import Comparison, ExactMatch, NumericMatch
from pytest_bench.scoring.contributed import all_scorings
from pytest_bench.scoring.extractors import Extractor, Regex, WholeText
from pytest_bench.scoring.normaliser import Normaliser
from pytest_bench.scoring.responses import CONDITIONS, Condition, Response, TextChoice
from pytest_bench.scoring.score import Score, Scoring
from pytest_bench.scoring.shuffle import shuffled_choices

__all__ = [
    "CONDITIONS",
    "SCORINGS",
    "Comparison",
    "Condition",
    "ExactMatch",
    "Extractor",
    "Normaliser",
    "NumericMatch",
    "Regex",
    "Response",
    "Score",
    "Scoring",
    "Scorings",
    "TextChoice",
    "WholeText",
    "all_scorings",
    "build_scoring",
    "shuffled_choices",
]
