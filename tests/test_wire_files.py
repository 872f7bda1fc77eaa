"""Every JSON file that a session writes, byte for byte, and the schema that is published of it.

What each file holds lies in `goldens/`, under the file's own name. A change there needs a new version, and a
reader of the old one.
"""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest

from pytest_bench.audits.artifacts import artifacts
from pytest_bench.audits.output_caching import OutputCaching
from pytest_bench.bounds import Bound
from pytest_bench.cli.schema import SCHEMAS
from pytest_bench.cluster.preflight import NodeFacts, NodesFile
from pytest_bench.evals.node_files import FoundTable, StatusFile
from pytest_bench.files import canonical_json, readable_json
from pytest_bench.host import Cpu, Environment, Git, Memory
from pytest_bench.leases import Lease
from pytest_bench.lines import encode_line
from pytest_bench.metrics.measurement import Interval, Measurement, Metric, Window
from pytest_bench.records import CacheReset, ClientHealth, PhaseFile, PhaseResult, Quantiles
from pytest_bench.results.details import (
    AuditDetail,
    AuditResult,
    Before,
    CommandDetail,
    EvalDetail,
    TablesDetail,
)
from pytest_bench.results.evidence import Evidence, EvidenceFile
from pytest_bench.results.plan_file import PlanFile
from pytest_bench.results.summary import DatasetUsed, PointFile, Summary
from pytest_bench.results.withheld import WithheldFile
from pytest_bench.suite.plan import DatasetPlan, DeploymentPlan, Plan, Point, Secret, TokensPlan
from pytest_bench.verdict.events import (
    Called,
    Collected,
    Deselected,
    Ended,
    Expectation,
    Fault,
    Interrupted,
    Invocation,
    JUnitCase,
    Planned,
    Refused,
    Report,
    Selected,
    SuiteProperty,
    Withheld,
    WorkerBegan,
    WorkerCrashed,
)
from pytest_bench.verdict.expectation import expectation_json
from pytest_bench.verdict.outcome import JudgedBound, Judgement, Outcome, Reason
from pytest_bench.verdict.verdict import Coverage, PointVerdict, Verdict
from pytest_bench.workload import Load, SampleOrder

GOLDENS = Path(__file__).parent / "goldens"
NONCE, DIGEST, SHA256 = "00112233aabbccdd", "d" * 64, "e" * 64
ID = "chat/perf/steady/c0004"

