"""Points over xdist workers: the plan handed over, one worker an endpoint, and no worker lost unnoticed.

The only file that imports xdist.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Generator, Mapping
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from pytest_bench.endpoints.address import servers
from pytest_bench.plugin.items import EVENTS_KEY
from pytest_bench.plugin.markers import JUDGES
from pytest_bench.plugin.options import SIMULATOR
from pytest_bench.plugin.outermost import FAREWELL_KEY
from pytest_bench.plugin.progress import RELAY_KEY
from pytest_bench.plugin.session import HANDOVER_KEY, Session, hand_over
from pytest_bench.suite.plan import Plan
from pytest_bench.wording import printable

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController

    from pytest_bench.plugin.controller import Controller

_FAREWELL_S = 60.0
"""For all workers. Ample for what conftests do when tests are over; xdist itself then ends one within 10 s."""


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
        self._ending: list[WorkerController] = []
        """Workers that have reported all of their tests."""
        self._ended_well: set[str] = set()

    @cached_property
    def _units(self) -> dict[str, str]:
        """Looks names up, so only where it is needed."""
        return units(self._session.plan)

    def pytest_configure_node(self, node: WorkerController) -> None:
        node.workerinput[HANDOVER_KEY] = hand_over(self._session)
        channel = node.gateway.newchannel()
        channel.setcallback(partial(_show, node.config, node.gateway.id))
        node.workerinput[RELAY_KEY] = channel
        farewell = node.gateway.newchannel()
        farewell.setcallback(lambda _: self._ended_well.add(node.gateway.id))
        node.workerinput[FAREWELL_KEY] = farewell

    @pytest.hookimpl(tryfirst=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Producer) -> ByDeployment:
        return ByDeployment(config, log, self._units)

    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """The process that ran a point has died: the case that xdist makes of it is the point's."""
        point = _point_of(crashitem, self._units)
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
            self._ending.append(node)
        else:
            self._controller.worker_crashed(node.gateway.id, str(error or "it ended without its account"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, None, None]:
        """A worker may fail once it has reported, where xdist no longer listens: wait for its farewell."""
        if self._controller is not None:
            until = time.monotonic() + _FAREWELL_S
            for node in self._ending:
                # Heard in order: what a worker said is known once its channel is closed.
                try:
                    with suppress(node.channel.RemoteError, EOFError):
                        node.channel.waitclose(max(0.0, until - time.monotonic()))
                except node.channel.TimeoutError:
                    self._controller.worker_late(node.gateway.id, _FAREWELL_S)
                    continue
                if node.gateway.id not in self._ended_well:
                    self._controller.worker_crashed(node.gateway.id, "it failed after the last of its tests")
        yield


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


def units(plan: Plan) -> dict[str, str]:
    """Points to the unit that must stay on one worker: deployments that may share a server are one unit."""
    members: dict[str, set[str]] = {}
    reached: dict[str, frozenset[str]] = {}
    for suite, deployment in plan.deployments.items():
        urls = [url for url in deployment.endpoints if url != SIMULATOR]
        together, ours = {suite}, frozenset[str]().union(*map(servers, urls))
        for unit in [unit for unit, others in reached.items() if others & ours]:
            together |= members.pop(unit)
            ours |= reached.pop(unit)
        members[suite], reached[suite] = together, ours
    unit_of = {suite: unit for unit, together in members.items() for suite in together}
    return {point.id: unit_of[point.suite] for point in plan.points}
