"""A real browser without a screen, for pages: Debian's Chromium, steered by Selenium."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

#: Nothing of its own leaves the machine.
_ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,900",
    "--force-color-profile=srgb", "--hide-scrollbars",
)  # fmt: skip


@contextmanager
def browsing() -> Iterator[Chrome]:
    """A browser with an empty profile; the test is skipped where there is none."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no browser: apt install chromium chromium-driver")
    options = Options()
    options.binary_location = browser
    for argument in _ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = Chrome(options=options, service=Service(driver))
    try:
        yield made
    finally:
        made.quit()


def complaints(browser: Chrome) -> list[str]:
    """What went wrong on pages since the last time; advice of the browser's makers is none."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def asked(browser: Chrome) -> set[str]:
    """Every address that pages asked for since the last time."""
    found = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            found.add(message["params"]["request"]["url"])
    return found


def dress(browser: Chrome, scheme: str) -> None:
    """Make the system ``light`` or ``dark``, as far as pages see it."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


#: Texts with less contrast to what is behind them than WCAG 2.2 asks for (1.4.3): 4.5, and 3 where they are large.
_FAINT = """
const linear = (part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
const parts = (text) => text.match(/[0-9.]+/g).map(Number);
const light = (text) => {
  const [r, g, b] = parts(text).slice(0, 3).map((part) => linear(part / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (one) => {
  for (let at = one; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (parts(colour).length < 4 || parts(colour)[3] > 0) return colour;
  }
  throw new Error("nothing is behind it");
};
const speaks = (one) => [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
const found = [];
for (const one of document.querySelectorAll("main *")) {
  if (one.closest("svg") || !one.checkVisibility() || !speaks(one)) continue;
  const style = getComputedStyle(one);
  const [more, less] = [light(style.color), light(behind(one))].sort((a, b) => b - a);
  const ratio = (more + 0.05) / (less + 0.05);
  if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) {
    found.push(`${one.tagName} ${one.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
}
return found;
"""


def faint(browser: Chrome) -> list[str]:
    """Texts of a page that are hard to read, with their contrast."""
    return list(browser.execute_script(_FAINT))
