"""Points over xdist workers: the plan handed over, one worker an endpoint, and no worker lost unnoticed.

The only file that imports xdist.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from pytest_bench.plugin.items import EVENTS_KEY
from pytest_bench.plugin.markers import JUDGES
from pytest_bench.plugin.session import HANDOVER_KEY, Session, hand_over

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController

    from pytest_bench.plugin.controller import Controller


class ByDeployment(LoadScopeScheduling):  # type: ignore[misc] # xdist is not typed
    """Gives all points of one deployment to one worker, so that they never overlap. Stands in for --dist."""

    def __init__(self, config: pytest.Config, log: Producer, suites: Mapping[str, str]) -> None:
        super().__init__(config, log)
        self._suites = suites

    def _split_scope(self, nodeid: str) -> str:
        suite = self._suites.get(_point_of(nodeid))
        return f"deployment {suite}" if suite else str(super()._split_scope(nodeid))


class Workers:
    """The controller's side of xdist."""

    def __init__(self, session: Session, controller: Controller | None) -> None:
        self._session = session
        self._controller = controller

    def pytest_configure_node(self, node: WorkerController) -> None:
        node.workerinput[HANDOVER_KEY] = hand_over(self._session)

    @pytest.hookimpl(tryfirst=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Producer) -> ByDeployment:
        return ByDeployment(config, log, _units(self._session))

    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """The process that ran a point has died: the case that xdist makes of it is the point's."""
        point = _point_of(crashitem)
        if self._controller is not None and point in _units(self._session):
            report.user_properties.append((JUDGES, point))
            worker = getattr(report, "node", None)
            name = worker.gateway.id if worker is not None else "a worker"
            self._controller.worker_crashed(name, report.longreprtext, point)

    def pytest_testnodedown(self, node: WorkerController, error: object) -> None:
        """A worker has gone: without its account, or with an error, it crashed."""
        if self._controller is None:
            return
        output: dict[str, Any] = getattr(node, "workeroutput", None) or {}
        if EVENTS_KEY in output and error is None:
            self._controller.hear(output[EVENTS_KEY])
        else:
            self._controller.worker_crashed(node.gateway.id, str(error or "it ended without its account"))


def _point_of(nodeid: str) -> str:
    return nodeid.rpartition("[")[2].rstrip("]")


def _units(session: Session) -> dict[str, str]:
    """Points to the unit that must stay on one worker: deployments that share an endpoint are one unit."""
    unit_of_endpoint: dict[str, str] = {}
    unit_of_suite: dict[str, str] = {}
    for suite, deployment in session.plan.deployments.items():
        known = [unit_of_endpoint[url] for url in deployment.endpoints if url in unit_of_endpoint]
        own_simulator = deployment.endpoints == ("simulator",)
        unit = suite if own_simulator or not known else known[0]
        unit_of_suite[suite] = unit
        if not own_simulator:
            unit_of_endpoint.update(dict.fromkeys(deployment.endpoints, unit))
    return {point.id: unit_of_suite[point.suite] for point in session.plan.points}
