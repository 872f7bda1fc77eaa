"""The evidence rules for result folders in lm-eval's layout, with the `meta_env.json` that InferenceX adds.

Other rooms use `verify_folder` and `Request`. `request` and `thresholds` hold what was requested, `folder` reads what
the eval wrote. `metadata`, `concurrencies`, `scores` and `samples` are the rules; each yields one `Finding` a problem.
"""

from pytest_bench.lmeval.findings import Finding
from pytest_bench.lmeval.folder import is_result_name
from pytest_bench.lmeval.request import Request, parse_concurrencies, parse_tasks
from pytest_bench.lmeval.thresholds import Thresholds, read_thresholds
from pytest_bench.lmeval.verification import Checked, Verification, verify_folder

__all__ = [
    "Checked",
    "Finding",
    "Request",
    "Thresholds",
    "Verification",
    "is_result_name",
    "parse_concurrencies",
    "parse_tasks",
    "read_thresholds",
    "verify_folder",
]
