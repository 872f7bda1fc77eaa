"""The public fixtures, as a user would use them."""

from __future__ import annotations

TESTS = """
    import httpx
    import pytest


    @pytest.mark.points("perf")
    def test_perf(run_load):
        run_load().require()


    @pytest.mark.parametrize("again", [1, 2])
    @pytest.mark.points("perf", judge=False)
    def test_the_measurement_can_be_read(measurement, point, again):
        assert measurement.point == point
        assert measurement.value("request_latency.p50") < 60e9
        assert measurement.violations("request_latency.p99 <= 60s", "failed_requests == 0") == ()


    @pytest.mark.points("perf", judge=False)
    def test_the_deployment_says_what_it_is(deployment, measurement):
        assert deployment.plan.model == "simulated"
        assert deployment.urls == measurement.summary.served


    @pytest.mark.points("perf", judge=False)
    def test_the_endpoint_answers(endpoint, measurement):
        assert httpx.get(endpoint + "/health", trust_env=False).status_code == 200


    @pytest.mark.points("perf", judge=False)
    def test_the_tokenizer_pool_is_shared(tokenizer_pool, measurement):
        assert tokenizer_pool is not None
"""


def test_each_public_fixture_is_there_for_test_functions(folder, workers):
    folder.write("bench/test_perf.py", TESTS)
    ran = folder.run(workers)
    ran.require(0, "pass", one="pass", two="pass")
    assert "12 passed" in ran.output


def test_a_requirement_that_is_not_met_shows_measured_required_and_where(folder):
    folder.write(
        "bench/test_perf.py",
        """
        import pytest

        @pytest.mark.points("perf")
        def test_perf(run_load):
            measured = run_load()
            assert measured.violations("request_latency.p99 >= 1h", "failed_requests == 0") == ()
        """,
    )
    ran = folder.run("-n0", "-k", "one")
    ran.require(1, "fail", one="fail")
    (line,) = [line for line in ran.output.splitlines() if line.startswith("E    ") and "required" in line]
    assert "request_latency.p99 is " in line
    assert "required >= 1h" in line
    assert "bench/test_perf.py:7" in line


def test_only_a_judging_function_can_run_a_point(folder):
    folder.write(
        "bench/test_perf.py",
        """
        import pytest

        @pytest.mark.points("perf", judge=False)
        def test_perf(run_load):
            run_load().require()
        """,
    )
    ran = folder.run("-n0", "-k", "one")
    assert ran.status == 1
    assert "`measurement`, or remove judge=False" in ran.output
    assert ran.verdict["status"] != "pass"


def test_a_marked_function_without_a_point_fixture_is_an_error_with_a_remedy(folder):
    folder.write("bench/test_perf.py", "import pytest\n@pytest.mark.points('perf')\ndef test_perf(): pass\n")
    ran = folder.run("-n0")
    assert ran.status not in {0, 5}
    assert "use the fixture `run_load`" in ran.output
    assert set(ran.outcomes.values()) == {"missing"}


def test_the_error_of_a_malformed_marker_shows_the_syntax(folder):
    folder.edit("bench/test_perf.py", 'points("perf")', 'points("perv")')
    ran = folder.run("-n0")
    assert ran.status not in {0, 5}
    assert "where kind is one of perf, audit, eval" in ran.output
    assert set(ran.outcomes.values()) == {"missing"}
