"""Reports in a real browser, from the disk: no error, nothing asked for, nothing too wide, dark or light."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from edgecost.costmodels.cards.model_folder import open_folder
from edgecost.costmodels.reports.campaign import read_campaign
from edgecost.costmodels.reports.campaign_page import campaign_report
from edgecost.costmodels.reports.device import read_device
from edgecost.costmodels.reports.device_page import device_report
from edgecost.costmodels.reports.model_page import model_report
from edgecost.costmodels.reports.page import write_page
from tests.browser import asked, browsing, complaints
from tests.report_store import CAMPAIGN, of_campaign, of_device
from tests.trained_store import Trained

#: What is drawn outside the window, less what scrolls within it.
_WIDER = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
_PAPER = "return getComputedStyle(document.body).backgroundColor"
_FLAT = (
    "return [...document.querySelectorAll('figure svg')].filter(one => one.getBoundingClientRect().height < 50).length"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with browsing() as made:
        yield made


@pytest.fixture
def pages(tmp_path: Path, trained: Trained) -> list[Path]:
    """A page of each kind that is read from a store or a folder."""
    first, second = of_device(tmp_path / "device.sqlite"), of_campaign(tmp_path / "campaign.sqlite")
    made = [
        device_report(read_device(first.store, "board")),
        campaign_report(read_campaign(second.store, CAMPAIGN)),
        model_report(open_folder(trained.folder)),
    ]
    first.store.close()
    second.store.close()
    return [write_page(one, tmp_path / one.file_name) for one in made]


def test_pages_open_from_the_disk_and_ask_for_nothing(browser: Chrome, pages: list[Path]) -> None:
    complaints(browser), asked(browser)
    for page in pages:
        browser.get(page.as_uri())
        assert complaints(browser) == []
        assert {url for url in asked(browser) if not url.startswith("data:")} == {page.as_uri()}
        assert browser.execute_script(_FLAT) == 0


@pytest.mark.parametrize("width", [1280, 400])
def test_pages_fit_into_the_window(browser: Chrome, pages: list[Path], width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    for page in pages:
        browser.get(page.as_uri())
        assert browser.execute_script(_WIDER) <= 0, page.name


def test_pages_are_dark_where_that_is_wished_and_light_on_paper(browser: Chrome, pages: list[Path]) -> None:
    def paper(media: str, scheme: str) -> object:
        wanted = {"media": media, "features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
        return browser.execute_script(_PAPER)

    browser.get(pages[0].as_uri())
    assert paper("screen", "light") == "rgb(255, 255, 255)"
    assert paper("screen", "dark") == "rgb(22, 25, 29)"
    assert paper("print", "dark") == "rgb(255, 255, 255)"
