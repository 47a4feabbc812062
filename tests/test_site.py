"""The documentation as a site: it is whole, its links lead somewhere, and it is read and searched without a network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from tests.browser import asked, browsing, complaints

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("docs", "examples", "benchmarks")
SOURCES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
NAMES = [str(page.relative_to(ROOT).with_suffix("")) for page in SOURCES]
#: What a browser asks for by itself while it shows a page. A link is asked for by a person.
LOADING = {"iframe": "src", "img": "src", "link": "href", "object": "data", "script": "src", "use": "href"}
STYLE_ADDRESS = re.compile(r"""(?:url\(|@import)\s*["']?([^"')\s]+)""")


@dataclass
class Page(HTMLParser):
    """The anchors of a page, what it links to, and what it loads."""

    text: str
    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)
        self.loaded += STYLE_ADDRESS.findall(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if LOADING.get(tag) in values:
            self.loaded.append(values[LOADING[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `make site` builds it; what Sphinx warns of is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "--fail-on-warning", "--keep-going", "-c", "docs"]
    command += ["-d", str(folder / "doctrees"), ".", str(folder / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site):
    return {file: Page(file.read_text(encoding="utf-8")) for file in site.rglob("*.html")}


def test_every_page_of_the_repository_is_in_the_site(site, pages):
    assert {site / f"{name}.html" for name in NAMES} == set(pages) - {site / "index.html", site / "search.html"}


def test_the_front_page_is_the_readme(site):
    front = (site / "index.html").read_text(encoding="utf-8")
    assert front == (site / "README.html").read_text(encoding="utf-8")
    assert "_images/quickstart.svg" in front


def test_the_navigation_of_every_page_leads_to_every_page(site, pages):
    # Records of decisions are folded away behind their list, and the front page has two names.
    listed = {name for name in NAMES if not name.startswith("docs/decisions/0")} - {"README"}
    wanted = {(site / f"{name}.html").resolve() for name in listed}
    for file, page in pages.items():
        paths = [urlsplit(link).path for link in page.links if not urlsplit(link).scheme]
        assert wanted - {(file.parent / path).resolve() if path else file for path in paths} <= {file}, file.name


def test_no_page_loads_anything_from_another_host(site, pages):
    for file, page in pages.items():
        elsewhere = [address for address in page.loaded if urlsplit(address).scheme not in ("", "data")]
        assert (file.name, elsewhere) == (file.name, [])
        assert [address for address in page.loaded if address.startswith("//")] == []
    for style in site.rglob("*.css"):
        addresses = STYLE_ADDRESS.findall(style.read_text(encoding="utf-8"))
        assert [address for address in addresses if not address.startswith("data:")] == []


def test_every_link_and_anchor_inside_the_site_leads_somewhere(pages):
    lost = []
    for file, page in pages.items():
        for address in {*page.links, *page.loaded}:
            parts = urlsplit(address)
            if parts.scheme or address == "#":
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not target.is_file() or (parts.fragment and unquote(parts.fragment) not in pages[target].anchors):
                lost.append((file.name, address))
    assert lost == []


def test_the_search_knows_every_page(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    known = json.loads(index.removeprefix("Search.setIndex(").removesuffix(")"))
    assert sorted(known["docnames"]) == sorted(NAMES)
    found = known["terms"]["jetson"]
    assert len([found] if isinstance(found, int) else found) > 5


def test_the_site_is_read_searched_and_darkened_without_a_server(site):
    with browsing() as browser:
        browser.get((site / "index.html").as_uri())
        light = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        dark_mode = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark_mode)
        assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") != light

        browser.find_element(By.TAG_NAME, "body").send_keys("/")
        browser.switch_to.active_element.send_keys("additivity", Keys.ENTER)
        wait = WebDriverWait(browser, timeout=20)
        results = wait.until(lambda there: there.find_elements(By.CSS_SELECTOR, "#search-results li a"))
        assert results[0].text == "Audit additivity"
        results[0].click()
        wait.until(lambda there: there.title.startswith("Audit additivity"))

        assert complaints(browser) == []
        assert {address for address in asked(browser) if not address.startswith(("file:", "data:"))} == set()
