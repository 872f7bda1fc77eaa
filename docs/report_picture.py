"""Draw the top of a report page as a PNG: `python docs/report_picture.py report.html docs/report.png`.

Needs Debian's chromium and chromium-driver.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

WIDTH, HEIGHT, SCALE = 1440, 1560, 0.7


def picture(page: Path) -> bytes:
    """The top of the page as it looks in a light browser window."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for word in ("--headless=new", "--no-sandbox", "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}"):
        options.add_argument(word)
    with webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver")) as browser:
        browser.get(page.resolve().as_uri())
        WebDriverWait(browser, 60).until(
            lambda found: found.execute_script("return document.documentElement.dataset.ready")
        )
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT, "scale": SCALE}
        shot = browser.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
        )
    return base64.b64decode(shot["data"])


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_bytes(picture(source))