BOUND = Bound(metric="request_latency.p99", comparison="<=", limit=2e8, text="<= 200ms", origin="s.yaml:9:5")
JUDGEMENT = Judgement(
    outcome=Outcome.FAIL,
    reasons=(Reason("bound-not-met", "request_latency.p99 is 250 ms, required <= 200ms"),),
    bounds=(
        JudgedBound(
            bound=BOUND,
            measured=2.5e8,
            state="not-met",
            sentence="request_latency.p99 is 250 ms, required <= 200ms",
            interval=(2.4e8, 2.6e8),
        ),
    ),
    labels=("cache-shared",),
)
POINT = Point(
    id=ID,
    suite="chat",
    kind="perf",
    name="steady/c0004",
    origin="s.yaml:7:3",
    dataset="prompts",
    load=Load(pattern="concurrency", concurrency=4, requests=8),
    samples=SampleOrder(count=0),
    bounds=(BOUND,),
    sweep={"concurrency": 4},
)
PLAN = Plan(
    deployments={
        "chat": DeploymentPlan(
            suite="chat",
            api="openai-chat",
            api_reference="pytest_bench.api.openai_chat:OpenAIChat",
            model="m",
            endpoints=("http://host:8000",),
            api_key=Secret(from_env="KEY"),
            parameters={"max_tokens": 8},
            tokens=TokensPlan(tokenizer="org/m"),
            origin="s.yaml:2:1",
        )
    },
    datasets={
        "chat": {
            "prompts": DatasetPlan(name="prompts", path="/checkout/p.jsonl", format="jsonl", contents=SHA256)
        }
    },
    points=(POINT,),
    files={"s.yaml": SHA256},
    root="/checkout",
)
PHASE = PhaseResult(
    label="measured",
    folder="phases/measured",
    issued=8,
    succeeded=7,
    failed=1,
    interrupted=0,
    resent=0,
    failures={"reset": 1},
    start_ns=10,
    first_issue_ns=11,
    last_issue_ns=20,
    last_completion_ns=30,
    full_load_ns=12,
    peak_in_flight=4,
    health=ClientHealth(
        workers=1,
        client_lag_ms=Quantiles(p50=0.1, p99=0.2, max=0.3),
        turnaround_ms=Quantiles(p50=0.2, p99=0.4, max=0.6),
        schedule_lateness_ms=None,
        vacancy=0.015625,
        vacancy_p99=0.03125,
        cpu_share=0.5,
        cpu_share_p99=0.75,
        asked=4.0,
        achieved=3.5,
        achieved_share_p1=None,
        reads=70,
        user_stamped_reads=1,
        clock_steps=1,
        clock_error_ns=80,
    ),
    complete=True,
)
MEASUREMENT = Measurement(
    metrics={
        "request_throughput": Metric(unit="requests/s", kind="scalar", value=12.5, uncertainty=0.25),
        "goodput": Metric(
            unit="requests/s", kind="scalar", reason="the suite declares no slo for this point"
        ),
        "request_latency": Metric(
            unit="ns",
            kind="distribution",
            statistics={"p99": 2.5e8, "stddev": None},
            uncertainties={"p99": 5e5},
            count=7,
            reasons={"stddev": "a single value has no standard deviation"},
        ),
    },
    issued=8,
    succeeded=7,
    failed=1,
    failures={"reset": 1},
    phase=Window(start_ns=11, end_ns=30),
    intervals=(
        Interval(metric="request_latency.p99", confidence=0.95, low=2.4e8, high=2.6e8, method="order"),
    ),
)
RESULT = AuditResult(
    passed=True,
    reason="a < b",
    explanation="…",
    lines=("Performance check pass: True",),
    details={"a": 1},
)
DETAIL = AuditDetail(
    explanation="…",
    poll_interval_s=1.0,
    order="before the benchmark",
    before=Before(sharing=(ID,), begun=()),
    result=RESULT,
    cache_resets=(
        CacheReset(url="http://host:8000", path="/flush_cache", status=200, asked_ns=1, confirmed_ns=2),
    ),
)
SUMMARY = Summary(
    point=ID,
    point_digest=DIGEST,
    nonce=NONCE,
    judgement=JUDGEMENT,
    measurement=MEASUREMENT,
    phases=(PHASE,),
    dataset=DatasetUsed(name="prompts", digest=SHA256, rows=40),
    served=("http://host:8000",),
    identities=({"models": ["m"], "server": "s/1"},),
    tokenizer={"tokenizer": SHA256, "backend": "tokenizers"},
    detail=DETAIL,
)
EVAL = msgspec.structs.replace(
    SUMMARY,
    detail=EvalDetail(
        shown=(("requests", "8"), ("exact_match\nstrict-match", "75.0% (40.9% to 92.9%)")),
        metrics={"total": 8, "completed": 8, "failed": 0, "missing": 0, "retried": 1, "scorings": {}},
        account={"sessions": 1, "attempts": 9, "failed": 1, "elapsed_s": 2.0, "tail_s": 0.5},
        concurrency={"asked": 4, "peak": 4, "achieved": 3.95, "least": 3.92, "short": True, "problem": None},
        gates=({"outcome": "pass", "measured": 0.75},),
        pairs={"0": {"lost": 1, "won": 0}},
        sessions=({"nonce": NONCE, "repeats": 1, "scoring": {"exact_match,none": SHA256}, "started_ns": 1},),
        release="0.1.0",
        results={"evals/chat/sums/results_2026-01-02T03-04-05.000000.json": SHA256},
    ),
)
COMMAND = msgspec.structs.replace(
    SUMMARY,
    phases=(),
    dataset=None,
    tokenizer=None,
    detail=CommandDetail(
        shown=(("sums\nexact_match,none", "75.0%"),),
        notes=("8 requests in flight are proven by the server's vllm:num_requests_running",),
        command=("tool", "--url=http://host:8000"),
        environment=("HF_HOME", "PATH"),
        concurrency={
            "asked": 8,
            "stated": False,
            "server": {"gauges": ["vllm:num_requests_running"], "readings": 12, "peak": 8},
            "problem": None,
        },
        own_metadata=False,
        status=0,
        overdue=False,
        started_s=1.5,
        ended_s=2.5,
    ),
)
TABLES = msgspec.structs.replace(
    SUMMARY,
    phases=(),
    dataset=None,
    tokenizer=None,
    detail=TablesDetail(
        shown=(("chat\nthroughput", "120"),),
        commands=(("tool", "0"), ("tool", "1")),
        environment=("PATH",),
        job="77",
        statuses=({"rank": 0, "host": "n0", "exit_status": 0, "ended_ns": 2},),
        picked="nodes/0/output/perf.csv",
        scores=({"path": "0/output/perf.csv", "rank": 0, "measured": 1, "rows": 1, "refused": ""},),
        rows=(
            {
                "model": "chat",
                "metric": "throughput",
                "combine": "pick",
                "value": 120.0,
                "values": {"0": 120.0},
            },
        ),
    ),
)
NODE = StatusFile(
    nonce=NONCE,
    rank=1,
    host="n1",
    phase="looking for tables",
    started_ns=1,
    exit_status=0,
    ended_ns=2,
    tables=(
        FoundTable(
            source="/suites/perf.csv",
            copy="tables/0-perf.csv",
            sha256=SHA256,
            modified_ns=2,
            inode=3,
            job="77",
        ),
    ),
)
NODES = NodesFile(
    nonce=NONCE,
    job="77",
    nodes={
        "n0": NodeFacts(
            host="host0",
            versions={"Python": "3.11.7"},
            free_bytes={"/tmp": 5},
            gpus=("g",),
            clock_offset_s=0.25,
        )
    },
)
INVOCATION = Invocation(
    ini=("-ra",), environment=("--complete",), command_line=("suites", "--endpoint=http://host:8000")
)
EVENTS = (
    Called(
        invocation=INVOCATION,
        started="2026-01-02T03:04:05Z",
        results="/checkout/results/r",
        junit="junit.xml",
        versions={"pytest": "9.0.0"},
    ),
    Planned(
        plan_digest=DIGEST,
        complete=True,
        expectation=Expectation(points={ID: None}, digest=SHA256),
        accepted_labels=("simulator",),
        files={"environment.json": SHA256, "plan.json": SHA256},
        rerun={ID: f"pytest suites -k {ID}"},
    ),
    Refused(sentence="the endpoint is not known"),
    WorkerBegan(worker="gw0"),
    WorkerCrashed(worker="gw0", detail="signal 9", point=ID),
    Collected(point=ID, worker="main"),
    Selected(point=ID),
    Deselected(point="chat/perf/other"),
    Withheld(point=ID, sentence="the audit before it could not be judged"),
    Lease(
        point=ID,
        worker="main",
        scope="endpoint",
        resource="http://host:8000",
        boot_id="b",
        start_ns=1,
        end_ns=2,
        lost=True,
    ),
    Report(
        point=ID,
        stage="call",
        outcome="failed",
        worker="main",
        judgement=JUDGEMENT,
        detail="not met",
        duration_s=1.5,
    ),
    Fault(code="internal-error", sentence="pytest itself failed"),
    Interrupted(),
    JUnitCase(xml='<testcase classname="t" name="test_it" time="0.1" />'),
    SuiteProperty(name="build", value="7"),
    Ended(status=1, at="2026-01-02T03:05:05Z"),
)
VERDICT = Verdict(
    status="fail",
    coverage=Coverage(complete=False, left_out=("chat/perf/other",)),
    nonce=NONCE,
    points=(
        PointVerdict(
            id=ID,
            outcome=Outcome.FAIL,
            reasons=JUDGEMENT.reasons,
            bounds=JUDGEMENT.bounds,
            labels=JUDGEMENT.labels,
            origin="s.yaml:7:3",
            digest=DIGEST,
            evidence=f"points/{ID}",
            evidence_digest=SHA256,
        ),
    ),
    counts={"fail": 1},
    plan_digest=DIGEST,
    pytest_exit_status=1,
    versions={"pytest": "9.0.0"},
    invocation=INVOCATION,
    started="2026-01-02T03:04:05Z",
    finished="2026-01-02T03:05:05Z",
    files={"events/main.jsonl": SHA256},
)
ENVIRONMENT = Environment(
    nonce=NONCE,
    packages={"httpx": "0.28.1", "pyarrow": None},
    python="3.11.7",
    implementation="CPython",
    name="host",
    system="Linux",
    kernel="6.1",
    machine="x86_64",
    distribution=None,
    boot_id="b",
    cpu=Cpu(model="c", count=8, affinity=4, quota=2.5),
    memory=Memory(total_bytes=1 << 30, limit_bytes=None),
    gpus=("g",),
    git=Git(commit="c0ffee", dirty=False),
    clock="CLOCK_MONOTONIC",
    clock_source="tsc",
    measured_at="2026-01-02T03:04:05Z",
)
AUDIT = artifacts(
    OutputCaching(),
    RESULT,
    order="before the benchmark",
)
FILES = (EvidenceFile(path="point.json", size_bytes=2, sha256=SHA256),)

