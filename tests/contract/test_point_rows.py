"""Ways in which single points stay green, or vanish, in pytest alone."""

from __future__ import annotations

import pytest

SPOILT = {
    "skip-mark": "@pytest.mark.skip(reason='not today')",
    "skipif-mark": "@pytest.mark.skipif(True, reason='not here')",
    "xfail-mark": "@pytest.mark.xfail(strict=False)",
    "xfail-not-run": "@pytest.mark.xfail(run=False)",
    "empty-parameters": "@pytest.mark.parametrize('value', [])",
}


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


@pytest.mark.parametrize("name", ["skip-mark", "skipif-mark", "xfail-mark", "xfail-not-run"])
def test_a_marked_point_is_an_error(folder, name):
    spoil(folder, SPOILT[name])
    folder.run("-n0").require(1, "error", one="error", two="error")


def test_an_empty_parameter_set_is_an_error(folder):
    spoil(folder, SPOILT["empty-parameters"])
    folder.run("-n0").require(1, "error", one="error", two="error")


def test_importorskip_leaves_points_missing(folder):
    spoil(folder, before="pytest.importorskip('no_such_module')")
    ran = folder.run("-n0")
    ran.require(1, "error", one="missing", two="missing")
    assert ran.reasons("tiny/perf/one") == ["not-collected"]


@pytest.mark.parametrize(
    ("body", "code"), [("pytest.skip('half way')", "skipped"), ("pytest.xfail('so what')", "xfail")]
)
def test_a_point_that_gives_up_while_it_runs_is_an_error(folder, body, code):
    spoil(folder, body=body)
    ran = folder.run("-n0", "-k", "one")
    ran.require(1, "error", one="error")
    assert code in ran.reasons("tiny/perf/one")


def test_another_plugins_skips_are_errors(folder):
    """As `--benchmark-only` does to everything that is no benchmark of its own."""
    folder.write(
        "conftest.py",
        """
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker(pytest.mark.skip(reason="only benchmarks"))
        """,
    )
    folder.run("-n0").require(1, "error", one="error", two="error")


def test_a_point_that_its_function_never_runs_is_an_error(folder):
    folder.write(
        "bench/test_perf.py",
        """
        import pytest

        @pytest.mark.points("perf")
        def test_perf(run_load):
            pass
        """,
    )
    ran = folder.run("-n0")
    ran.require(1, "error", one="error", two="error")
    assert ran.reasons("tiny/perf/one") == ["unjudged"]


def test_two_judging_functions_for_a_point_are_an_error(folder):
    spoil(folder)
    text = (folder.root / "bench/test_perf.py").read_text()
    folder.write("bench/test_more.py", text)
    ran = folder.run("-n0", "-k", "one")
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


def test_a_failed_assertion_beside_the_bounds_fails_the_point(folder):
    spoil(folder, body="assert 1 == 2")
    ran = folder.run("-n0")
    ran.require(1, "fail", one="fail", two="fail")
    assert ran.reasons("tiny/perf/one") == ["test-failed"]


def test_a_bound_that_is_not_met_fails_the_point_and_no_other(folder, workers):
    folder.edit("bench/tiny.yaml", "one:\n    dataset", "one:\n    slo: {request_latency: 1ms}\n    dataset")
    folder.write(
        "bench/tiny.yaml",
        (folder.root / "bench/tiny.yaml")
        .read_text()
        .replace('"<= 60s"', '"<= 1us"', 1)
        .replace("1ms", '"<= 1ms"'),
    )
    ran = folder.run(workers)
    ran.require(1, "fail", one="fail", two="pass")
    text = ran.junit_text
    assert "required &lt;= 1us (bench/tiny.yaml:" in text
    assert "declared at bench/tiny.yaml:" in text
    assert "evidence: " in text
    assert "again: pytest bench -k tiny/perf/one" in text


FIXTURES = """
    import pytest

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


def test_every_defect_is_told_of_its_own_point_under_xdist_too(folder, tmp_path, endpoint, workers):
    names = ("good", "setup", "teardown", "unjudged", "skip", "xfail", "assertion", "crash", "twice")
    folder.points = names
    folder.__post_init__()
    folder.write("bench/conftest.py", FIXTURES)
    folder.write("bench/test_perf.py", DEFECTS)
    ran = folder.run(workers)
    failed = {"good": "pass", "assertion": "fail", "crash": "fail", "twice": "fail"}
    ran.require(1, "error", **{name: failed.get(name, "error") for name in names})
    expected = {
        "setup": "setup-failed",
        "teardown": "teardown-failed",
        "unjudged": "unjudged",
        "skip": "skipped",
        "xfail": "xfail",
        "assertion": "test-failed",
        "crash": "test-failed",
        "twice": "test-failed",
    }
    for name, code in expected.items():
        assert code in ran.reasons(f"tiny/perf/{name}"), name
