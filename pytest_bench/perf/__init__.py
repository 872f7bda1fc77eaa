"""Performance points: drives the load that the suite declares, measures it, and judges its bounds."""

from pytest_bench.perf.point import run_perf

__all__ = ["run_perf"]
