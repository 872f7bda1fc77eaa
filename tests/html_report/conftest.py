"""Sessions to report on, and a real browser to read the page with."""

from __future__ import annotations

import os
import shutil

import page_bench
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

from pytest_bench.cli import main


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    root.chmod(0o700)
    return root


@pytest.fixture(scope="session")
def first(bench):
    """A session in which one suite fails. Never altered."""
    page_bench.write_suites(bench, ttft_ms=5, answers=page_bench.ANSWERS)
    return page_bench.run_session(bench, "first")[0]


@pytest.fixture(scope="session")
def second(bench, first):
    """The same with a slower server, and another answer to one item. Never altered."""
    answers = {**page_bench.ANSWERS, "sum-4": {"content": "#### 7"}}
    page_bench.write_suites(bench, ttft_ms=9, answers=answers)
    return page_bench.run_session(bench, "second")[0]


@pytest.fixture(scope="session")
def pages(bench, first, second):
    """The page of one session, `one.html`, and that of both, `two.html`."""
    assert main(["report", str(first), "-o", str(bench / "one.html")]) == 0
    assert main(["report", str(first), str(second), "-o", str(bench / "two.html")]) == 0
    return bench


@pytest.fixture
def report(capsys, tmp_path):
    """`pytest-bench report` in this process: its exit status, the page, and all that was said."""

    def call(*words):
        page = tmp_path / "report.html"
        status = main(["report", *map(str, words), "-o", str(page)])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return status, page, said.out + said.err

    return call


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium. CI requires one."""
    driver, browser = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or browser is None:
        if os.environ.get("CI"):
            pytest.fail("these tests need Chromium: apt-get install chromium chromium-driver")
        pytest.skip("no Chromium: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=Service(driver)) as found:
        yield found


@pytest.fixture
def opened(chromium):
    """Open a page from disk, wait until its script is done, and return the browser."""

    def call(page, *, width=1280, dark=False):
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [scheme]})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        chromium.get_log("browser")
        chromium.get(page.as_uri())
        WebDriverWait(chromium, 60).until(
            lambda browser: browser.execute_script(
                "return document.documentElement.dataset.ready === 'true'"
                " || !document.getElementById('trouble').hidden"
            )
        )
        assert chromium.execute_script("return document.getElementById('trouble').textContent") == ""
        return chromium

    return call
