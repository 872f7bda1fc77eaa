"""The names in a results folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_bench.suite.plan import Point

VERDICT = "verdict.json"
JUNIT = "junit.xml"
SUMMARY_CSV = "summary.csv"
SUMMARY_JSON = "summary.json"
"""All points of the session; the `summary.json` of a point is in the point's folder."""
ENVIRONMENT = "environment.json"
NODE_FACTS = "nodes.json"
"""What the nodes of a Slurm allocation reported before anything was started; also in the folder of a point."""
PLAN = "plan.json"
EVENTS = "events"
POINTS = "points"
DEPLOYMENTS = "deployments"
EVALS = "evals"
"""Result files of evals in lm-eval's layout, one folder an eval."""
RECOUNTS = "recounts"
SESSIONS = "sessions"
"""Files of earlier sessions of a folder that was resumed, by nonce."""
HARNESS = "harness"
"""Folder of an eval point that holds what an external tool wrote."""
NODES = "nodes"
"""Folder of an eval point that holds what a tool left on each node, by rank."""
CHECKPOINT = "checkpoint.jsonl"
"""In the folder of an eval point: its checkpoint."""
LOCK = ".session"
"""Lock file, held (flock) by the session that writes the folder."""
RESERVE = ".reserve"
"""File that reserves space for the verdict while the session runs."""
LATEST = "latest"
"""Link to the newest results folder with a default name, next to it."""

NAMES = frozenset(
    {
        VERDICT,
        SUMMARY_CSV,
        SUMMARY_JSON,
        ENVIRONMENT,
        NODE_FACTS,
        PLAN,
        EVENTS,
        POINTS,
        DEPLOYMENTS,
        EVALS,
        RECOUNTS,
        SESSIONS,
        LOCK,
        RESERVE,
    }
)
"""All names at the top of a results folder, except the JUnit file, which may have any other name."""


def point_path(point_id: str) -> str:
    """Return the folder of a point's evidence, relative to the results folder."""
    return f"{POINTS}/{point_id}"


def eval_path(point: Point) -> str:
    """Return the folder of the result files of an eval, which all concurrencies of its sweep share, relative to the
    results folder."""
    return f"{EVALS}/{point.suite}/{point.name.partition('/')[0]}"


def deployment_path(name: str) -> str:
    """Return the folder for files of a deployment that belong to no single point, relative to the results folder."""
    return f"{DEPLOYMENTS}/{name}"
