"""`pytest-bench report`: what the page says without a browser, and which folders it refuses."""

import html
import re
import shutil
import sys


def without_scripts(page):
    return re.sub(r"<(script|style)[ >].*?</\1>", "", page.read_text(), flags=re.DOTALL)


def text_of(page):
    """The page without its scripts, styles and tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", without_scripts(page))).split())


def test_the_page_is_one_small_file_that_fetches_nothing(pages):
    assert (pages / "one.html").stat().st_size < 3_000_000
    markup = without_scripts(pages / "one.html")
    assert "default-src 'none'" in html.unescape(markup)
    assert not re.search(r"<(link|img|iframe|object|embed)|\ssrc=|url\(", markup)
    assert not re.search(r'href="(https?:)?//', markup)


def test_the_verdict_and_its_reasons_come_first(pages):
    text = text_of(pages / "one.html")
    reason = "broken/perf/failing: fail:"
    assert text.index("fail first") < text.index(reason) < text.index(" Results perf")
    for place in ("Client health", "Environment", "Suites as resolved", "Evidence"):
        assert place in text.partition(reason)[2]


def test_two_sessions_are_laid_over_each_other_and_what_changed_is_named(pages):
    text = text_of(pages / "two.html")
    assert "load.deployment.simulator.ttft_ms 5 9" in text
    assert "sums.deployment.answers_contents" in text
    assert "The environments do not differ." in text


def test_a_folder_that_does_not_verify_is_named_and_enters_nothing(report, first, second, tmp_path):
    damaged = shutil.copytree(second, tmp_path / "damaged")
    log = damaged / "points/load/perf/steady/c0001/phases/measured/requests.0.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"status":200', b'"status":201', 1))
    status, page, said = report(first, damaged)
    assert status == 1
    assert f"does not verify: {damaged}: points/load/perf/steady/c0001" in said
    text = text_of(page)
    assert "these folders do not verify" in text
    assert "What differs" not in text


def test_no_page_is_written_if_no_folder_verifies(report, first, tmp_path):
    damaged = shutil.copytree(first, tmp_path / "damaged")
    (damaged / "points/load/perf/steady/c0001/summary.json").unlink()
    status, page, said = report(damaged)
    assert status == 1
    assert "does not verify" in said
    assert not page.exists()


def test_folders_that_hold_no_session_are_refused(report, first, tmp_path):
    for folder, sentence in (
        (tmp_path, "holds no results of a session"),
        (tmp_path / "nothing", "is not a folder"),
    ):
        status, page, said = report(folder)
        assert status == 2
        assert sentence in said
        assert not page.exists()
    status, _, said = report(first, first)
    assert (status, "named twice" in said) == (2, True)


def test_a_missing_plotting_library_is_named_with_its_remedy(report, first, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    status, page, said = report(first)
    assert status == 2
    assert "pip install 'pytest-inference-bench[report]'" in said
    assert not page.exists()


def test_the_page_holds_the_licences_of_what_it_includes(pages):
    licences = text_of(pages / "one.html").partition("Licences of what this page includes")[2]
    assert {name for name in ("Simple.css", "vega-lite", "d3-array") if name not in licences} == set()
