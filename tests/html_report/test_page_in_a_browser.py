"""The page in a real browser, opened from disk."""

import base64

import pytest
from page_bench import HOSTILE
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait


def drawn(browser):
    """Captions of the plots that have marks in them, and the number of all plots."""
    return browser.execute_script(
        "const all = [...document.querySelectorAll('figure.plot')];"
        "const full = all.filter((figure) => [...figure.querySelectorAll('svg .mark-line path, svg .mark-symbol path,"
        " svg .mark-rect path')].some((mark) => mark.getBoundingClientRect().width > 0));"
        "return [full.map((figure) => figure.querySelector('figcaption').textContent), all.length]"
    )


def listed(browser):
    return [item.text for item in browser.find_elements(By.CSS_SELECTOR, "#list summary")]


def kinds(captions):
    known = (
        "Throughput against interactivity",
        "Time to first token against",
        "Request rates",
        "Score of each",
        "Cumulative distribution of TTFT",
        "Cumulative distribution of latency",
        "Requests in flight",
        "Requests that succeeded",
        "Requests that failed",
        "TTFT by the time",
        "What the servers",
    )
    return [name for name in known if not any(caption.startswith(name) for caption in captions)]


@pytest.mark.parametrize("name", ["one.html", "two.html"])
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_every_plot_is_drawn_and_the_console_stays_empty(pages, opened, name, width, dark):
    browser = opened(pages / name, width=width, dark=dark)
    captions, all_plots = drawn(browser)
    assert len(captions) == all_plots
    assert kinds(captions) == []
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


def test_text_and_plots_are_legible_on_a_dark_ground(pages, opened):
    browser = opened(pages / "one.html", dark=True)
    light, dark = browser.execute_script(
        "const brightness = (colour) => colour.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0);"
        "const label = document.querySelector('figure.plot svg text');"
        "return [brightness(getComputedStyle(label).fill), brightness(getComputedStyle(document.body).backgroundColor)]"
    )
    assert light > 500 > 200 > dark


def test_the_page_prints_on_white_with_its_plots(pages, opened):
    browser = opened(pages / "one.html", dark=True)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert (
        browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        == "rgb(255, 255, 255)"
    )
    assert browser.execute_script("return getComputedStyle(document.querySelector('nav')).display") == "none"
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")


def test_hostile_output_is_shown_as_text_and_never_runs(pages, opened):
    browser = opened(pages / "one.html")
    title = browser.title
    entry = next(
        item for item in browser.find_elements(By.CSS_SELECTOR, "#list summary") if "sum-1" in item.text
    )
    entry.send_keys(Keys.ENTER)
    # The browser reports the opening later, and the script fills the entry then.
    texts = WebDriverWait(browser, 60).until(
        lambda _: browser.find_elements(By.CSS_SELECTOR, "#list details[open] pre")
    )
    shown = [item.text for item in texts]
    expected = HOSTILE
    for letter in "\x1b\x07\u2028\u202e":
        expected = expected.replace(letter, f"\u27e8U+{ord(letter):04X}\u27e9")
    assert expected in shown
    assert browser.title == title
    assert not browser.find_elements(By.CSS_SELECTOR, "#list img, #list script")
    assert browser.get_log("browser") == []


def test_an_injected_script_would_be_stopped_by_the_policy(pages, opened):
    browser = opened(pages / "one.html")
    browser.execute_script(
        "const injected = document.createElement('div');"
        "injected.innerHTML = '<img src=x onerror=\"document.title=1\">';"
        "document.body.append(injected);"
        "const script = document.createElement('script');"
        "script.textContent = 'document.title = 2'; document.body.append(script);"
    )
    assert browser.title.startswith("first")
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))


def test_filters_work_from_the_keyboard(pages, opened):
    browser = opened(pages / "one.html")
    everything = listed(browser)
    box = browser.find_element(By.CSS_SELECTOR, "#filters input[value=truncated]")
    browser.find_element(By.ID, "filter-text").send_keys(Keys.TAB)
    for _ in range(2):
        browser.switch_to.active_element.send_keys(Keys.TAB)
    assert browser.switch_to.active_element == box
    box.send_keys(Keys.SPACE)
    truncated = listed(browser)
    assert [entry.partition(" ")[2].split()[0] for entry in truncated] == ["sum-2", "sum-2"]
    assert "2 of" in browser.find_element(By.ID, "count").text
    box.send_keys(Keys.SPACE)
    assert listed(browser) == everything
    browser.find_element(By.ID, "filter-text").send_keys("twice 3")
    assert {entry.split()[1] for entry in listed(browser)} == {"sum-3"}
    first = browser.find_element(By.CSS_SELECTOR, "#list summary")
    first.send_keys(Keys.ENTER)
    WebDriverWait(browser, 60).until(
        lambda _: "attempts: 2" in browser.find_element(By.CSS_SELECTOR, "#list details[open]").text
    )


@pytest.mark.parametrize(
    ("mark", "items"),
    [
        ("wrong", {"sum-1", "sum-2", "sum-4"}),
        ("failed", {"sum-3", "request"}),
        ("flipped", {"sum-4"}),
        ("unscored", set()),
    ],
)
def test_a_filter_keeps_what_its_name_says(pages, opened, mark, items):
    browser = opened(pages / "two.html")
    browser.find_element(By.CSS_SELECTOR, f"#filters input[value={mark}]").send_keys(Keys.SPACE)
    assert {entry.split(": ")[2].split()[0] for entry in listed(browser)} == items


def test_a_point_can_be_chosen(pages, opened):
    browser = opened(pages / "one.html")
    browser.find_element(By.ID, "filter-point").send_keys("sums/eval/sums/c0002")
    assert {entry.partition(":")[0] for entry in listed(browser)} == {"sums/eval/sums/c0002"}


def test_links_to_evidence_lead_to_its_files(pages, opened):
    browser = opened(pages / "one.html")
    addresses = browser.execute_script(
        "return [...document.querySelectorAll('.links a')].map((link) => link.href)"
    )
    assert len(addresses) > 40
    browser.get(next(address for address in addresses if address.endswith("c0001/summary.json")))
    assert "load/perf/steady/c0001" in browser.page_source
