from collections.abc import Sequence

import msgspec
import pytest

from pytest_bench.bounds import Bound
from pytest_bench.leases import Lease
from pytest_bench.verdict.events import (
    Collected,
    Event,
    EvidenceCheck,
    ExpectedPoint,
    Report,
    Selected,
    SessionRecord,
)
from pytest_bench.verdict.ledger import decide
from pytest_bench.verdict.outcome import JudgedBound, Judgement, Outcome

LIMIT = Bound(
    metric="request_latency.p99", comparison="<=", limit=200e6, text="<= 200ms", origin="s.yaml:3:5"
)
GOOD = Judgement(
    outcome=Outcome.PASS,
    bounds=(JudgedBound(bound=LIMIT, measured=150e6, state="met", sentence="request_latency.p99 is 150 ms"),),
)


class Story(msgspec.Struct, kw_only=True):
    """Everything that the ledger reads about one session."""

    expected: Sequence[ExpectedPoint]
    events: Sequence[Event]
    evidence: dict[str, EvidenceCheck]
    leases: Sequence[Lease]
    session: SessionRecord

    def settle(self):
        return decide(self.expected, [*self.events, *self.leases], self.evidence, self.session)

    def without(self, *unwanted):
        """The same session without some of its events, evidence checks or leases."""
        return msgspec.structs.replace(
            self,
            events=[item for item in self.events if item not in unwanted],
            evidence={name: item for name, item in self.evidence.items() if item not in unwanted},
            leases=[item for item in self.leases if item not in unwanted],
        )

    def plus(self, *events):
        return msgspec.structs.replace(self, events=[*self.events, *events])

    def swap(self, old, new):
        """The same session with one event, evidence check or lease in place of another."""
        return msgspec.structs.replace(
            self,
            events=[new if item == old else item for item in self.events],
            evidence={name: new if item == old else item for name, item in self.evidence.items()},
            leases=[new if item == old else item for item in self.leases],
        )

    def facts(self, **fields):
        return msgspec.structs.replace(self, session=msgspec.structs.replace(self.session, **fields))

    def report(self, point, stage):
        return next(
            item
            for item in self.events
            if isinstance(item, Report) and (item.point, item.stage) == (point, stage)
        )


def green_story(*names, judgement=GOOD):
    events, evidence, leases = [], {}, []
    for position, name in enumerate(names):
        events += [
            Collected(point=name, worker="main"),
            Selected(point=name),
            Report(point=name, stage="setup", outcome="passed", worker="main"),
            Report(point=name, stage="call", outcome="passed", worker="main", judgement=judgement),
            Report(point=name, stage="teardown", outcome="passed", worker="main"),
        ]
        evidence[name] = EvidenceCheck(
            point=name,
            path=f"points/{name}",
            nonce="n0",
            point_digest=f"digest of {name}",
            outcome=judgement.outcome,
            requests_ns=(position * 100 + 10, position * 100 + 90),
            digest=f"evidence of {name}",
        )
        leases += [
            Lease(
                point=name,
                worker="main",
                scope=scope,
                resource="it",
                boot_id="b",
                start_ns=position * 100,
                end_ns=position * 100 + 100,
            )
            for scope in ("endpoint", "host")
        ]
    return Story(
        expected=[
            ExpectedPoint(
                id=name, digest=f"digest of {name}", leases=("endpoint", "host"), origin="s.yaml:9:3"
            )
            for name in names
        ],
        events=events,
        evidence=evidence,
        leases=leases,
        session=SessionRecord(nonce="n0", pytest_exit_status=0, plan_digest="plan"),
    )


@pytest.fixture
def green():
    """A session in which every point passes."""
    return green_story


@pytest.fixture
def good():
    """The judgement of a point that passes."""
    return GOOD
