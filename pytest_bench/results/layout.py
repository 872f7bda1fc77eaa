"""The names in a results folder."""

from __future__ import annotations

VERDICT = "verdict.json"
JUNIT = "junit.xml"
ENVIRONMENT = "environment.json"
PLAN = "plan.json"
EVENTS = "events"
POINTS = "points"
DEPLOYMENTS = "deployments"
RECOUNTS = "recounts"
LOCK = ".session"
"""Locked (flock) by the session that writes the folder, until its end."""
RESERVE = ".reserve"
"""Space kept for the verdict while the session runs."""
LATEST = "latest"
"""A link beside results folders with default names."""

NAMES = frozenset({VERDICT, ENVIRONMENT, PLAN, EVENTS, POINTS, DEPLOYMENTS, RECOUNTS, LOCK, RESERVE})
"""Everything at the top of a results folder but the JUnit file, which may have any other name."""


def point_path(point_id: str) -> str:
    """Where the evidence of a point lies, relative to the results folder."""
    return f"{POINTS}/{point_id}"


def deployment_path(suite: str) -> str:
    """Where what belongs to a deployment rather than to a point lies, relative to the results folder."""
    return f"{DEPLOYMENTS}/{suite}"
