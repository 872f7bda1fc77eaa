"""`plan.json`: the plan, which is written before anything is started."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.files import write_json
from pytest_bench.results.reading import read_versioned
from pytest_bench.suite.plan import PLAN_VERSION, Plan, Point

PLAN_FILE_VERSION = 1
NAME = "plan.json"


class PlanFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of `plan.json`."""

    version: int = PLAN_FILE_VERSION
    nonce: str
    """Nonce of the session, which all its files contain."""
    digest: str
    """Digest of the plan without the nonce: an independent plan of the same suites has the same digest."""
    plan: Plan


def write_plan(results: Path, plan: Plan, nonce: str) -> None:
    """Write the plan of a session into its results folder, atomically. Raises `OSError`."""
    write_json(results / NAME, PlanFile(nonce=nonce, digest=plan.digest(), plan=plan))


def read_plan(results: Path) -> PlanFile:
    """Read the plan in a results folder. Raises `EvidenceError` if it is damaged or does not match its digest."""
    path = results / NAME
    found = read_versioned(path, PlanFile, PLAN_FILE_VERSION)
    try:
        problem = next(_problems(found), None)
    except (KeyError, ValueError, OverflowError, RecursionError) as error:
        raise EvidenceError(f"{path}: is not the plan of a session: {error}") from error
    if problem:
        raise EvidenceError(f"{path}: {problem}")
    return found


def _problems(file: PlanFile) -> Iterator[str]:
    plan = file.plan
    if plan.version != PLAN_VERSION:
        yield f"plan.version is {plan.version}; expected {PLAN_VERSION}"
    for name, times in Counter(point.id for point in plan.points).items():
        if times > 1:
            yield f"plan.points: contains {name!r} {times} times"
    for number, point in enumerate(plan.points):
        yield from (f"plan.points[{number}].{sentence}" for sentence in _point_problems(plan, point))
    if file.digest != (digest := plan.digest()):
        yield f"digest is {file.digest!r}, but the digest of its plan is {digest}: the file was altered"


def _point_problems(plan: Plan, point: Point) -> Iterator[str]:
    """Yield why a point's id, which is also a path, or its references are invalid."""
    parts = PurePosixPath(point.id).parts
    whole = f"{point.suite}/{point.kind}/{point.name}"
    if point.id != whole or point.id != "/".join(parts) or {"..", "/"} & set(parts) or "\0" in point.id:
        yield f"id is {point.id!r}; expected `suite/kind/name`"
    if point.suite not in plan.deployments:
        yield f"suite is {point.suite!r}, which has no deployment"
    elif point.dataset is not None and point.dataset not in plan.datasets.get(point.suite, {}):
        yield f"dataset is {point.dataset!r}, which its suite does not declare"
    if point.deployment_name not in {point.suite, *plan.deployments}:
        yield f"deployment is {point.deployment!r}, which the plan does not have"
