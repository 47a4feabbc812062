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
from tests.browser import browsing
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
            measure_on_fleet(store, choose_pool(store, "pool=try", NANO.name), space, Silent(), panel_share=0.2)
            for agent in agents:
                agent.join()
            store.maintain()
            profile = resolve(NANO)
            for device in store.devices():
                save_report(train(store, device.identity, profile), default_predictor(device.identity, profile), {})
            network = space.build(space.sample(1, 99)[0][None])
            (place / "network.onnx").write_bytes(complete(network.skeleton, network.weights))
            with browsing() as browser:
                look(browser, hub, store, place / "network.onnx")


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
    """Each page once; the fleet's in the dark, too."""
    browser.get(hub.url)
    browser.find_element(By.ID, "token").send_keys(store.fleet.make_token("anna", "operator"), Keys.ENTER)
    time.sleep(1.0)
    measured = store.browsing.newest(device_identity=store.devices()[0].identity, limit=1)[0].measurement_id
    for name, where in (
        ("fleet", "/"), ("board", "/devices/virtual-1"), ("campaign", "/campaigns/1"),
        ("measurement", f"/measurements/{measured}"), ("model", model_page(browser, hub)),
        ("lut", table_page(browser, hub)), ("ask", "/ask"),
    ):  # fmt: skip
        browser.get(hub.url + where)
        time.sleep(0.5)
        if name == "ask":
            browser.find_element(By.ID, "model").send_keys(str(model))
            time.sleep(5.0)
        browser.save_screenshot(str(PICTURES / f"hub-{name}.png"))
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    browser.get(hub.url)
    time.sleep(0.5)
    browser.save_screenshot(str(PICTURES / "hub-fleet-dark.png"))


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
