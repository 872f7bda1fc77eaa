"""Load workers run on the CPUs that a run gives them."""

import os

import pytest
from driving import workers_of

from pytest_bench.workload import Load


def test_load_workers_do_not_use_cpus_that_are_reserved_for_others(simulator, drive):
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        pytest.skip("needs two CPUs")
    seen = set()

    def look(_progress):
        seen.update(frozenset(os.sched_getaffinity(pid)) for pid in workers_of(os.getpid()))

    load = Load(pattern="concurrency", concurrency=2, duration_s=0.7)
    drive(simulator.url, load, on_progress=look, cpus=tuple(others), knobs={"ttft_ms": 20})
    assert seen == {frozenset(others)}
    assert os.sched_getaffinity(0) == {first, *others}
