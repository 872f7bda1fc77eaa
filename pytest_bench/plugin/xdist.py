"""Points on xdist workers: passes the session to workers, schedules all points of an endpoint on one worker, and
records every worker.

The only module that imports xdist.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadScopeScheduling

from pytest_bench.catalogue import Requirements
from pytest_bench.endpoints.address import servers
from pytest_bench.errors import EvidenceError
from pytest_bench.plugin.call import Call
from pytest_bench.plugin.controller import check_collection
from pytest_bench.plugin.markers import JUDGES
from pytest_bench.plugin.options import SIMULATOR
from pytest_bench.plugin.progress import RELAY_KEY
from pytest_bench.plugin.session import WORKER_INPUT_KEY, Session, worker_input
from pytest_bench.results.event_log import Appender, EventLog, log_path, nonce_of
from pytest_bench.suite.plan import Plan
from pytest_bench.verdict.events import Withheld, WorkerBegan, WorkerCrashed
from pytest_bench.wording import printable

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController


def worker_log(config: pytest.Config, session: Session) -> EventLog:
    """Open the event log of this worker: a file if it can write the results folder, else sent to the controller."""
    worker: str = getattr(config, "workerinput", {})["workerid"]
    try:
        shared = nonce_of(session.results) == session.nonce
    except EvidenceError:
        shared = False
    if shared:
        return EventLog.create(session.results, worker, session.nonce)
    return EventLog(worker, getattr(config, "workerinput", {})[RELAY_KEY].send, session.nonce)


class ByDeployment(LoadScopeScheduling):  # type: ignore[misc] # xdist is not typed
    """Assigns all points of one deployment to one worker, so that they never overlap. Replaces --dist."""

    def __init__(
        self,
        config: pytest.Config,
        log: Producer,
        units: Mapping[str, str],
        withhold: Callable[[str, str], None] | None,
    ) -> None:
        """`withhold` records, by worker, each point that is not run because its worker was lost; None: another worker
        runs it."""
        super().__init__(config, log)
        self._units = units
        self._withhold = withhold

    def _split_scope(self, nodeid: str) -> str:
        point = _point_of(nodeid, self._units)
        return f"deployment {self._units[point]}" if point else str(super()._split_scope(nodeid))

    def remove_node(self, node: WorkerController) -> str | None:
        """Remove a worker without restarting the test that it was running; xdist would schedule that test again."""
        workload = self.assigned_work.pop(node)
        pending = [(unit, nodeid) for unit in workload.values() for nodeid, done in unit.items() if not done]
        if not pending:
            return None
        unit, crashed = pending[0]
        unit[crashed] = True
        if self._withhold is None:
            self.workqueue.update({scope: unit for scope, unit in workload.items() if not all(unit.values())})
            for other in self.assigned_work:
                self._reschedule(other)
        else:
            for _, nodeid in pending[1:]:
                if (point := _point_of(nodeid, self._units)) is not None:
                    self._withhold(node.gateway.id, point)
            self._assign_all()
        return str(crashed)

    def _assign_all(self) -> None:
        """Assign what is left to the remaining workers: xdist assigns nothing more once a worker is lost for good."""
        others = [node for node in self.assigned_work if not node.shutting_down]
        while self.workqueue and others:
            for node in others[: len(self.workqueue)]:
                self._assign_work_unit(node)


class Workers:
    """The controller's side of xdist."""

    def __init__(self, call: Call, session: Session, requires: Requirements, *, on_nodes: bool) -> None:
        """`on_nodes`: every worker is a node of a Slurm allocation, and named like it."""
        self._call = call
        self._session = session
        self._requires = requires
        self._on_nodes = on_nodes

    @cached_property
    def _units(self) -> dict[str, str]:
        """Computed on first use, because it resolves host names."""
        return units(self._session.plan)

    def pytest_configure_node(self, node: WorkerController) -> None:
        worker = node.gateway.id
        node.workerinput[WORKER_INPUT_KEY] = worker_input(self._session)
        channel = node.gateway.newchannel()
        channel.setcallback(_Relay(node.config, worker, self._session))
        node.workerinput[RELAY_KEY] = channel
        self._call.append(WorkerBegan(worker=worker))

    @pytest.hookimpl(tryfirst=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Producer) -> ByDeployment:
        return ByDeployment(config, log, self._units, self._withhold if self._on_nodes else None)

    def pytest_xdist_node_collection_finished(self, node: WorkerController) -> None:
        """Check that the selected points can run before the first of them runs."""
        if self._call.log is not None:
            check_collection(self._call, self._requires, node.gateway.id)

    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """Assign the report that xdist makes for a crashed worker to the point that the worker was running."""
        point = _point_of(crashitem, self._units)
        if point is not None:
            report.user_properties.append((JUDGES, point))
            worker = getattr(report, "node", None)
            name = worker.gateway.id if worker is not None else "a worker"
            self._crashed(name, report.longreprtext, point)

    def pytest_testnodedown(self, node: WorkerController, error: object) -> None:
        if error is not None:
            lost = f"the step on Slurm node {node.gateway.id} ended: " if self._on_nodes else ""
            self._crashed(node.gateway.id, f"{lost}{error}")

    def _withhold(self, worker: str, point: str) -> None:
        sentence = f"not run: Slurm node {worker}, to which it was assigned, was lost"
        self._call.append(Withheld(point=point, sentence=sentence))

    def _crashed(self, worker: str, detail: str, point: str | None = None) -> None:
        self._call.append(WorkerCrashed(worker=worker, detail=detail, point=point))


class _Relay:
    """Receives messages of a worker: text goes to the terminal, bytes to the worker's event log.

    Called in the thread that receives from that worker.
    """

    def __init__(self, config: pytest.Config, worker: str, session: Session) -> None:
        self._config = config
        self._worker = worker
        self._session = session

    @cached_property
    def _append(self) -> Appender:
        return Appender(log_path(self._session.results, self._worker))

    def __call__(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self._append(message)
            return
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if isinstance(terminal, pytest.TerminalReporter):
            begun = self._config.get_terminal_writer().width_of_current_line > 0
            # In one call, because the main thread writes too.
            text = f"{chr(10) if begun else ''}[{self._worker}] {printable(message)}\n"
            terminal.write(text, flush=True)


def _point_of(nodeid: str, points: Collection[str]) -> str | None:
    """Return the point of a test by its node id, which may contain further parameters."""
    name = nodeid.rpartition("::")[2].partition("[")[2].removesuffix("]")
    if name in points:
        return name
    found = (point for point in points if name.startswith(f"{point}-") or name.endswith(f"-{point}"))
    return max(found, key=len, default=None)


def units(plan: Plan) -> dict[str, str]:
    """Map points to units that must stay on one worker. Deployments that may share a server are one unit."""
    members: dict[str, set[str]] = {}
    reached: dict[str, frozenset[str]] = {}
    for name, deployment in plan.deployments.items():
        urls = [url for url in deployment.endpoints if url != SIMULATOR]
        together, ours = {name}, frozenset[str]().union(*map(servers, urls))
        for unit in [unit for unit, others in reached.items() if others & ours]:
            together |= members.pop(unit)
            ours |= reached.pop(unit)
        members[name], reached[name] = together, ours
    unit_of = {name: unit for unit, together in members.items() for name in together}
    return {point.id: unit_of[point.deployment_name] for point in plan.points}
