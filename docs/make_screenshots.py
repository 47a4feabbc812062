"""Makes the pictures of the hub's pages in docs/pictures: a real browser, a hub, and two virtual boards that measure.

Run:  make screenshots
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from edgecost.costmodels.fleet.fleet_campaign import measure_on_fleet
from edgecost.costmodels.fleet.pool import choose_pool
from edgecost.costmodels.predictor_folder import default_predictor
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from edgecost.costmodels.training import save_report, train
from edgecost.db import Store
from edgecost.devices.agent_home import AgentHome
from edgecost.devices.agent_loop import Manner
from edgecost.devices.enrolling import enrol
from edgecost.devices.hub_connection import Place
from edgecost.devices.service import AgentService
from edgecost.profiler.runtimes import BUILT_IN, resolve
from edgecost.profiler.weights import complete
from tests.browser import browsing, dress
from tests.hub_server import Hub, served

PICTURES = Path(__file__).parent / "pictures"
NANO = BUILT_IN["virtual-nano"]


class Silent:
    """A narrator that says nothing."""

    def stage(self, title: str, total: int | None = None) -> None: ...

    def step(self, note: str) -> None: ...

    def note(self, text: str) -> None: ...


def main() -> None:
    """Measure, train, look, and write the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder
        place = Path(folder)
        with Store(place / "store.sqlite") as store, served(store) as hub:
            agents = [start_agent(store, hub, place / name, name) for name in ("virtual-1", "virtual-2")]
            space = load_space("ofa-mobilenetv3")
            with browsing() as browser:
                sign_in(browser, hub, store)
                measure(browser, hub, store, space)
                for agent in agents:
                    agent.join()
                store.maintain()
                profile = resolve(NANO)
                for device in store.devices():
                    save_report(train(store, device.identity, profile), default_predictor(device.identity, profile), {})
                network = space.build(space.sample(1, 99)[0][None])
                (place / "network.onnx").write_bytes(complete(network.skeleton, network.weights))
                look(browser, hub, store, place / "network.onnx")


def sign_in(browser: Chrome, hub: Hub, store: Store) -> None:
    """Through the door."""
    browser.get(hub.url)
    browser.find_element(By.ID, "token").send_keys(store.fleet.make_token("anna", "operator"), Keys.ENTER)
    time.sleep(1.0)


def measure(browser: Chrome, hub: Hub, store: Store, space: Space) -> None:
    """The campaign, and its page when half of it is done."""
    pool = choose_pool(store, "pool=try", NANO.name)
    measuring = threading.Thread(
        target=measure_on_fleet, args=(store, pool, space, Silent()), kwargs={"panel_share": 0.2}
    )
    measuring.start()
    while not store.campaigns() or (jobs := store.campaigns()[0].jobs)["done"] <= jobs["pending"]:
        time.sleep(0.1)
    browser.get(f"{hub.url}/campaigns/1")
    time.sleep(0.5)
    browser.save_screenshot(str(PICTURES / "hub-campaign.png"))
    measuring.join()


def start_agent(store: Store, hub: Hub, home: Path, name: str) -> threading.Thread:
    """A virtual board at work until there is nothing more to do."""
    code = store.fleet.make_code({"pool": "try"}, by="keeper").code
    enrol(AgentHome(home), Place(hub.url), code, (NANO,), name=name)
    service = AgentService(AgentHome(home), lambda *_: None, Manner(until_idle_s=10.0))
    thread = threading.Thread(target=service.run, daemon=True)
    thread.start()
    while store.fleet.agent(name).agent.last_seen is None:
        time.sleep(0.05)
    return thread


def look(browser: Chrome, hub: Hub, store: Store, model: Path) -> None:
    """Each page once, long ones from a heading on, too; the fleet's and a workload's in the dark."""
    measured = store.browsing.newest(device_identity=store.devices()[0].identity, limit=1)[0].measurement_id
    graph = store.browsing.measurement(measured).graph_hash
    card, table = model_page(browser, hub), table_page(browser, hub)
    for name, where, heading in (
        ("fleet", "/", ""), ("board", "/devices/virtual-1", ""), ("efficiency", "/devices/virtual-1", "Sample-eff"),
        ("workload", f"/workloads/{graph}", ""),
        ("measurement", f"/measurements/{measured}", ""), ("model", card, ""), ("next", card, "What to measure next"),
        ("lut", table, ""), ("audit", f"{table}/audit", ""),
        ("compare", "/compare?a=device%3Dvirtual-1&b=device%3Dvirtual-2", ""), ("ask", "/ask", ""),
    ):  # fmt: skip
        browser.get(hub.url + where)
        time.sleep(1.0)
        if heading:
            found = browser.find_element(By.XPATH, f"//h2[starts-with(., '{heading}')]")
            browser.execute_script("arguments[0].scrollIntoView()", found)
        if name == "ask":
            browser.find_element(By.ID, "model").send_keys(str(model))
            time.sleep(5.0)
        browser.save_screenshot(str(PICTURES / f"hub-{name}.png"))
    dress(browser, "dark")
    for name, where in (("fleet", "/"), ("workload", f"/workloads/{graph}")):
        browser.get(hub.url + where)
        time.sleep(1.0)
        browser.save_screenshot(str(PICTURES / f"hub-{name}-dark.png"))


def model_page(browser: Chrome, hub: Hub) -> str:
    """The first model's."""
    browser.get(f"{hub.url}/models")
    return str(browser.find_element(By.CSS_SELECTOR, "main table a").get_attribute("href")).removeprefix(hub.url)


def table_page(browser: Chrome, hub: Hub) -> str:
    """The first table's."""
    browser.get(f"{hub.url}/luts")
    return str(browser.find_element(By.CSS_SELECTOR, "main table a").get_attribute("href")).removeprefix(hub.url)


if __name__ == "__main__":
    main()
