"""Energies that boards measure: what answers a job, what is tried again, and what a result must bring."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.db import Store
from edgecost.db.records import NewJob
from edgecost.devices.agent_home import AgentHome
from edgecost.devices.agent_loop import Manner
from edgecost.devices.enrolling import enrol as enrol_board
from edgecost.devices.hub_connection import Place
from edgecost.devices.sensors import find_sensors
from edgecost.devices.service import AgentService
from edgecost.hub.settings import HubSettings
from edgecost.profiler.documents import decode, document_of
from edgecost.profiler.energy.meter import Counts, MeterFacts
from edgecost.profiler.energy.windows import EnergySettings
from edgecost.profiler.errors import BadDocument
from edgecost.profiler.fleet_protocol import Result
from edgecost.profiler.readings import Energy, Reading
from edgecost.profiler.records import Status
from edgecost.profiler.runtimes import BUILT_IN, host_profile
from tests.fleet_store import PROFILE, PROTOCOL, Board, campaign, enrol, result, workload
from tests.hub_server import served
from tests.little_hub import LOOSE

LEASE_S = 60.0
METER = MeterFacts("ina3221x 6-0040", "ina3221x", "POM_5V_IN", "module", Counts.POWER, 40.0, 0.02)
SENSOR = METER.sensor()
MEASURED = Energy(
    Reading.OK, "module", sensor_hash=SENSOR.sensor_hash, gross_median_mj=12.0, gross_lo_mj=11.8, gross_hi_mj=12.2,
    net_median_mj=5.0, net_lo_mj=4.8, net_hi_mj=5.2, idle_mw=1500.0, active_mw=3100.0, windows=6, runs=600,
)  # fmt: skip
ENERGY = {"energy": document_of(EnergySettings())}


def with_energy(made: Result, energy: Energy | None, *, brings_sensor: bool = True) -> Result:
    """The same result with an energy and no latency."""
    measurement = replace(made.measurement, latency=None, energy=energy)
    return replace(made, measurement=measurement, sensor=dict(SENSOR.document) if brings_sensor else None)


@pytest.fixture
def board(store: Store) -> Board:
    """A board beside a campaign that asks for energies."""
    settings = {"runtime": "ort", "profile_hash": PROFILE.profile_hash, "protocol": PROTOCOL, **ENERGY}
    store.open_campaign("test", "test", settings, "pool=nano")
    campaign(store, 2)
    return enrol(store)


def test_an_energy_is_the_result_of_a_job_that_asked_for_one_and_brings_its_sensor(store: Store, board: Board) -> None:
    batch = store.fleet.lease(board.agent_id, 2, LEASE_S)
    assert batch is not None
    assert batch.settings["energy"] == ENERGY["energy"]
    made = with_energy(result(board, batch), MEASURED)
    assert store.fleet.accept(board.agent_id, made).verdict == "accepted"
    (row,) = store.measurements(usable_only=False, of=None)
    assert row.energy == MEASURED
    # Sent again it is the same answer, and the second job needs no sensor that is known.
    assert store.fleet.accept(board.agent_id, made).is_new is False
    again = with_energy(result(board, batch, at=1), MEASURED)
    assert store.fleet.accept(board.agent_id, again).job_state == "done"


@pytest.mark.parametrize(
    ("status", "verdict", "state"),
    [
        (Reading.BELOW_RESOLUTION, "accepted", "done"),
        (Reading.UNSUPPORTED, "accepted", "done"),
        (Reading.REJECTED, "attempt", "pending"),
        (Reading.UNAVAILABLE, "attempt", "pending"),
    ],
)
def test_what_would_be_the_same_again_is_an_answer_and_what_would_not_is_tried_again(
    store: Store, board: Board, status: Reading, verdict: str, state: str
) -> None:
    batch = store.fleet.lease(board.agent_id, 1, LEASE_S)
    assert batch is not None
    energy = Energy(status, "module", "said why", SENSOR.sensor_hash)
    found = store.fleet.accept(board.agent_id, with_energy(result(board, batch), energy))
    assert (found.verdict, found.job_state) == (verdict, state)


def test_an_energy_without_its_sensor_or_with_another_is_refused_whole(store: Store, board: Board) -> None:
    batch = store.fleet.lease(board.agent_id, 1, LEASE_S)
    assert batch is not None
    bare = with_energy(result(board, batch), MEASURED, brings_sensor=False)
    other = replace(bare, sensor={"name": "another"})
    for one in (bare, other):
        with pytest.raises(BadDocument, match="a sensor that the result does not bring"):
            store.fleet.accept(board.agent_id, one)
    assert store.measurements(usable_only=False, of=None) == []


def test_energies_of_rails_come_with_their_sensors_or_the_result_is_refused(store: Store, board: Board) -> None:
    batch = store.fleet.lease(board.agent_id, 1, LEASE_S)
    assert batch is not None
    facts = replace(METER, name="ina3221x 6-0040 POM_5V_CPU", rail="POM_5V_CPU", scope="cpu", parent="POM_5V_IN")
    rails = {"POM_5V_CPU": replace(MEASURED, scope="cpu", sensor_hash=facts.sensor().sensor_hash)}
    made = with_energy(result(board, batch), MEASURED)
    made = replace(made, measurement=replace(made.measurement, rails=rails))
    with pytest.raises(BadDocument, match="a sensor that the result does not bring"):
        store.fleet.accept(board.agent_id, made)
    made = replace(made, rail_sensors=(dict(facts.sensor().document),))
    assert store.fleet.accept(board.agent_id, decode(Result, document_of(made))).verdict == "accepted"
    assert store.browsing.measurement(made.measurement.measurement_id).rails == rails
    assert store.sensor(facts.sensor().sensor_hash) == facts.sensor()


def test_an_energy_is_no_answer_to_who_asked_for_a_latency(store: Store) -> None:
    board = enrol(store)
    campaign(store, 1, name="latency")
    batch = store.fleet.lease(board.agent_id, 1, LEASE_S)
    assert batch is not None
    with pytest.raises(BadDocument, match="has no latency"):
        store.fleet.accept(board.agent_id, with_energy(result(board, batch), MEASURED))


def test_nothing_is_no_answer_to_who_asked_for_an_energy(store: Store, board: Board) -> None:
    batch = store.fleet.lease(board.agent_id, 1, LEASE_S)
    assert batch is not None
    with pytest.raises(BadDocument, match="where an energy was asked for"):
        store.fleet.accept(board.agent_id, with_energy(result(board, batch), None))
    crashed = result(board, batch, status=Status.CRASHED)
    assert store.fleet.accept(board.agent_id, crashed).verdict == "attempt"


#: A meter whose power is that of this process's runner: what it uses of a processor, as four watts above one.
METER_PROGRAM = """
import glob, os, time
tick, mine = os.sysconf("SC_CLK_TCK"), os.getppid()
def busy():
    total = 0.0
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            if b"profiler/runner.py" in open(path, "rb").read():
                fields = open(path.replace("cmdline", "stat")).read().rpartition(")")[2].split()
                if int(fields[1]) == mine:
                    total += (int(fields[11]) + int(fields[12])) / tick
        except OSError:
            pass
    return total
