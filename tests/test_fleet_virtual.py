"""A fleet without a board: agents that play virtual devices, which say so wherever they are seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecost.db import Store
from edgecost.db.records import NewJob
from edgecost.devices.agent_home import AgentHome
from edgecost.devices.agent_loop import Manner
from edgecost.devices.enrolling import enrol
from edgecost.devices.hub_connection import Place
from edgecost.devices.service import AgentService
from edgecost.devices.virtual.catalogue import MARK
from edgecost.hub.settings import HubSettings
from edgecost.profiler.documents import document_of
from edgecost.profiler.energy.windows import EnergySettings
from edgecost.profiler.errors import UsageError
from edgecost.profiler.readings import Reading
from edgecost.profiler.runtimes import BUILT_IN, resolve
from tests.hub_server import served
from tests.little_hub import LOOSE
from tests.small_tasks import conv

SETTINGS = HubSettings(lease_s=30.0, wait_s=1.0, poll_s=0.05, reap_s=0.5)
NANO = BUILT_IN["virtual-nano"]


def test_a_virtual_board_measures_latencies_and_energies_for_its_hub(file_store: Store, tmp_path: Path) -> None:
    store, home = file_store, AgentHome(tmp_path / "agent")
    said: list[str] = []
    with served(store, SETTINGS) as hub:
        code = store.fleet.make_code({"pool": "try"}, by="keeper").code
        made = enrol(home, Place(hub.url), code, (NANO,))
        document = {
            "runtime": NANO.name, "profile_hash": resolve(NANO).profile_hash, "protocol": document_of(LOOSE),
        }  # fmt: skip
        latencies = store.open_campaign("latency", "test", document, "pool=try")
        energies = store.open_campaign(
            "energy", "test", {**document, "energy": document_of(EnergySettings())}, "pool=try"
        )
        workload = conv(8).workload
        store.put_workload(workload)
        for campaign in (latencies, energies):
            store.add_jobs(campaign, [NewJob(workload.graph_hash, "cell", "conv", 0, f"{campaign}/conv")])
        AgentService(home, lambda _, text: said.append(text), Manner(until_idle_s=2.0)).run()
    assert made.name == "virtual-nano"
    assert made.device.description.startswith(MARK)
    latency, energy = sorted(store.measurements(usable_only=False, of=None), key=lambda one: one.energy is not None)
    assert latency.status.has_latency, said
    assert energy.energy is not None
    assert energy.energy.status in (Reading.OK, Reading.UNCONVERGED), said
    assert energy.energy.scope == "module"
    environment = store.environment(latency.environment_hash)
    assert environment is not None
    assert environment.document["virtual"] == "virtual-nano"


def test_a_virtual_board_stands_beside_this_machine_and_not_in_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a virtual device is a device of its own"):
        enrol(AgentHome(tmp_path), Place("http://127.0.0.1:1"), "CODE", (NANO, BUILT_IN["ort"]))
