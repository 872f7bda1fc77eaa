"""The evidence rules for result folders in lm-eval's layout, with the `meta_env.json` that InferenceX adds.

Others use `verify_folder` and `Request`. Inside: `request` (what was asked) and `thresholds` come on one road,
`folder` (what lies there) on another; `metadata`, `concurrencies` and `scores` are the rules, pure, each
yielding a `Finding` a problem.
"""

from pytest_bench.lmeval.findings import Finding
from pytest_bench.lmeval.request import Request, parse_concurrencies
from pytest_bench.lmeval.thresholds import Thresholds, read_thresholds
from pytest_bench.lmeval.verification import Checked, Verification, verify_folder

__all__ = [
    "Checked",
    "Finding",
    "Request",
    "Thresholds",
    "Verification",
    "parse_concurrencies",
    "read_thresholds",
    "verify_folder",
]
