"""What MLPerf's own checkers read of an export.

There are two. The checker of MLPerf Inference v6.1 (mlcommons/inference, `tools/submission/submission_checker`) is not
on a package index: its rules are written here, each with its source. That of MLPerf Endpoints
(`endpoints-submission-cli` on PyPI) runs in an environment of its own: `make checker`.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from audit_runs import run
from exported import exported_summary
from test_result_summary import MS, SECOND, request

from pytest_bench.audits import vbench
from pytest_bench.audits.artifacts import artifacts
from pytest_bench.audits.output_caching import OutputCaching, judge
from pytest_bench.audits.registry import SHIPPED
from pytest_bench.reports.mlperf import accuracy_results
from pytest_bench.reports.mlperf_rules import SAMPLE_INDEX_SEED, SCHEDULE_SEED, run_type
from pytest_bench.workload import Load

ROOT = Path(__file__).parents[2]


# MLPerf Inference v6.1, in the files' own words.

NAMES = {
    "TEST01": "accuracy_in_performance_test",
    "TEST04": "output_caching_test",
    "TEST06": "consistency_output_test",
    "TEST07": "accuracy_in_performance_full_test",
}
"""`constants.py`, ENDPOINTS_COMPLIANCE_MAPPING."""

RESULT = {
    "Offline": lambda summary: summary["n_samples_issued"] / (summary["duration_ns"] / 1e9),
    "SingleStream": lambda summary: summary["latency"]["avg"],
    "Server": lambda summary: summary["qps"],
}
"""`constants.py`, RESULT_FIELD_ENDPOINTS and ENDPOINTS_MAPPINGS; `endpoints_parser.py` infers Offline's."""

LOADS = {
    "Offline": Load(pattern="burst", requests=700),
    "SingleStream": Load(pattern="concurrency", concurrency=1, requests=700),
    "Server": Load(pattern="poisson", rate=1.0, requests=700),
}


