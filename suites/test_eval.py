"""One test an eval point of this folder's suites."""

import pytest


@pytest.mark.points("eval")
def test_eval(run_load):
    run_load().require()
