"""Performance points: load as the suite declares it, measured, and held against its bounds."""

from pytest_bench.perf.point import run_perf

__all__ = ["run_perf"]