WRITTEN: dict[str, tuple[str, bytes]] = {
    "plan.json": ("plan", readable_json(PlanFile(nonce=NONCE, digest=PLAN.digest(), plan=PLAN))),
    "verdict.json": ("verdict", readable_json(VERDICT)),
    "environment.json": ("environment", readable_json(ENVIRONMENT)),
    "withheld.json": (
        "withheld",
        readable_json(WithheldFile(nonce=NONCE, audit="chat/audit/a", because="did not finish")),
    ),
    "point.json": ("point", readable_json(PointFile(point=POINT, digest=DIGEST, nonce=NONCE))),
    "summary.json": ("summary", readable_json(SUMMARY)),
    "summary_eval.json": ("summary", readable_json(EVAL)),
    "summary_command.json": ("summary", readable_json(COMMAND)),
    "summary_tables.json": ("summary", readable_json(TABLES)),
    "status.json": ("node", readable_json(NODE)),
    "nodes.json": ("nodes", readable_json(NODES)),
    "evidence.json": (
        "evidence",
        readable_json(
            Evidence(point=ID, point_digest=DIGEST, nonce=NONCE, outcome=Outcome.FAIL, files=FILES)
        ),
    ),
    "phase.json": ("phase", readable_json(PhaseFile.of(PHASE, point=ID, nonce=NONCE))),
    "audit_output_caching_test.json": ("audit", AUDIT["audit_output_caching_test.json"]),
    "expectation.json": ("expectation", readable_json(expectation_json({ID: DIGEST}, DIGEST))),
}
"""By file name: its schema's name, and its bytes."""
VERSIONS = {"verdict": 2, "point": 2, "phase": 2, "summary": 5}
"""By name of the schema. All others are of version 1."""


