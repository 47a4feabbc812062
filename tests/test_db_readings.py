"""Energy and peak memory in the store: beside the latency or without it, exactly as given, never changed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from edgecost.db import Store
from edgecost.db.schema import HEAD
from edgecost.db.upgrade import alembic_config
from edgecost.profiler.errors import StoreError, UsageError
from edgecost.profiler.readings import Energy, PeakMemory, Reading
from edgecost.profiler.records import Measurement, Quantity, Sensor, Status
from tests.test_db_measurements import DEVICE, ENVIRONMENT, PROFILE, WORKLOAD, measured

SENSOR = Sensor({"driver": "ina3221x", "rail": "POM_5V_IN", "lsb_mw": 40.0, "rate_hz": 50})
ENERGY = Energy(
    Reading.OK,
    scope="module",
    sensor_hash=SENSOR.sensor_hash,
    gross_median_mj=12.5,
    gross_lo_mj=12.25,
    gross_hi_mj=0.1 + 12.6,
    gross_systematic_mj=0.125,
    net_median_mj=4.5,
    net_lo_mj=-0.25,
    net_hi_mj=5.0,
    net_systematic_mj=0.0625,
    idle_mw=1600.0,
    idle_deviation_mw=12.0,
    active_mw=2500.0,
    overhead_mj=1e-3,
    window_ms=4000.0,
    windows=5,
    runs=4000,
)
MEMORY = PeakMemory(
    Reading.OK,
    "vmhwm-1+nvml-process-1",
    peak_bytes=5_000_000_000,
    lo_bytes=4_999_000_000,
    hi_bytes=5_001_000_000,
    loading_bytes=9_000_000_000,
    kept_bytes=1_000_000,
    baseline_bytes=46_000_000,
    overhead_bytes=19_000_000,
    device_bytes=138_412_032,
    repetitions=3,
)
WITHOUT = [reading for reading in Reading if not reading.has_number]


@pytest.fixture
def furnished(store: Store) -> Store:
    store.put_device(DEVICE)
    store.put_environment(ENVIRONMENT)
    store.put_profile(PROFILE)
    store.put_sensor(SENSOR)
    store.put_workload(WORKLOAD)
    return store


def ids(store: Store, of: Quantity | None) -> list[str]:
    return [measurement.measurement_id for measurement in store.measurements(of=of)]


def without_latency(name: str, **changes: object) -> Measurement:
    return measured(name, latency=None, overhead_ms=None, visits=(), **changes)


def test_energy_and_memory_come_back_as_they_were_given(furnished: Store) -> None:
    whole = measured(energy=ENERGY, peak_memory=MEMORY)
    assert furnished.record(whole)
    assert furnished.measurements(with_visits=True) == [whole]
    assert furnished.measurements() == [replace(whole, visits=())]
    assert furnished.sensor(SENSOR.sensor_hash) == SENSOR
    assert furnished.sensor("?") is None


def test_each_quantity_stands_without_the_others(furnished: Store) -> None:
    alone = {
        "latency": measured("latency"),
        "energy": without_latency("energy", energy=ENERGY),
        "memory": without_latency("memory", peak_memory=MEMORY),
    }
    for measurement in alone.values():
        furnished.record(measurement)
    for quantity in Quantity:
        assert furnished.measurements(of=quantity, with_visits=True) == [alone[quantity.value]]
        assert [alone[name].says(quantity) for name in alone] == [name == quantity.value for name in alone]
    assert ids(furnished, None) == ["energy", "latency", "memory"]


def test_why_there_is_no_number_is_kept_and_is_no_number(furnished: Store) -> None:
    kept = [
        measured(
            f"m{place}",
            energy=Energy(reading, message="why", idle_mw=1500.0),
            peak_memory=PeakMemory(reading, "vmhwm-1", "why"),
        )
        for place, reading in enumerate(WITHOUT)
    ]
    for measurement in kept:
        furnished.record(measurement)
    assert furnished.measurements(with_visits=True) == kept
    assert (ids(furnished, Quantity.ENERGY), ids(furnished, Quantity.MEMORY)) == ([], [])


def test_what_was_retracted_or_ended_badly_is_no_energy_either(furnished: Store) -> None:
    furnished.record(measured("m1", energy=ENERGY, peak_memory=MEMORY))
    furnished.record(measured("m2", energy=ENERGY, peak_memory=MEMORY, status=Status.UNSTABLE))
    furnished.retract("m1", "keeper", "the shunt was another")
    for quantity in (None, *Quantity):
        assert ids(furnished, quantity) == []


def test_an_energy_of_a_sensor_that_nobody_knows_is_refused_whole(furnished: Store) -> None:
    with pytest.raises(StoreError, match="refuses the row"):
        furnished.record(measured(energy=replace(ENERGY, sensor_hash="f" * 64)))
    assert furnished.measurements(usable_only=False) == []


def test_a_reading_that_is_sent_twice_is_recorded_once(furnished: Store) -> None:
    assert furnished.record(measured(energy=ENERGY))
    assert not furnished.record(measured(energy=replace(ENERGY, idle_mw=1.0), peak_memory=MEMORY))
    assert furnished.measurements(with_visits=True) == [measured(energy=ENERGY)]


@pytest.mark.parametrize("table", ["measurement_energy", "measurement_memory"])
def test_the_database_itself_refuses_to_change_a_reading(furnished: Store, table: str) -> None:
    kept = measured(energy=ENERGY, peak_memory=MEMORY)
    furnished.record(kept)
    for statement in (f"UPDATE {table} SET message = 'changed'", f"DELETE FROM {table}"):
        with pytest.raises(StoreError, match="immutable"), furnished._database.write() as connection:
            connection.execute(text(statement))
    if furnished.counts().dialect == "sqlite":
        with furnished._database.write() as connection:
            connection.execute(text(f"CREATE TEMP TABLE copy AS SELECT * FROM {table}"))
            connection.execute(text("UPDATE copy SET message = 'changed'"))
            connection.execute(text(f"REPLACE INTO main.{table} SELECT * FROM copy"))
    else:
        with pytest.raises(StoreError, match="immutable"), furnished._database.write() as connection:
            connection.execute(text(f"TRUNCATE {table}"))
    assert furnished.measurements(with_visits=True) == [kept]


#: Table, columns and values of rows that say ``ok`` and carry no number.
NO_NUMBERS = (
    ("measurement_energy", "rail, scope, gross_median_mj", "'', 'soc', NULL"),
    ("measurement_energy", "rail, scope, gross_median_mj", "'', 'soc', 1.0"),
    ("measurement_energy", "rail, scope, gross_median_mj, gross_lo_mj, gross_hi_mj", "'', 'soc', -1.0, -2.0, 1.0"),
    ("measurement_energy", "rail, scope, gross_median_mj, gross_lo_mj, gross_hi_mj", "'', 'soc', 3.0, 1.0, 2.0"),
    ("measurement_memory", "method, peak_bytes", "'vmhwm-1', NULL"),
    ("measurement_memory", "method, peak_bytes, lo_bytes, hi_bytes", "'vmhwm-1', 0, 0, 0"),
    ("measurement_memory", "method, peak_bytes, lo_bytes, hi_bytes", "'vmhwm-1', 5, 6, 7"),
)


def test_the_database_takes_no_number_that_is_none(furnished: Store) -> None:
    furnished.record(measured())
    for table, columns, values in NO_NUMBERS:
        row = f"INSERT INTO {table} (measurement_id, status, message, {columns}) VALUES ('m1', 'ok', '', {values})"
        with pytest.raises(StoreError, match="refuses the row"), furnished._database.write() as connection:
            connection.execute(text(row))
    assert furnished.measurements(with_visits=True) == [measured()]


def test_rails_stand_beside_the_whole_come_back_with_it_and_are_not_taken_for_it(furnished: Store) -> None:
    rails = {
        "POM_5V_CPU": replace(ENERGY, scope="cpu", gross_median_mj=5.0, gross_lo_mj=4.5, gross_hi_mj=5.5),
        "POM_5V_GPU": Energy(Reading.BELOW_RESOLUTION, "gpu", "0 mW above idle", SENSOR.sensor_hash, idle_mw=40.0),
    }
    whole, without = measured(energy=ENERGY, rails=rails), measured("m2", energy=ENERGY)
    for one in (whole, without):
        furnished.record(one)
    assert furnished.measurements(with_visits=True) == [whole, without]
    assert furnished.browsing.measurement(whole.measurement_id).rails == rails
    # A list of measurements stays as long as it is, and each says the whole.
    listed = furnished.measurements(of=Quantity.ENERGY)
    assert [(one.energy, one.rails) for one in listed] == [(ENERGY, {})] * 2


@pytest.mark.parametrize(("energy", "rail"), [(None, "POM_5V_CPU"), (ENERGY, "")])
def test_a_rail_without_the_whole_or_without_a_name_is_no_measurement(energy: Energy | None, rail: str) -> None:
    with pytest.raises(UsageError, match="stand beside that of the whole"):
        measured(energy=energy, rails={rail: ENERGY})


def test_a_database_of_the_version_before_is_lifted_with_all_that_it_holds(database_url: str) -> None:
    from alembic.command import downgrade

    with Store(database_url) as store:
        for put, record in (
            (store.put_device, DEVICE),
            (store.put_environment, ENVIRONMENT),
            (store.put_profile, PROFILE),
            (store.put_workload, WORKLOAD),
        ):
            put(record)  # type: ignore[operator]  # each takes its own record
        store.record(measured())
        with store._database.write() as connection:
            downgrade(alembic_config(connection), "edgecost_0002")
    with Store(database_url) as store:
        assert store.counts().schema_revision == HEAD
        assert store.measurements(with_visits=True) == [measured()]
        store.record(measured("m2", peak_memory=MEMORY))
        assert ids(store, Quantity.MEMORY) == ["m2"]
        with pytest.raises(StoreError, match="immutable"), store._database.write() as connection:
            connection.execute(text("DELETE FROM measurement"))


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gross_median_mj": NAN}, "gross_median_mj is nan"),
        ({"gross_hi_mj": INFINITE}, "gross_hi_mj is inf"),
        ({"gross_systematic_mj": -1.0}, "gross_systematic_mj is -1"),
        ({"idle_mw": NAN}, "idle_mw is nan"),
        ({"gross_median_mj": 0.0, "gross_lo_mj": 0.0}, "no gross energy is 0.0"),
        ({"gross_lo_mj": None}, "a gross energy without its interval"),
        ({"gross_lo_mj": 12.6}, r"no gross energy is 12.5 in 12.6"),
        ({"net_median_mj": -0.125}, "net_median_mj is -0.125"),
        ({"net_median_mj": 0.0}, "no net energy is 0.0"),
        ({"scope": ""}, "does not say what it includes"),
        ({"status": Reading.BELOW_RESOLUTION}, "below_resolution with 12.5 mJ"),
        ({"status": Reading.UNSUPPORTED}, "unsupported with 12.5 mJ"),
        ({"gross_median_mj": None, "gross_lo_mj": None, "gross_hi_mj": None}, "ok with None mJ"),
    ],
)
def test_an_energy_that_is_no_number_cannot_be_made(change: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        replace(ENERGY, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"peak_bytes": 0, "lo_bytes": 0},
        {"peak_bytes": -1},
        {"loading_bytes": -1},
        {"lo_bytes": 5_000_000_001},
        {"hi_bytes": None},
        {"status": Reading.UNSUPPORTED},
        {"peak_bytes": None, "lo_bytes": None, "hi_bytes": None},
    ],
)
def test_a_peak_memory_that_is_no_number_cannot_be_made(change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        replace(MEMORY, **change)  # type: ignore[arg-type]