def summary_of(scenario):
    apart = 0 if scenario == "Offline" else SECOND
    records = [request(index, index * apart, ((index + 1) * MS // 10,) * 2) for index in range(700)]
    return exported_summary(records, LOADS[scenario], {str(index): (9, 3) for index in range(700)})


@pytest.mark.parametrize(
    ("scenario", "inferred"), [("Offline", "Offline"), ("SingleStream", "SingleStream"), ("Server", "Server")]
)
def test_the_scenario_is_inferred_from_the_type(scenario, inferred):
    """`constants.py`, ENDPOINTS_YAML_FIELD_MAP: `type` is the scenario; `performance_check.py`,
    map_endpoints_scenario: the folder decides for SingleStream, and `online` is Server."""
    effective = run_type(scenario)
    mapped = "SingleStream" if scenario == "SingleStream" else {"online": "Server"}.get(effective, effective)

    assert mapped.lower() == scenario.lower()


@pytest.mark.parametrize("scenario", LOADS)
def test_the_result_of_each_scenario_is_found_and_is_what_we_measured(scenario):
    summary = summary_of(scenario)

    found = RESULT[scenario](summary)
    expected = {
        "Offline": summary["qps"],
        "SingleStream": summary["latency"]["total"] / 700,
        "Server": summary["qps"],
    }
    assert found == pytest.approx(expected[scenario])


@pytest.mark.parametrize("series", ["latency", "ttft", "tpot"])
@pytest.mark.parametrize("percentile", ["50.0", "90.0", "95.0", "99.0", "99.9"])
def test_early_stopping_estimates_stand_where_the_checker_reads_them(series, percentile):
    """`constants.py`, ENDPOINTS_MAPPINGS: `<series>.early_stopping_percentiles.<p>`; `llm_check` of
    `performance_check.py` rejects a Server result without the p99 of ttft and tpot."""
    estimates = summary_of("Server")[series]["early_stopping_percentiles"]

    assert percentile in estimates
    assert (estimates[percentile] is None) == (percentile == "99.9"), "which takes more than 700 requests"


@pytest.mark.parametrize("test", NAMES)
def test_audits_have_the_names_that_the_checker_looks_for(test):
    """`compliance_check.py`, compliance_endpoints_check: `audit/audit_<name>.json` with `test` and `passed`."""
    assert NAMES[test] in {audit.artifact for audit in SHIPPED}


@pytest.mark.parametrize("passed", [True, False])
def test_an_audit_says_whether_it_passed_as_the_checker_reads_it(passed):
    result = judge(
        run(rate=100), run("output_caching", rate=100 if passed else 200), threshold=0.1, sample_index=3
    )
    files = artifacts(OutputCaching(), result, order="before the benchmark")

    record = json.loads(files["audit_output_caching_test.json"])
    assert (record["test"], record["passed"]) == ("output_caching_test", passed)
    assert files["verify_OUTPUT_CACHING_TEST.txt"].decode() == f"Performance check pass: {passed}\n"


def test_the_seeds_are_those_that_the_checker_compares():
    """`constants.py`, "seeds" of v6.1; `loadgen/mlperf.conf`."""
    assert (SAMPLE_INDEX_SEED, SCHEDULE_SEED) == (2747215439041700203, 16159082839903944936)


# MLPerf Endpoints, by its own checker.

CHECKER = ROOT / ".checker" / "bin" / "python"

READ = """
import json, sys
from pathlib import Path
from submission_checker.models.loader import load_accuracy_result, load_result_summary

summary, problems = load_result_summary(Path(sys.argv[1]))
accuracy, more = load_accuracy_result(Path(sys.argv[2]))
print(json.dumps({
    "problems": [str(each) for each in (*problems, *more)],
    **{name: getattr(summary, name) for name in
       ("sample_count", "system_tps", "ttft_p90_ms", "tpot_p90_ms", "e2e_avg_interactivity")},
    "scores": accuracy.metric_scores(),
}))
"""


@pytest.fixture(scope="module")
def checker():
    if not CHECKER.exists() and "CI" not in os.environ:
        pytest.skip("run: make checker")
    return str(CHECKER)


def test_mlperf_endpoints_checker_reads_the_numbers_that_we_measured(checker, tmp_path):
    summary = summary_of("SingleStream")
    scores = {name: [0.7, [{}] * 248] for name in vbench.DIMENSIONS}
    result = vbench.judge(
        vbench.read_result(json.dumps(scores).encode()), minimum=69.7752, expected_videos=248
    )
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "accuracy.json").write_text(json.dumps(accuracy_results(result.details)))
    done = subprocess.run(
        [checker, "-c", READ, str(tmp_path / "summary.json"), str(tmp_path / "accuracy.json")],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )

    read = json.loads(done.stdout)
    assert read["problems"] == []
    assert read["sample_count"] == 700
    assert read["system_tps"] == pytest.approx(summary["tps"])
    assert read["ttft_p90_ms"] == summary["ttft"]["percentiles"]["90.0"] / 1e6
    assert read["tpot_p90_ms"] == summary["tpot"]["percentiles"]["90.0"] / 1e6
    assert read["e2e_avg_interactivity"] == pytest.approx(
        summary["output_sequence_lengths"]["total"] / (summary["latency"]["total"] / 1e9)
    )
    assert read["scores"] == {"vbench": {"score": pytest.approx(70.0)}}


def test_the_seeds_that_mlperf_endpoints_publishes_can_be_set_in_a_suite(checker, auditor, caching_suite):
    script = "import submission_checker, pathlib; print(pathlib.Path(submission_checker.__file__).parent)"
    folder = subprocess.run(
        [checker, "-c", script], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    published = yaml.safe_load((Path(folder.strip()) / "data" / "seed_sets.yaml").read_text())
    for seeds in published["cohort"]["seed_sets"]:
        text = caching_suite().replace(
            "load: {pattern: concurrency, concurrency: 1, requests: 12}",
            "load: {pattern: concurrency, concurrency: 1, requests: 12}\n"
            f"    arrival_seed: {seeds['scheduler_rng_seed']}\n"
            f"    order: {{seed: {seeds['sample_index_rng_seed']}}}",
        )
        point = auditor.plan(text).point("s/perf/single-stream")
        assert (point.arrival_seed, point.samples.seed) == (
            seeds["scheduler_rng_seed"],
            seeds["sample_index_rng_seed"],
        )
