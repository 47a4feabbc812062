"""What reports count in a store, on both engines: nothing left out, nothing counted twice."""

from __future__ import annotations

import uuid
from dataclasses import replace

from edgecost.db import Store
from edgecost.profiler.records import Energy, Measurement, PeakMemory, Quantity, Reading, Sensor, Status
from tests.fleet_store import ENVIRONMENT, PROFILE, Board, campaign, enrol, result, workload

SENSOR = Sensor({"name": "ina3221", "driver": "ina3221"})


def measure(store: Store, board: Board, jobs: int, *, status: Status = Status.OK) -> list[str]:
    """Attempts of a board at the next jobs there are; their ids."""
    made = []
    for _ in range(jobs):
        batch = store.fleet.lease(board.agent_id, 1, 60.0)
        assert batch is not None
        sent = result(board, batch, status=status)
        store.fleet.accept(board.agent_id, sent)
        made.append(sent.measurement.measurement_id)
    return made


def written(store: Store, board: Board, **changes: object) -> Measurement:
    """A measurement beside any campaign."""
    store.put_workload(workload(99))
    store.put_device(board.device)
    store.put_profile(PROFILE)
    store.put_environment(ENVIRONMENT)
    made = Measurement(
        measurement_id=uuid.uuid4().hex,
        graph_hash=workload(99).graph_hash,
        profile_hash=PROFILE.profile_hash,
        environment_hash=ENVIRONMENT.environment_hash,
        device_identity=board.device.identity,
        session="alone",
        protocol="edgecost-4",
        purpose="profile",
        status=Status.REJECTED,
        message="hot",
        started_at="2026-01-02T00:00:00.000+00:00",
        finished_at="2026-01-02T00:00:05.000+00:00",
        latency=None,
        overhead_ms=None,
    )
    made = replace(made, **changes)  # type: ignore[arg-type]
    store.record(made)
    return made


def test_outcomes_of_a_device_are_counted_by_profile_purpose_and_status(store: Store) -> None:
    board, other = enrol(store, "nano-1"), enrol(store, "nano-2")
    campaign(store, 5)
    first, *_ = measure(store, board, 3)
    measure(store, other, 1)
    written(store, board)
    store.retract(first, "keeper", "a fan fell off")
    store.retract(first, "keeper", "said twice")
    cells, alone = store.tallies.outcomes(board.device.identity)
    assert (cells.purpose, cells.status, cells.attempts, cells.retracted) == ("cell", "ok", 3, 1)
    assert cells.profile_hash == PROFILE.profile_hash
    assert (alone.purpose, alone.status, alone.attempts, alone.retracted) == ("profile", "rejected", 1, 0)
    assert (alone.first_at, alone.last_at) == ("2026-01-02T00:00:00.000+00:00", "2026-01-02T00:00:05.000+00:00")
    assert store.tallies.outcomes("nobody") == []


def test_readings_of_a_device_are_counted_by_what_they_were_measured_with(store: Store) -> None:
    board, other = enrol(store, "nano-1"), enrol(store, "nano-2")
    store.put_sensor(SENSOR)
    energy = Energy(
        Reading.OK, "module", sensor_hash=SENSOR.sensor_hash, gross_median_mj=2.0, gross_lo_mj=1.9, gross_hi_mj=2.1
    )
    for _ in range(2):
        written(store, board, status=Status.OK, energy=energy)
    written(store, board, energy=Energy(Reading.UNSUPPORTED, message="no meter"))
    written(store, board, peak_memory=PeakMemory(Reading.REJECTED, "smaps-1"))
    written(store, other, status=Status.OK, energy=energy)
    found = {
        (one.quantity, one.status, one.means, one.sensor_hash): one.readings
        for one in store.tallies.readings(board.device.identity)
    }
    assert found == {
        (Quantity.ENERGY, "unsupported", "", None): 1,
        (Quantity.ENERGY, "ok", "module", SENSOR.sensor_hash): 2,
        (Quantity.MEMORY, "rejected", "smaps-1", None): 1,
    }


def test_sessions_come_oldest_first_and_the_newest_are_kept(store: Store) -> None:
    board = enrol(store, "nano-1")
    for day, level in ((3, 30.0), (1, 10.0), (2, None), (4, 40.0)):
        for second in range(2):
            written(
                store, board, session=f"of day {day}", started_at=f"2026-01-0{day}T00:00:0{second}.000+00:00",
                conditions={"canary_us": level},
            )  # fmt: skip
    written(store, board, session="says nothing")
    found = store.tallies.sessions(board.device.identity, PROFILE.profile_hash, 3)
    assert [(one.session, one.canary_us) for one in found] == [
        ("of day 2", None), ("of day 3", 30.0), ("of day 4", 40.0),
    ]  # fmt: skip
    assert found[0].started_at == "2026-01-02T00:00:00.000+00:00"


def test_the_attempts_of_a_campaign_are_those_of_its_jobs_and_no_others(store: Store) -> None:
    board = enrol(store, "nano-1")
    campaign(store, 3)
    measure(store, board, 1, status=Status.REJECTED)
    measure(store, board, 3)
    written(store, board, graph_hash=workload(1).graph_hash)
    (summary,) = store.campaigns()
    found = store.tallies.attempts(summary.id)
    assert sorted((one.label, one.status, one.latency_ms) for one in found) == [
        ("sigmoid_1", "ok", 1.0), ("sigmoid_1", "rejected", None), ("sigmoid_2", "ok", 1.0), ("sigmoid_3", "ok", 1.0),
    ]  # fmt: skip
    assert {one.device_identity for one in found} == {board.device.identity}
    assert store.tallies.attempts(summary.id + 1) == []
