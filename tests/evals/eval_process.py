"""Runs one eval point of a suite in a process that a test may kill.

    python eval_process.py FOLDER RESULTS POINT NONCE

Prints the point's outcome, and its metrics as JSON.
"""

import json
import os
import sys
from pathlib import Path

from pytest_bench.catalogue import all_apis, vocabulary
from pytest_bench.evals.point import run_eval
from pytest_bench.running.deployment import bring_up
from pytest_bench.running.resources import Resources
from pytest_bench.running.session import SessionFacts
from pytest_bench.suite.context import Overrides
from pytest_bench.suite.loading import load_plan


def main():
    folder, results, point_id, nonce = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    plan = load_plan(
        [folder / "tiny.yaml"], vocabulary(all_apis([])), Overrides(), os.environ, root=folder.parent
    )
    point = plan.point(point_id)
    session = SessionFacts(plan=plan, nonce=nonce, results=results, rerun=lambda _: "")
    with bring_up(plan.deployments[point.suite], results / "deployment", os.environ) as deployment:
        measured = run_eval(session, Resources(plan, None), point, deployment)
    print(measured.outcome)
    print(json.dumps(measured.summary.detail.metrics, sort_keys=True))


if __name__ == "__main__":
    main()
