"""Ways in which single points stay green, or disappear, in plain pytest."""

from __future__ import annotations


def spoil(folder, decorator: str = "", body: str = "pass", before: str = "") -> None:
    folder.write(
        "bench/test_perf.py",
        f"""
import pytest
{before}

{decorator}
@pytest.mark.points("perf")
def test_perf(run_load, point{", value" if "parametrize" in decorator else ""}):
    measured = run_load()
    {body}
    measured.require()
""",
    )


def test_a_skipped_point_alone_makes_the_session_red(folder, workers):
    spoil(folder, "@pytest.mark.skip(reason='not today')")
    folder.run(workers).require(1, "error", one="error", two="error")


def test_a_point_that_is_expected_to_fail_alone_makes_the_session_red(folder, workers):
    spoil(folder, "@pytest.mark.xfail(strict=False)")
    folder.run(workers, "-k", "one").require(1, "error", one="error")


def test_an_empty_parameter_set_is_an_error(folder, workers):
    spoil(folder, "@pytest.mark.parametrize('value', [])")
    folder.run(workers).require(1, "error", one="error", two="error")


def test_importorskip_leaves_points_missing(folder, workers):
    spoil(folder, before="pytest.importorskip('no_such_module')")
    ran = folder.run(workers)
    ran.require(1, "incomplete", one="missing", two="missing")
    assert ran.reasons("tiny/perf/one") == ["not-collected"]


def test_two_judging_functions_for_a_point_are_an_error(folder, workers):
    spoil(folder)
    text = (folder.root / "bench/test_perf.py").read_text()
    folder.write("bench/test_more.py", text)
    ran = folder.run(workers, "-k", "one")
    assert (ran.status, ran.verdict["status"]) == (1, "error")
    assert "collected-twice" in ran.reasons("tiny/perf/one")
    assert "error" in ran.junit.values()


def test_a_point_that_is_run_twice_by_another_plugin_is_an_error(folder, workers):
    """As reruns do, however they are asked for."""
    folder.write(
        "conftest.py",
        """
        def pytest_runtest_protocol(item, nextitem):
            from _pytest.runner import runtestprotocol
            for _ in range(2):
                runtestprotocol(item, nextitem=nextitem, log=True)
            return True
        """,
    )
    ran = folder.run(workers, "-k", "one")
    ran.require(1, "error", one="error")


def test_evidence_that_is_touched_after_its_point_has_ended_makes_it_an_error(folder):
    folder.write(
        "bench/test_perf.py",
        """
        import pytest

        @pytest.mark.points("perf")
        def test_perf(run_load):
            run_load().require()

        @pytest.mark.points("perf", judge=False)
        def test_more(measurement, point):
            if point.name == "one":
                with (measurement.folder / "summary.json").open("a") as stream:
                    stream.write(" ")
        """,
    )
    ran = folder.run("-n0")
    ran.require(1, "error", one="error", two="pass")
    assert ran.reasons("tiny/perf/one") == ["evidence"]


def test_a_lone_surrogate_in_a_message_can_be_written_to_every_file(folder):
    spoil(folder, body="assert False, 'what a model said: ' + chr(0xD800)")
    folder.run("-n0", "-k", "one").require(1, "fail", one="fail")


def test_a_bound_that_is_not_met_fails_the_point_and_no_other(folder):
    text = (folder.root / "bench/tiny.yaml").read_text()
    folder.write("bench/tiny.yaml", text.replace('"<= 60s"', '">= 1h"', 1))
    folder.run("-n0").require(1, "fail", one="fail", two="pass")


CONFTEST = """
    import pytest

    MARKS = {
        "skip-mark": pytest.mark.skip(reason="only benchmarks"),  # as --benchmark-only does to all but its own
        "skipif-mark": pytest.mark.skipif(True, reason="not here"),
        "xfail-mark": pytest.mark.xfail(strict=False),
        "xfail-not-run": pytest.mark.xfail(run=False),
        "xfail-strict": pytest.mark.xfail(strict=True),
        "xfail-elsewhere": pytest.mark.xfail(False, reason="only there"),
    }

    def pytest_collection_modifyitems(items):
        for item in items:
            for name, mark in MARKS.items():
                if f"/{name}]" in item.name:
                    item.add_marker(mark)

    @pytest.fixture(autouse=True)
    def around(point):
        if point.name == "setup":
            raise RuntimeError("no setup")
        yield
        if point.name == "teardown":
            raise RuntimeError("no teardown")
"""

DEFECTS = """
    import os
    import pytest

    @pytest.mark.points("perf")
    def test_perf(run_load, point, request):
        if point.name == "unjudged":
            return
        measured = run_load()
        if point.name == "skip":
            pytest.skip("half way")
        if point.name == "xfail":
            pytest.xfail("so what")
        if point.name == "assertion":
            assert 1 == 2
        if point.name == "crash":
            raise RuntimeError("the test itself is broken")
        if point.name == "twice":
            run_load()
        measured.require()
"""


DEFECT_CODES = {
    "skip-mark": "skipped",
    "skipif-mark": "skipped",
    "xfail-mark": "xfail",
    "xfail-not-run": "xfail",
    "xfail-strict": "xfail",
    "xfail-elsewhere": "xfail",
    "setup": "setup-failed",
    "teardown": "teardown-failed",
    "unjudged": "unjudged",
    "skip": "skipped",
    "xfail": "xfail",
    "assertion": "test-failed",
    "crash": "test-failed",
    "twice": "test-failed",
}
FAILED = {"assertion", "crash", "twice"}


def test_each_defect_is_reported_only_for_its_point(folder, workers):
    folder.points = ("good", *DEFECT_CODES)
    folder.__post_init__()
    folder.write("bench/conftest.py", CONFTEST)
    folder.write("bench/test_perf.py", DEFECTS)
    ran = folder.run(workers)
    outcomes = {name: "fail" if name in FAILED else "error" for name in DEFECT_CODES}
    ran.require(1, "error", good="pass", **outcomes)
    for name, code in DEFECT_CODES.items():
        assert code in ran.reasons(f"tiny/perf/{name}"), name
