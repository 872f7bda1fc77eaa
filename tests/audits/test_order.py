"""What ran before an audit on its server is recorded as it happened, whatever suites and datasets are called."""

from __future__ import annotations

import shutil
import socket

import pytest

from pytest_bench.api import BUILTIN, import_api
from pytest_bench.audits.contract import AuditPhase
from pytest_bench.audits.order import OutOfOrder, contradictions, find_earlier_points, primed_by
from pytest_bench.catalogue import vocabulary
from pytest_bench.endpoints.headers import read_headers
from pytest_bench.results.details import AuditDetail, Before
from pytest_bench.running.deployment import Deployment
from pytest_bench.running.resources import Resources
from pytest_bench.running.samples import Share
from pytest_bench.running.session import SessionFacts
from pytest_bench.suite.context import Overrides
from pytest_bench.suite.loading import load_plan
from pytest_bench.tokens.pool import TokenizerPool
from pytest_bench.workload import SampleOrder, Target

PERF_FIRST = "order: [perf, eval, audit]\n"
AUDIT = "dataset: again, load: {pattern: concurrency, concurrency: 1, requests: 4}, budget: *patient"


def with_second_dataset(text, name):
    return text.replace("{prompts:", f"{{again: {{path: {name}.jsonl}}, prompts:")


def test_an_audit_that_runs_before_a_benchmark_planned_before_it_is_labelled_so(auditor, caching_suite):
    measured = auditor.audit(PERF_FIRST + caching_suite("of: single-stream, samples: 4"))

    assert "before-benchmark" in measured.summary.judgement.labels
    assert not measured.summary.detail.before.begun


def test_an_audit_after_a_benchmark_that_was_to_come_after_it_is_refused_before_its_first_request(
    auditor, caching_suite
):
    auditor.dataset(rows=12)
    with auditor.session(caching_suite("of: single-stream")) as run:
        auditor.perf("single-stream")
        sent = len(auditor.requests())
        with pytest.raises(OutOfOrder, match="s/perf/single-stream was planned after the audit"):
            run("a")
        assert len(auditor.requests()) == sent


@pytest.mark.parametrize("copy", ["the same file", "a copy", "a file with some of its prompts"])
def test_a_benchmark_on_the_same_prompts_by_another_name_counts_as_a_benchmark_on_them(
    auditor, caching_suite, tmp_path, copy
):
    name = "prompts" if copy == "the same file" else "copied"
    if copy == "a copy":
        shutil.copy(tmp_path / "prompts.jsonl", tmp_path / "copied.jsonl")
    elif name == "copied":
        auditor.dataset("copied", rows=20, prompt=lambda number: f"prompt {number + 30} of prompts")
    text = with_second_dataset(PERF_FIRST + caching_suite(AUDIT, "cache_after: 2"), name)
    with auditor.session(text) as run:
        auditor.perf("single-stream")
        measured = run("a")

    assert {"between-benchmarks", "cache-shared"} <= set(measured.summary.judgement.labels)
    assert "s/perf/single-stream may have sent the same samples" in measured.summary.detail.explanation, (
        measured.summary.judgement
    )


def test_a_benchmark_on_other_prompts_primes_nothing(auditor, caching_suite):
    auditor.dataset("other")
    text = with_second_dataset(PERF_FIRST + caching_suite(AUDIT), "other")
    with auditor.session(text) as run:
        auditor.perf("single-stream")
        measured = run("a")

    assert not {"between-benchmarks", "cache-shared"} & set(measured.summary.judgement.labels)
    assert measured.summary.detail.order == "no benchmark on its dataset"


def plan_of_two(auditor, text, audited, benchmarked):
    """The suite `s`, whose audit is looked at, and a suite `other` on the same file, each at an endpoint of its own."""
    files = []
    for suite, url in (("s", audited), ("other", benchmarked)):
        files.append(auditor.folder / f"{suite}.yaml")
        served = text.replace("endpoint: simulator", f"endpoint: {url}")
        files[-1].write_text(served.replace("suite: s", f"suite: {suite}"))
    return load_plan(files, vocabulary(BUILTIN), Overrides(), {}, root=auditor.folder)


