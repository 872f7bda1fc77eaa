"""Points of a suite, run in this process in the way of a session."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pytest_bench.api import BUILTIN
from pytest_bench.catalogue import vocabulary
from pytest_bench.perf import run_perf
from pytest_bench.running.deployment import Deployment, bring_up
from pytest_bench.running.measured import MeasuredPoint
from pytest_bench.running.resources import Resources
from pytest_bench.running.session import SessionFacts
from pytest_bench.suite.context import Overrides
from pytest_bench.suite.loading import load_plan
from pytest_bench.suite.plan import Plan
from pytest_bench.tokens.pool import TokenizerPool


def plan_of(folder: Path, text: str, **overrides) -> Plan:
    """The plan of a suite that is written into `folder`."""
    (folder / "suite.yaml").write_text(text)
    return load_plan([folder / "suite.yaml"], vocabulary(BUILTIN), Overrides(**overrides), {}, root=folder)


@dataclass(frozen=True)
class Session:
    """A session whose only deployment is up."""

    facts: SessionFacts
    resources: Resources
    deployment: Deployment

    def perf(self, name: str) -> MeasuredPoint:
        """Run a performance point of the suite `s`."""
        point = self.facts.plan.point(f"s/perf/{name}")
        return run_perf(self.facts, self.resources, point, self.deployment)


@contextmanager
def session_of(plan: Plan, folder: Path, pool: TokenizerPool | None = None) -> Iterator[Session]:
    """Bring up the deployment of `plan`. Its files are in `folder`, which gets the results, too."""
    (deployment,) = plan.deployments.values()
    facts = SessionFacts(
        plan=plan,
        nonce=secrets.token_hex(8),
        results=folder / "results",
        rerun=lambda point: f"pytest -k {point.id}",
    )
    with ExitStack() as stack:
        resources = Resources(plan, pool or stack.enter_context(TokenizerPool(workers=1)))
        yield Session(facts, resources, stack.enter_context(bring_up(deployment, folder / "deployment", {})))
