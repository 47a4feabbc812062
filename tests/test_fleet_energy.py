"""Energies that boards measure: what answers a job, what is tried again, and what a result must bring."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgecost.db import Store
from edgecost.profiler.documents import document_of
from edgecost.profiler.energy.meter import Counts, MeterFacts
from edgecost.profiler.energy.windows import EnergySettings
from edgecost.profiler.errors import BadDocument
from edgecost.profiler.fleet_protocol import Result
from edgecost.profiler.readings import Energy, Reading
from edgecost.profiler.records import Status
from tests.fleet_store import PROFILE, PROTOCOL, Board, campaign, enrol, result

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