@pytest.mark.parametrize("name", WRITTEN)
def test_a_file_is_byte_for_byte_what_its_version_says(name):
    assert WRITTEN[name][1].decode() == (GOLDENS / name).read_text()


def test_the_words_of_an_audit_are_those_that_checkers_look_for():
    assert AUDIT["verify_OUTPUT_CACHING_TEST.txt"] == b"Performance check pass: True\n"


@pytest.mark.parametrize("name", WRITTEN)
def test_a_file_says_its_version_and_is_valid_under_the_published_schema(name):
    of, data = WRITTEN[name]
    content, schema = json.loads(data), SCHEMAS[of]()
    assert content["version"] == VERSIONS.get(of, 1)
    jsonschema.validate(content, schema, jsonschema.Draft202012Validator)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**content, "version": "one"}, schema, jsonschema.Draft202012Validator)


def test_events_are_byte_for_byte_what_their_version_says_and_valid_under_the_published_schema():
    lines = b"".join(encode_line(canonical_json(event)) for event in EVENTS)
    assert lines.decode() == (GOLDENS / "events.jsonl").read_text()
    for line in lines.splitlines():
        jsonschema.validate(json.loads(line), SCHEMAS["event"](), jsonschema.Draft202012Validator)


def test_every_golden_is_of_a_file_that_is_written():
    assert {path.name for path in GOLDENS.iterdir()} == {*WRITTEN, "events.jsonl"}
