"""Rules of MLPerf Inference v6.1 for submissions that were measured over endpoints.

Source, if not stated otherwise: mlcommons/inference, `tools/submission/submission_checker/constants.py`, "v6.1".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

SAMPLE_INDEX_SEED = 2747215439041700203
SCHEDULE_SEED = 16159082839903944936
MINIMUM_DURATION_MS = 600_000

MODELS: tuple[str, ...] = (
    "wan-2.2-t2v-a14b",
    "qwen3-vl-235b-a22b",
    "qwen3.6-27b",
    "llama3.1-8b",
    "llama3.1-8b-edge",
    "gpt-oss-120b",
    "deepseek-r1",
)
"""Benchmarks that may be submitted with results of endpoints (`ENDPOINTS_ALLOWED_MODELS`)."""

MINIMUM_REQUESTS: dict[str, dict[str, int]] = {
    "wan-2.2-t2v-a14b": {"Offline": 248, "SingleStream": 50},
    "qwen3-vl-235b-a22b": {"Offline": 48289},
    "qwen3.6-27b": {"SingleStream": 995},
    "llama3.1-8b": {"Offline": 13368},
    "llama3.1-8b-edge": {"Offline": 5000, "SingleStream": 1024},
    "gpt-oss-120b": {"Offline": 6396},
    "deepseek-r1": {"Offline": 4388},
}
"""By benchmark and scenario: "min-queries"; of Offline `loadgen/mlperf.conf`, or the size of the dataset."""

REQUIRED_AUDITS: dict[str, str] = {"wan-2.2-t2v-a14b": "output_caching_test"}
"""Audits whose file must exist (`compliance_check.py`, `endpoint_audit_file_required`)."""


def run_type(scenario: str) -> str:
    """`type` in config.yaml, from which the checker infers the scenario (`ENDPOINTS_YAML_FIELD_MAP`)."""
    return "offline" if scenario == "Offline" else "online"


def shortcomings(
    benchmark: str,
    scenario: str,
    *,
    config: Mapping[str, Any],
    summary: Mapping[str, Any],
    audits: Collection[str],
    scored: bool,
) -> Iterator[str]:
    """Why MLPerf's submission checker rejects a result, or MLPerf's rules do.

    `config` and `summary` are the contents of config.yaml and result_summary.json, `audits` the names of the exported
    audits, `scored` whether there are accuracy results.
    """
    if benchmark not in MODELS:
        yield f"benchmark {benchmark!r} is not one of {', '.join(MODELS)}; give its name with --benchmark"
    yield from _of_settings(config["settings"]["runtime"])
    yield from _of_measurement(benchmark, scenario, summary)
    required = REQUIRED_AUDITS.get(benchmark)
    if required is not None and required not in audits:
        yield f"the audit {required} is required and was not exported"
    if not scored:
        yield "there are no accuracy results"


def _of_settings(runtime: Mapping[str, Any]) -> Iterator[str]:
    for name, seed in (
        ("dataloader_random_seed", SAMPLE_INDEX_SEED),
        ("scheduler_random_seed", SCHEDULE_SEED),
    ):
        if runtime[name] != seed:
            yield f"{name} is {runtime[name]}; MLPerf's is {seed} (configs/mlperf-wan22.yaml sets both)"
    if runtime["min_duration_ms"] < MINIMUM_DURATION_MS:
        lasted_s = runtime["min_duration_ms"] / 1000
        yield f"the run lasted {lasted_s:g} s; at least {MINIMUM_DURATION_MS // 1000} s is required"


def _of_measurement(benchmark: str, scenario: str, summary: Mapping[str, Any]) -> Iterator[str]:
    completed = summary["n_samples_completed"]
    least = MINIMUM_REQUESTS.get(benchmark, {}).get(scenario, 0)
    if completed < least:
        yield f"{completed} requests completed; at least {least} are required"
    for name in ("ttft", "tpot") if scenario == "Server" else ():
        if summary[name].get("early_stopping_percentiles", {}).get("99.0") is None:
            yield f"{name} has no early-stopping estimate of p99, which takes at least 662 requests with a value"