@pytest.mark.parametrize(
    ("audited", "benchmarked", "shared"),
    [
        ("http://127.0.0.1:9", "http://several.test:9", True),
        ("http://several.test:9", "http://127.0.0.2:9/", True),
        ("http://several.test:9", "http://alias.test:9/", True),
        ("http://127.0.0.1:9", "http://several.test:10", False),
        ("http://127.0.0.1:9", "http://alias.test:9", False),
        ("http://127.0.0.1:9", "http://nowhere.test:9", False),
        ("http://127.0.0.1:9", "simulator", False),
    ],
)
def test_a_benchmark_that_may_reach_the_audited_server_by_any_of_its_addresses_shares_it(
    auditor, caching_suite, monkeypatch, audited, benchmarked, shared
):
    names = {"several.test": ("127.0.0.2", "127.0.0.1"), "alias.test": ("127.0.0.2",)}

    def look_up(host, port, *_, **__):
        if host.endswith(".test") and host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (found, port)) for found in names.get(host, (host,))
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    plan = plan_of_two(auditor, caching_suite("of: single-stream"), audited, benchmarked)
    with TokenizerPool(workers=1) as pool:
        session = SessionFacts(
            plan=plan,
            nonce="n",
            results=auditor.folder / "results",
            rerun=str,
        )
        resources = Resources(plan, pool)
        deployment = Deployment(
            plan=plan.deployments["s"],
            api=import_api("videos", BUILTIN["videos"]),
            targets=(Target(url=audited, address="127.0.0.1", port=9),),
            headers=read_headers({}, None, {}),
            identities=(),
        )
        sharing = find_earlier_points(session, resources, plan.point("s/audit/a"), deployment).sharing
    assert ("other/perf/offline" in sharing) is shared


def test_an_earlier_audit_on_the_same_prompts_by_another_name_may_have_primed_them(auditor, caching_suite):
    text = with_second_dataset(
        caching_suite(f"of: single-stream, samples: 4}}\n  b: {{test: output-caching, {AUDIT}"), "prompts"
    )
    with auditor.session(text) as run:
        first, second = run("a"), run("b")

    assert "cache-shared" not in first.summary.judgement.labels
    assert "cache-shared" in second.summary.judgement.labels


# Held against the leases of the session.

BENCHMARKS = ("s/perf/offline", "s/perf/single-stream")


def stated(*, sharing=BENCHMARKS, begun=(), order="before the benchmark"):
    return AuditDetail(order=order, before=Before(sharing=tuple(sharing), begun=tuple(begun)), result=None)


def said(auditor, caching_suite, *, sharing=BENCHMARKS, begun=(), order="before the benchmark", began=None):
    plan = auditor.plan(caching_suite("of: single-stream, samples: 4"))
    detail = stated(sharing=sharing, begun=begun, order=order)
    times = {"s/audit/a": 5, "s/perf/offline": 9, "s/perf/single-stream": 9} if began is None else began
    return list(contradictions(plan, plan.point("s/audit/a"), detail, times))


def test_an_order_that_agrees_with_the_leases_is_accepted(auditor, caching_suite):
    assert said(auditor, caching_suite) == []
    assert said(auditor, caching_suite, began={}) == []


@pytest.mark.parametrize(
    ("lie", "sentence"),
    [
        (
            {"began": {"s/audit/a": 5, "s/perf/offline": 2}},
            "offline began after the audit; its lease says before",
        ),
        (
            {"begun": BENCHMARKS, "order": "after the benchmark"},
            "began before the audit; its lease says after",
        ),
        ({"order": "after the benchmark"}, "from what ran before it follows 'before the benchmark'"),
        ({"sharing": BENCHMARKS[:1]}, "lacks s/perf/single-stream"),
    ],
)
def test_an_order_that_disagrees_with_leases_or_plan_is_reported(auditor, caching_suite, lie, sentence):
    assert any(sentence in found for found in said(auditor, caching_suite, **lie))


@pytest.mark.parametrize(
    ("benchmarked", "shared"),
    [("http://model.test", True), ("HTTP://Model.TEST:80/v2", True), ("https://model.test", False)],
)
def test_an_order_that_omits_the_same_server_by_another_url_is_reported(
    auditor, caching_suite, benchmarked, shared
):
    plan = plan_of_two(auditor, caching_suite("of: single-stream"), "http://model.test:80", benchmarked)
    found = list(contradictions(plan, plan.point("s/audit/a"), stated(), {}))
    assert any("lacks other/perf/offline" in sentence for sentence in found) is shared


@pytest.mark.parametrize(
    ("first", "count", "primed"),
    [(0, 5, True), (9, 1, True), (10, 40, True), (49, 5, True), (50, 10, False), (60, 10, False)],
)
def test_a_warm_up_primes_the_rows_it_sends_and_a_benchmark_those_it_measures(first, count, primed):
    share = Share(first=10, measured=40, warmup_first=0, warmup=10, shared=False)
    phase = AuditPhase(label="reference", requests=count, samples=SampleOrder(count=count, first=first))
    before = Before(sharing=("s/perf/p",), begun=("s/perf/p",))
    assert primed_by(phase, {"s/perf/p": share}, before) == (["s/perf/p"] if primed else [])
