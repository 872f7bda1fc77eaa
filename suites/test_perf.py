"""One test a performance point of this folder's suites."""

import pytest


@pytest.mark.points("perf")
def test_perf(run_load):
    run_load().require()
