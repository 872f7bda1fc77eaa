"""One test an audit point of this folder's suites."""

import pytest


@pytest.mark.points("audit")
def test_audit(run_load):
    run_load().require()
