"""The work behind the public fixtures: start deployments, run points one at a time, read measurements back.

This module imports the load engine, so only a process that runs a point imports this module.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain

import pytest

from pytest_bench.audits import registry
from pytest_bench.audits.point import run_audit
from pytest_bench.endpoints.address import servers
from pytest_bench.errors import BenchError, EvidenceError, UsageError
from pytest_bench.evals.point import run_eval
from pytest_bench.leases import Scope, acquire, acquire_all
from pytest_bench.perf import run_perf
from pytest_bench.plugin import reports
from pytest_bench.plugin.call import Call
from pytest_bench.plugin.progress import ProgressLine
from pytest_bench.plugin.session import Session
from pytest_bench.running.deployment import SIMULATOR, Deployment, bring_up
from pytest_bench.running.measured import MeasuredPoint
from pytest_bench.running.resources import Resources
from pytest_bench.running.session import Reporter, SessionFacts
from pytest_bench.scoring import all_scorings
from pytest_bench.suite.plan import Point

Runner = Callable[[SessionFacts, Resources, Point, Deployment, Reporter], MeasuredPoint]


class PointRunner:
    """State that the fixtures of one process share."""

    def __init__(self, config: pytest.Config, call: Call, session: Session) -> None:
        self._config = config
        self._session = session
        self._progress = ProgressLine(config)
        self._call = call
        self._facts = SessionFacts(
            plan=session.plan, nonce=session.nonce, results=session.results, rerun=session.rerun
        )
        self._reporter = Reporter(progress=self._progress.show, note=self._progress.note)
        audits = registry(chain.from_iterable(config.hook.pytest_bench_audits()))
        scorings = all_scorings(chain.from_iterable(config.hook.pytest_bench_scorers()))
        self._runners: Mapping[str, Runner] = {
            "perf": run_perf,
            "audit": partial(run_audit, registry=audits),
            "eval": partial(run_eval, scorings=scorings),
        }

    @contextmanager
    def deployment(self, name: str) -> Iterator[Deployment]:
        """The system under test of this name, ready for requests; stopped at exit if this session started it."""
        plan = self._session.plan.deployments[name]
        first = reports.running(self._config)
        with ExitStack() as stack:
            with self._hold(first, plan.endpoints):
                folder = self._session.deployment_folder(name)
                try:
                    up = stack.enter_context(
                        bring_up(
                            plan,
                            folder,
                            os.environ,
                            self._progress.wait,
                            nonce=self._session.nonce,
                            is_needed=self._session.plan.needs_endpoint(name),
                        )
                    )
                finally:
                    self._progress.clear()
            yield up

    def runner(
        self, item: pytest.Item, point: Point, deployment: Deployment, resources: Resources
    ) -> Callable[[], MeasuredPoint]:
        """Return the function that runs `point`, once, with exclusive use of this host and its endpoints."""
        started = False

        def run() -> MeasuredPoint:
            nonlocal started
            if started:
                raise UsageError(
                    f"{item.nodeid} calls run_load() twice: a point is measured once; call it once"
                )
            started = True
            with self._hold(point.id, deployment.urls):
                self._progress.begins(point)
                try:
                    measured = self._runners[point.kind](
                        self._facts, resources, point, deployment, self._reporter
                    )
                except OSError as error:
                    raise _cause(error) from error
                finally:
                    self._progress.clear()
                # Before the leases end: a lost one raises, and the point keeps what it was judged.
                reports.note_judgement(item, measured.summary.judgement)
            self._progress.ends(point, measured.outcome)
            return measured

        return run

    def read(self, point: Point) -> MeasuredPoint:
        """Read a point that was judged earlier in the session. Raises `EvidenceError`."""
        session = self._session
        return MeasuredPoint.read(point, session.point_folder(point.id), session.rerun(point))

    @contextmanager
    def _hold(self, point: str, urls: tuple[str, ...]) -> Iterator[None]:
        """Hold leases on this host and these endpoints for one point, and append them to the event log."""
        wanted: list[tuple[Scope, str]] = [("host", platform.node())]
        wanted += [("endpoint", server) for url in urls if url != SIMULATOR for server in servers(url)]
        hold = partial(
            acquire,
            nonce=self._session.nonce,
            point=point,
            worker=self._call.process,
            record=self._call.append,
            on_wait=self._report_wait,
        )
        with acquire_all(wanted, hold):
            yield

    def _report_wait(self, sentence: str) -> None:
        """Show what holds the lease, unless it is this session, whose points take turns."""
        if self._session.nonce not in sentence:
            self._progress.waits(sentence)


def _cause(error: OSError) -> BenchError:
    """The error that prevented the measurement: the first in the chain of exceptions."""
    before = error.__context__
    while before is not None:
        if isinstance(before, BenchError):
            return before
        before = before.__context__
    return EvidenceError(f"the point could not be measured: {error}")
