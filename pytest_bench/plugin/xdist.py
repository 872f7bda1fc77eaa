"""Points over xdist workers: the plan handed over, one worker an endpoint, and no worker lost unnoticed.

The only file that imports xdist.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from pytest_bench.plugin.items import EVENTS_KEY
from pytest_bench.plugin.markers import JUDGES
from pytest_bench.plugin.printable import printable
from pytest_bench.plugin.progress import RELAY_KEY
from pytest_bench.plugin.session import HANDOVER_KEY, Session, hand_over

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController

    from pytest_bench.plugin.controller import Controller


class ByDeployment(LoadScopeScheduling):  # type: ignore[misc] # xdist is not typed
    """Gives all points of one deployment to one worker, so that they never overlap. Stands in for --dist."""

    def __init__(self, config: pytest.Config, log: Producer, units: Mapping[str, str]) -> None:
        super().__init__(config, log)
        self._units = units

    def _split_scope(self, nodeid: str) -> str:
        point = _point_of(nodeid, self._units)
        return f"deployment {self._units[point]}" if point else str(super()._split_scope(nodeid))


class Workers:
    """The controller's side of xdist."""

    def __init__(self, session: Session, controller: Controller | None) -> None:
        self._session = session
        self._controller = controller

    def pytest_configure_node(self, node: WorkerController) -> None:
        node.workerinput[HANDOVER_KEY] = hand_over(self._session)
        channel = node.gateway.newchannel()
        channel.setcallback(partial(_show, node.config, node.gateway.id))
        node.workerinput[RELAY_KEY] = channel

    @pytest.hookimpl(tryfirst=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Producer) -> ByDeployment:
        return ByDeployment(config, log, _units(self._session))

    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """The process that ran a point has died: the case that xdist makes of it is the point's."""
        point = _point_of(crashitem, _units(self._session))
        if self._controller is not None and point is not None:
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


def _show(config: pytest.Config, worker: str, line: str) -> None:
    """Show a worker's line on our terminal; called by the thread that listens to that worker."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if isinstance(terminal, pytest.TerminalReporter):
        begun = config.get_terminal_writer().width_of_current_line > 0
        # In one piece: the main thread writes too.
        terminal.write(f"{chr(10) if begun else ''}[{worker}] {printable(line)}\n", flush=True)


def _point_of(nodeid: str, points: Collection[str]) -> str | None:
    """The point of a test by its id alone, which may hold more parameters than the point's."""
    name = nodeid.rpartition("::")[2].partition("[")[2].removesuffix("]")
    if name in points:
        return name
    found = (point for point in points if name.startswith(f"{point}-") or name.endswith(f"-{point}"))
    return max(found, key=len, default=None)


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
