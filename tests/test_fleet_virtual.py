"""A fleet without a board: agents that play virtual devices, which say so wherever they are seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgecost.cli.main import main
from edgecost.costmodels.fleet.fleet_campaign import plan_fleet_campaign, wishes_for, wishes_of
from edgecost.costmodels.fleet.pool import choose_pool
from edgecost.costmodels.lut import Lut
from edgecost.costmodels.space_file import load_space
from edgecost.costmodels.space_plan import plan_space
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
    rails = store.browsing.measurement(energy.measurement_id).rails
    assert {one.scope for one in rails.values()} == {"cpu", "gpu"}
    assert {store.sensor(one.sensor_hash or "") is None for one in rails.values()} == {False}
    environment = store.environment(latency.environment_hash)
    assert environment is not None
    assert environment.document["virtual"] == "virtual-nano"


def test_two_virtual_boards_make_one_table_with_energies_that_says_what_they_are(
    file_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, tiny = file_store, str(Path(__file__).with_name("tiny.toml"))
    device = "pool=try,runtime=virtual-nano"
    space = load_space(tiny)
    with served(store, SETTINGS) as hub:
        homes = [tmp_path / "v1", tmp_path / "v2"]
        for number, home in enumerate(homes, 1):
            code = store.fleet.make_code({"pool": "try"}, by="keeper").code
            asked = ["--home", str(home), "--name", f"virtual-{number}", "--runtime", NANO.name]
            assert main(["agent", "enroll", hub.url, code, *asked]) == 0
            assert f"edgecost agent run --home {home}" in capsys.readouterr().out
            # A runtime is offered when the agent has said hello.
            AgentService(AgentHome(home), lambda *_: None, Manner(until_idle_s=0.5)).run()
        pool = choose_pool(store, device)
        cells = [one for one in plan_space(space, panel_share=0.0) if one.purpose == "cell"]
        plan_fleet_campaign(
            store, pool, "t", "tiny", wishes_for(space, pool, panel_share=0.0, networks=3, seed=0), LOOSE
        )
        plan_fleet_campaign(store, pool, "e", "energy", wishes_of(cells, pool, 0), LOOSE, EnergySettings())
        for home in homes:
            AgentService(AgentHome(home), lambda *_: None, Manner(until_idle_s=2.0)).run()
    assert main(["devices", "list", "--select", "virtual=yes", "--db", store.url, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["devices"]
    assert [(one["name"], one["is_virtual"]) for one in listed] == [("virtual-1", True), ("virtual-2", True)]
    with pytest.raises(UsageError, match="no board matches"):
        choose_pool(store, f"{device},virtual=no")
    arguments = ["campaign", "run", "--space", tiny, "--device", device, "--networks", "3"]
    out = ["--out", str(tmp_path / "out"), "--db", store.url, "--budget", "60s"]
    assert main([*arguments, *out]) == 0
    told = capsys.readouterr().out
    assert "energy: gross, of the module; 20 cells measured, 0 predicted" in told
    assert "more energy than another, by 8 graphs" in told
    table = Lut.load(next((tmp_path / "out").glob("*.json")))
    assert str(table.provenance["device_description"]).startswith(f"2 boards: {MARK}")
    assert str(table.provenance["interval"]).startswith("of a virtual device, no board")
    spread, radius = (table.provenance[name] for name in ("energy_boards_spread", "energy_repeatability_radius"))
    assert isinstance(spread, float)
    assert isinstance(radius, float)
    # Their sensors are not alike, and chance is another in each session.
    assert spread > 1e-6
    assert radius > 1e-6
    for cell in table.cells:
        assert cell.energy_mj is not None
        assert cell.energy_lo_mj is not None
        assert cell.energy_lo_mj < cell.energy_mj


def test_a_virtual_board_stands_beside_this_machine_and_not_in_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a virtual device is a device of its own"):
        enrol(AgentHome(tmp_path), Place("http://127.0.0.1:1"), "CODE", (NANO, BUILT_IN["ort"]))
