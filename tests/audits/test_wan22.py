"""WAN2.2: the shipped suite, MLPerf's configuration, and the ways in which servers answer."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from audit_runs import DECISIVE_MS

import pytest_bench
from pytest_bench.api import BUILTIN
from pytest_bench.catalogue import vocabulary
from pytest_bench.errors import DatasetError, SuiteError
from pytest_bench.reports.mlperf_rules import SAMPLE_INDEX_SEED, SCHEDULE_SEED
from pytest_bench.running.samples import share_out
from pytest_bench.suite.context import Overrides
from pytest_bench.suite.loading import load_plan

ROOT = Path(pytest_bench.__file__).parents[1]
PROMPTS = ROOT / "suites" / "data" / "wan22-prompts.jsonl"


# What ships.


@pytest.fixture(scope="module")
def shipped():
    words = vocabulary(BUILTIN)
    return load_plan(
        [ROOT / "suites" / "wan22.yaml"], words, Overrides(endpoints=("simulator",)), {}, root=ROOT
    )


def test_both_scenarios_are_audited_before_they_are_measured_and_labelled_unofficial(shipped):
    assert [
        (
            point.name,
            point.load.pattern,
            point.load.requests,
            point.options.get("sample_index"),
            point.options.get("threshold"),
            point.minimum_duration_s,
        )
        for point in shipped.points
    ] == [
        ("output-caching-offline", "burst", 144, 3, 0.10, 600),
        ("output-caching-single-stream", "concurrency", 20, 3, 0.20, 600),
        ("offline", "burst", 144, None, None, None),
        ("single-stream", "concurrency", 20, None, None, None),
    ]
    assert all(point.unofficial for point in shipped.points)


@pytest.fixture
def official(auditor):
    """The shared configuration in a suite with 248 prompts."""
    auditor.dataset(rows=248)
    shared = (ROOT / "configs" / "mlperf-wan22.yaml").read_text()
    (auditor.folder / "mlperf-wan22.yaml").write_text(shared)
    return auditor.plan(
        "suite: wan22-official\n"
        "include: [mlperf-wan22.yaml]\n"
        "deployment: {api: videos, model: wan-2.2-t2v-a14b, endpoint: simulator, cache_reset: /reset}\n"
        "datasets: {prompts: {path: prompts.jsonl}}\n"
    )


def test_the_official_configuration_has_mlperfs_counts_seeds_and_durations(official):
    """`loadgen/mlperf.conf` and "min-queries" of v6.1: 248 in Offline; 50 in SingleStream, where an early-stopped p90
    takes 64."""
    assert {
        (
            point.name,
            point.load.pattern,
            point.load.requests,
            point.options.get("threshold"),
            point.minimum_duration_s,
            point.arrival_seed,
            point.samples.seed,
            point.unofficial,
        )
        for point in official.points
    } == {
        (name, pattern, requests, threshold, 600, SCHEDULE_SEED, SAMPLE_INDEX_SEED, False)
        for name, pattern, requests, threshold in (
            ("offline", "burst", 248, None),
            ("single-stream", "concurrency", 64, None),
            ("output-caching-offline", "burst", 248, 0.10),
            ("output-caching-single-stream", "concurrency", 64, 0.20),
        )
    }


def with_seed(text, seed):
    return text.replace(
        "requests: 12}", f"requests: 12}}\n    arrival_seed: {seed}\n    order: {{seed: {seed}}}"
    )


@pytest.mark.parametrize("seed", [SAMPLE_INDEX_SEED, SCHEDULE_SEED, 2**64 - 1])
def test_seeds_of_64_bits_drive_a_phase(auditor, caching_suite, seed):
    with auditor.session(with_seed(caching_suite(), seed)):
        measured = auditor.perf("single-stream")

    assert measured.measurement.succeeded == 12
    assert (measured.point.arrival_seed, measured.point.samples.seed) == (seed, seed)


def test_a_larger_seed_is_refused_in_the_suite_and_on_the_command_line(auditor, caching_suite):
    with pytest.raises(SuiteError, match="arrival_seed"):
        auditor.plan(with_seed(caching_suite(), 2**64))
    suite = auditor.folder / "seeded.yaml"
    suite.write_text(caching_suite())
    with pytest.raises(SuiteError, match=r"--load-seed is 18446744073709551616; expected .* 2\^64 - 1"):
        load_plan([suite], vocabulary(BUILTIN), Overrides(load_seed=2**64), {}, root=auditor.folder)


def test_a_point_that_is_declared_unofficial_is_labelled_and_so_is_its_audit(auditor, caching_suite):
    text = caching_suite("of: single-stream, samples: 4").replace(
        "requests: 12}", "requests: 12}\n    unofficial: true"
    )
    with auditor.session(text) as run:
        judgements = [run("a").summary.judgement, auditor.perf("single-stream").summary.judgement]

    assert all("unofficial" in judgement.labels for judgement in judgements)


def test_there_are_enough_prompts_for_every_point_to_have_its_own_and_some_to_warm_up(shipped):
    rows = [json.loads(line) for line in PROMPTS.read_text().splitlines()]

    assert all(row.keys() == {"prompt", "negative_prompt"} for row in rows)
    assert len({row["prompt"] for row in rows}) == len(rows) >= 144 + 1
    shares = share_out(shipped.points, len(rows))
    assert not any(shares[point.id].shared for point in shipped.points)
    used = sum({(share.first, share.measured): share.measured for share in shares.values()}.values())
    assert used < len(rows)


def test_mlperfs_latency_limits_are_bounds_that_a_suite_can_use(auditor, caching_suite):
    limits = (ROOT / "configs" / "mlperf-latency.yaml").read_text()
    (auditor.folder / "limits.yaml").write_text(limits)
    names = re.findall(r"^  (mlperf-[a-z0-9-]+):", limits, re.MULTILINE)

    for name in names:
        suite = caching_suite().replace("requests: 12}", f"requests: 12}}\n    bounds: {{use: [{name}]}}")
        plan = auditor.plan(f"include: [limits.yaml]\n{suite}")
        (point,) = (point for point in plan.points if point.id == "s/perf/single-stream")
        assert [bound.metric for bound in point.bounds] == [
            "scheduled_time_to_first_token.p99",
            "time_per_output_token.p99",
        ]
    assert len(names) == 11


# What is refused.


def test_a_column_that_the_api_does_not_know_is_refused_before_the_first_request(auditor, caching_suite):
    auditor.dataset(prompt=lambda number: f"prompt {number}", negative_promt=lambda _: "blur")

    with (
        auditor.session(caching_suite()) as run,
        pytest.raises(DatasetError, match="unknown column 'negative_promt'"),
    ):
        run("a")

    assert auditor.requests() == []


def test_a_stream_of_videos_is_refused(auditor, caching_suite):
    with pytest.raises(SuiteError, match="the API 'videos' has no streams"):
        auditor.plan(caching_suite().replace("  model: m", "  model: m\n  generation: {stream: true}"))


def test_a_restart_as_cache_reset_is_refused(auditor, caching_suite):
    for asked in ("restart", "{container: restart}"):
        with pytest.raises(SuiteError, match=r"6:16: .*'/', for a POST; a server cannot be restarted"):
            auditor.plan(caching_suite().replace("  model: m", f"  model: m\n  cache_reset: {asked}"))


# What is measured.


def test_videos_a_second_and_seconds_of_video_a_second_are_measured(auditor, caching_suite):
    with auditor.session(caching_suite()):
        measured = auditor.perf("single-stream")

    rate = measured.value("request_throughput")
    assert measured.value("video_throughput") == rate
    assert measured.value("video_seconds_throughput") == pytest.approx(5 * rate)
    assert measured.value("server_inference_time.p50") == pytest.approx(12e6)
    assert measured.value("request_latency.p50") >= 12e6


@pytest.mark.parametrize(
    ("reply", "generation"),
    [("as_asked", "video_path"), ("as_asked", "video_bytes"), ("raw", "video_path"), ("job", "video_path")],
)
@pytest.mark.parametrize(("cache", "outcome"), [("cache_after: 2", "fail"), ("cache_after: 0", "pass")])
def test_a_cache_is_found_however_the_server_answers(
    auditor, caching_suite, reply, generation, cache, outcome
):
    """Of jobs, the time between two looks bounds the error of their latencies, and is told."""
    text = caching_suite(
        "of: single-stream, threshold: 0.6", f"{cache}, video_reply: {reply}", DECISIVE_MS
    ).replace(
        "  model: m",
        "  model: m\n  poll_interval_s: 0.002\n"
        f"  generation: {{extra_body: {{response_format: {generation}}}}}",
    )

    measured = auditor.audit(text)

    assert measured.outcome == outcome, measured.report()
    assert measured.summary.detail.poll_interval_s == 0.002
    stored = list(measured.folder.glob("phases/*/attachments/*.mp4"))
    assert len(stored) == (24 if reply == "raw" or generation == "video_bytes" else 0)
    assert all(video.read_bytes()[4:8] == b"ftyp" for video in stored)