last, then = busy(), time.time()
while True:
    time.sleep(0.05)
    now, moment = busy(), time.time()
    print(f"{moment:.6f},{1.0 + 4.0 * min(1.0, max(0.0, now - last) / (moment - then)):.3f}", flush=True)
    last, then = now, moment
"""
#: Short windows: what is shown is the way, not the number.
BRIEF = EnergySettings(
    target=0.5, windows_max=6, readings_min=5, edge_error=0.4, window_min_s=0.2, settle_s=0.05, gap_periods=40.0,
    achieved_min=0.1, failures_max=0.5, rejected_max=10,
)  # fmt: skip


@pytest.mark.parametrize("meter", ["exec:" + shlex.join([sys.executable, "-c", METER_PROGRAM]), ""])
def test_a_board_measures_energies_with_its_meter_and_one_without_says_so(
    file_store: Store, tmp_path: Path, meter: str
) -> None:
    store, home = file_store, AgentHome(tmp_path / "agent")
    chain = workload(2_000_000)
    said: list[str] = []
    with served(store, HubSettings(lease_s=30.0, wait_s=1.0, poll_s=0.05, reap_s=0.5)) as hub:
        code = store.fleet.make_code({"pool": "nano"}, by="keeper").code
        enrol_board(home, Place(hub.url), code, (BUILT_IN["ort"],), name="nano-1")
        document = {"runtime": "ort", "profile_hash": host_profile().profile_hash, "protocol": document_of(LOOSE)}
        campaign_id = store.open_campaign("energy", "test", {**document, "energy": document_of(BRIEF)}, "pool=nano")
        store.put_workload(chain)
        store.add_jobs(campaign_id, [NewJob(chain.graph_hash, "cell", chain.name, 0, "energy/1")])
        AgentService(home, lambda _, text: said.append(text), Manner(until_idle_s=3.0, meter=meter)).run()
        (job,) = store.fleet.jobs(campaign="energy", limit=10)
    found = store.measurements(usable_only=False, of=None)
    energy = found[0].energy
    assert energy is not None
    if not meter and find_sensors().whole == ():
        assert (job.state, energy.status) == ("done", Reading.UNSUPPORTED), said
        return
    # A machine whose CPUs others take may reject windows: then it is tried again, and says why.
    assert energy.status in (Reading.OK, Reading.UNCONVERGED, Reading.BELOW_RESOLUTION, Reading.REJECTED), said
    assert energy.scope
    if energy.status.has_number:
        assert job.state == "done"
        assert energy.sensor_hash is not None
        assert (energy.active_mw or 0.0) > (energy.idle_mw or 0.0)
