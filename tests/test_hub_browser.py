"""The hub's pages in a real browser: what is seen, what is dropped, what is away; no error, and nothing leaves."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from edgecost.costmodels.predictor_folder import default_predictor, predictor_folder
from edgecost.costmodels.space_file import load_space
from edgecost.db import Store
from edgecost.profiler.weights import complete
from tests.browser import asked, browsing, complaints, dress, faint
from tests.fleet_store import Board, campaign, enrol, result
from tests.hub_server import Hub, served
from tests.test_hub_growth_pages import measured_pool, put_in_place
from tests.trained_store import Trained


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with browsing() as made:
        yield made


@pytest.fixture
def filled(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store with a predictor, a board, and a campaign that is half done."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    shutil.copy(trained.store, tmp_path / "store.sqlite")
    shutil.copytree(trained.folder, default_predictor(trained.setting.device.identity, trained.setting.profile))
    with Store(tmp_path / "store.sqlite") as store:
        board = enrol(store, "nano-1")
        campaign(store, 8)
        work(store, board, 4)
        yield store


def work(store: Store, board: Board, jobs: int) -> None:
    for _ in range(jobs):
        batch = store.fleet.lease(board.agent_id, 1, 600.0)
        assert batch is not None
        store.fleet.accept(board.agent_id, result(board, batch))


def sign_in(browser: Chrome, hub: Hub, store: Store, role: str = "operator") -> None:
    browser.delete_all_cookies()
    browser.get(f"{hub.url}/campaigns/1")
    field = browser.find_element(By.ID, "token")
    field.send_keys(store.fleet.make_token(f"{role}-{time.monotonic_ns()}", role), Keys.ENTER)
    until(lambda: browser.current_url == f"{hub.url}/campaigns/1")


def until(holds: Callable[[], object], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def text_of(browser: Chrome) -> str:
    """Of the page as it is now, in one step: a page that follows its campaign is made anew between two."""
    return str(browser.execute_script("return document.querySelector('main').innerText"))


def test_a_walk_through_the_pages_shows_the_store_and_asks_nobody_else(browser: Chrome, filled: Store) -> None:
    with served(filled) as hub:
        complaints(browser), asked(browser)
        sign_in(browser, hub, filled)
        assert "4 of 8 done" in text_of(browser)
        browser.find_element(By.LINK_TEXT, "Fleet").click()
        until(lambda: "1 boards" in text_of(browser))
        browser.find_element(By.LINK_TEXT, "nano-1").click()
        until(lambda: "Newest measurements" in text_of(browser))
        browser.find_element(By.PARTIAL_LINK_TEXT, "sigmoid_").click()
        until(lambda: "On every device and runtime" in text_of(browser))
        (made,) = filled.browsing.newest(graph_hash=browser.current_url.rpartition("/")[2])
        assert made.latency is not None
        assert f"{made.latency.median_ms:.3f} ms" in text_of(browser)
        browser.find_element(By.PARTIAL_LINK_TEXT, "UTC").click()
        until(lambda: "visits" in text_of(browser))
        assert complaints(browser) == []
        assert {address for address in asked(browser) if not address.startswith(hub.url)} == set()


def test_a_campaign_s_page_follows_it_without_being_loaded_again(browser: Chrome, filled: Store) -> None:
    with served(filled) as hub:
        sign_in(browser, hub, filled, "viewer")
        browser.execute_script("window.isTheSamePage = true")
        board = next(one for one in filled.devices() if one.name == "nano-1")
        work(filled, Board(filled.fleet.agent("nano-1").agent.agent_id, "", board), 2)
        until(lambda: "6 of 8 done" in text_of(browser))
        assert browser.execute_script("return window.isTheSamePage")


def test_what_failed_is_tried_again_by_a_button_of_its_campaign(browser: Chrome, filled: Store) -> None:
    with served(filled) as hub:
        sign_in(browser, hub, filled)
        complaints(browser)
        browser.find_element(By.XPATH, "//button[.='Cancel what is open']").send_keys(Keys.ENTER)
        until(lambda: "4 of 8 done, 4 failed" in text_of(browser))
        assert "cancelled" in text_of(browser)
        browser.find_element(By.XPATH, "//button[.='Try what failed again']").send_keys(Keys.ENTER)
        until(lambda: "4 of 8 done, 0 failed, 0 in hand, 4 waiting" in text_of(browser))
        assert complaints(browser) == []


def test_a_hub_that_goes_away_leaves_the_page_with_a_word(browser: Chrome, filled: Store) -> None:
    with served(filled) as hub:
        sign_in(browser, hub, filled, "viewer")
        assert "4 of 8 done" in text_of(browser)
    until(lambda: "The hub does not answer" in text_of(browser))
    assert "4 of 8 done" in text_of(browser)
    complaints(browser)


def test_a_file_that_is_chosen_gets_its_price(browser: Chrome, filled: Store, trained: Trained, tmp_path: Path) -> None:
    space = load_space("ofa-mobilenetv3")
    graph = next(made for cell in space.measurable if (made := space.workload(cell)) is not None)
    (tmp_path / "net.onnx").write_bytes(complete(graph.skeleton, graph.weights))
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with served(filled) as hub:
        sign_in(browser, hub, filled, "viewer")
        browser.get(f"{hub.url}/ask")
        complaints(browser)
        browser.find_element(By.ID, "model").send_keys(str(tmp_path / "net.onnx"))
        until(lambda: "Its most expensive kernels" in text_of(browser))
        assert trained.setting.device.name in text_of(browser)
        assert complaints(browser) == []
        browser.find_element(By.ID, "model").send_keys(str(tmp_path / "broken.onnx"))
        until(lambda: "It has no price." in text_of(browser))
        complaints(browser)  # the browser's own word on a refusal


def test_it_can_be_walked_by_keyboard_and_the_first_key_leads_to_the_content(browser: Chrome, filled: Store) -> None:
    with served(filled) as hub:
        sign_in(browser, hub, filled, "viewer")
        browser.get(hub.url)
        browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
        assert browser.switch_to.active_element.text == "To the content"
        browser.switch_to.active_element.send_keys(Keys.ENTER)
        until(lambda: browser.switch_to.active_element.get_attribute("id") == "main")
        unnamed = browser.execute_script(
            "return [...document.querySelectorAll('input:not([type=hidden]), img, svg')]"
            ".filter(one => !one.labels?.length && !one.getAttribute('aria-label')).length"
        )
        assert unnamed == 0


@dataclass(frozen=True)
class Learnt:
    """A store with a pool that measured a space and networks, and predictors; and its pages by name."""

    store: Store
    places: dict[str, str]


@pytest.fixture
def learnt(trained_for_space: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Learnt]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with Store(tmp_path / "store.sqlite") as store:
        model = put_in_place(store, trained_for_space)
        table = measured_pool(store, 6)
        (offer,) = store.fleet.agent("nano-1").agent.usable
        shutil.copytree(trained_for_space.folder, predictor_folder("device-nano-1", offer.profile_hash))
        graph = store.browsing.newest(device_identity=trained_for_space.setting.device.identity, limit=1)[0].graph_hash
        places = {
            "model": f"/models/{model}", "audit": f"{table}/audit", "table": table, "board": "/devices/nano-1",
            "fleet": "/", "graph": f"/workloads/{graph}",
        }  # fmt: skip
        yield Learnt(store, places)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("model", "What to measure next"), ("audit", "Sum over measured"), ("table", "Audit: its sums"),
        ("board", "Sample-efficiency"), ("fleet", "sample-efficiency"), ("graph", "On every device and runtime"),
    ],
)  # fmt: skip
def test_pages_of_what_was_learnt_are_whole_and_readable_in_light_and_dark(
    name: str, told: str, browser: Chrome, learnt: Learnt
) -> None:
    with served(learnt.store) as hub:
        sign_in(browser, hub, learnt.store, "viewer")
        complaints(browser), asked(browser)
        for scheme in ("light", "dark"):
            dress(browser, scheme)
            browser.get(f"{hub.url}{learnt.places[name]}")
            assert told in text_of(browser)
            assert faint(browser) == [], scheme
            until(lambda: browser.execute_script(_UNLOADED) == 0)
            assert browser.execute_script(_TOO_WIDE) <= 0
        dress(browser, "light")
        assert complaints(browser) == []
        assert {address for address in asked(browser) if not address.startswith(hub.url)} == set()


_UNLOADED = "return [...document.images].filter((one) => !one.complete || !one.naturalWidth).length"
_TOO_WIDE = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


def test_words_that_can_hardly_be_read_are_found(browser: Chrome) -> None:
    grey = "<main><p style='color: #999; background: #fff'>grey</p><p style='color: #000'>black</p></main>"
    browser.get(f"data:text/html,<html style='background: white'>{grey}".replace("#", "%23"))
    assert [one.partition(":")[0] for one in faint(browser)] == ["P grey"]


def test_a_command_is_reached_by_keyboard_and_taken_whole_by_one_click(browser: Chrome, learnt: Learnt) -> None:
    with served(learnt.store) as hub:
        sign_in(browser, hub, learnt.store, "viewer")
        browser.get(f"{hub.url}{learnt.places['audit']}")
        command = browser.find_element(By.CSS_SELECTOR, "pre.command")
        for _ in range(40):
            browser.switch_to.active_element.send_keys(Keys.TAB)
            if browser.switch_to.active_element == command:
                break
        assert browser.switch_to.active_element == command
        command.click()
        chosen = browser.execute_script("return getSelection().toString()").strip()
        assert chosen == "edgecost campaign run --space nasbench201 --device pool=nano,runtime=ort --networks 40"
