"""Measurements in the store: exactly once, exactly as given, never changed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from edgecost.costmodels.dataset import load_samples
from edgecost.db import Store, measurements
from edgecost.profiler.errors import StoreError, UsageError
from edgecost.profiler.records import Device, Environment, Latency, Measurement, RuntimeProfile, Status, Visit
from edgecost.profiler.statistics import summarise
from edgecost.profiler.weights import Weight
from edgecost.profiler.workload import Workload

DEVICE = Device("nano", "serial-1", "Jetson Nano")
ENVIRONMENT = Environment({"kernel": "6.1", "large": 1e16, "tiny": 1e-7, "nested": {"ä": [None, True, 1.5]}})
PROFILE = RuntimeProfile("onnxruntime", "1.30.0", options=(("session.x", "1"),))
WORKLOAD = Workload("conv", "operator", "a" * 64, b"\x00skeleton", (Weight("w", (3, 1), "float32", 0.1),), "/x.onnx")
VISITS = (
    Visit(0, "s1", (1_000_000, 1_000_100, 999_900), (990_000, 990_100, 989_000), (5, 6), 0, "", 1_000_000.0),
    Visit(1, "s1", (2_000_000, 9_000_000, 999_900), (1, 2, 3), (5, 66), 7, "canary", None),
    Visit(3, "s1", (1_000_001, 1_000_002, 1_000_003), (), (5, 6), 0, "", 1_000_002.5),
)


def measured(measurement_id: str = "m1", **changes: object) -> Measurement:
    measurement = Measurement(
        measurement_id=measurement_id,
        graph_hash=WORKLOAD.graph_hash,
        profile_hash=PROFILE.profile_hash,
        environment_hash=ENVIRONMENT.environment_hash,
        device_identity=DEVICE.identity,
        session="s1",
        protocol="edgecost-1",
        purpose="cell",
        status=Status.OK,
        message="",
        started_at="2026-11-22T10:00:00+00:00",
        finished_at="2026-11-22T10:00:01+00:00",
        latency=summarise(VISITS),
        overhead_ms=0.1 + 0.2,
        visits=VISITS,
    )
    return replace(measurement, **changes)  # type: ignore[arg-type]


def failed(measurement_id: str, status: Status = Status.SEGFAULT) -> Measurement:
    return measured(measurement_id, status=status, latency=None, overhead_ms=None, visits=(), message="signal 11")


@pytest.fixture
def furnished(store: Store) -> Store:
    store.put_device(DEVICE)
    store.put_environment(ENVIRONMENT)
    store.put_profile(PROFILE)
    store.put_workload(WORKLOAD)
    return store


def test_a_measurement_comes_back_as_it_was_given(furnished: Store) -> None:
    assert furnished.record(measured())
    assert furnished.measurements(with_visits=True) == [measured()]
    assert furnished.measurements() == [measured(visits=())]


def test_a_result_that_is_sent_twice_is_recorded_once(furnished: Store) -> None:
    assert furnished.record(measured())
    assert not furnished.record(measured(message="again"))
    assert furnished.measurements(with_visits=True) == [measured()]


def test_a_latency_of_one_visit_has_no_spread(furnished: Store) -> None:
    latency = summarise(VISITS[:1])
    assert isinstance(latency, Latency)
    assert latency.mad_ms is None
    furnished.record(measured(latency=latency, overhead_ms=None, visits=VISITS[:1]))
    assert furnished.measurements()[0].latency == latency


@pytest.mark.parametrize("status", [status for status in Status if not status.has_latency])
def test_every_attempt_is_stored_also_without_a_latency(furnished: Store, status: Status) -> None:
    furnished.record(failed("m1", status))
    assert furnished.measurements() == []
    assert furnished.measurements(usable_only=False, with_visits=True) == [failed("m1", status)]


def test_what_measurements_refer_to_comes_back_and_is_stored_once(furnished: Store) -> None:
    for _ in range(2):
        furnished.put_device(replace(DEVICE, name="other name"))
        furnished.put_environment(ENVIRONMENT)
        furnished.put_profile(PROFILE)
        furnished.put_workload(replace(WORKLOAD, name="other name"))
    assert furnished.devices() == [DEVICE]
    assert furnished.workload(WORKLOAD.graph_hash) == WORKLOAD
    assert furnished.profile(PROFILE.profile_hash) == PROFILE
    environment = furnished.environment(ENVIRONMENT.environment_hash)
    assert environment == ENVIRONMENT
    assert environment.environment_hash == ENVIRONMENT.environment_hash
    assert (furnished.workload("?"), furnished.profile("?"), furnished.environment("?")) == (None, None, None)
    counts = furnished.counts()
    assert (counts.devices, counts.environments, counts.profiles, counts.workloads) == (1, 1, 1, 1)
    assert counts.size_bytes > 0


def test_measurements_are_chosen_by_device_profile_graph_and_purpose_oldest_first(furnished: Store) -> None:
    other = replace(WORKLOAD, graph_hash="b" * 64)
    furnished.put_workload(other)
    furnished.put_device(replace(DEVICE, identity="serial-2"))
    furnished.record(measured("late", started_at="2026-11-22T12:00:00+00:00"))
    furnished.record(measured("early", graph_hash=other.graph_hash, purpose="network"))
    furnished.record(measured("elsewhere", device_identity="serial-2", started_at="2026-11-22T11:00:00+00:00"))

    def ids(**wanted: object) -> list[str]:
        return [m.measurement_id for m in furnished.measurements(**wanted)]  # type: ignore[arg-type]

    assert ids() == ["early", "elsewhere", "late"]
    assert ids(device_identity="serial-2") == ["elsewhere"]
    assert ids(profile_hash="?") == []
    assert ids(purposes={"network", "panel"}) == ["early"]
    assert ids(purposes=[]) == ids(graph_hashes=[]) == []
    many = [f"{number:064x}" for number in range(3000)]
    assert ids(graph_hashes=[*many, WORKLOAD.graph_hash, "b" * 64]) == ["early", "elsewhere", "late"]


def test_a_retracted_measurement_stays_but_is_not_used(furnished: Store) -> None:
    furnished.record(measured("m1"))
    furnished.record(measured("m2"))
    furnished.retract("m1", "keeper", "fan was off")
    assert [m.measurement_id for m in furnished.measurements()] == ["m2"]
    assert [m.measurement_id for m in furnished.measurements(usable_only=False)] == ["m1", "m2"]
    assert furnished.counts().annotations == 1
    with pytest.raises(UsageError, match="no measurement m9"):
        furnished.retract("m9", "keeper", "no such thing")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE measurement SET latency_median_ms = 1",
        "DELETE FROM measurement",
        "UPDATE measurement_raw SET payload = NULL",
        "DELETE FROM measurement_raw",
    ],
)
def test_the_database_itself_refuses_to_change_a_measurement(furnished: Store, statement: str) -> None:
    furnished.record(measured())
    with pytest.raises(StoreError, match="immutable"), furnished._database.write() as connection:
        connection.execute(text(statement))
    assert furnished.measurements(with_visits=True) == [measured()]


def test_replacing_or_truncating_is_refused_too(furnished: Store) -> None:
    furnished.record(measured())
    if furnished.counts().dialect == "sqlite":
        with furnished._database.write() as connection:
            for table, change in (("measurement", "message = 'changed'"), ("measurement_raw", "payload = x''")):
                connection.execute(text(f"CREATE TEMP TABLE copy AS SELECT * FROM {table}"))
                connection.execute(text(f"UPDATE copy SET {change}"))
                connection.execute(text(f"REPLACE INTO main.{table} SELECT * FROM copy"))
                connection.execute(text("DROP TABLE copy"))
    else:
        for table in ("measurement_raw", "measurement CASCADE"):
            with pytest.raises(StoreError, match="immutable"), furnished._database.write() as connection:
                connection.execute(text(f"TRUNCATE {table}"))
    assert furnished.measurements(with_visits=True) == [measured()]


def test_a_measurement_of_something_unknown_is_refused_whole(furnished: Store) -> None:
    with pytest.raises(StoreError, match="refuses the row"):
        furnished.record(measured(graph_hash="f" * 64))
    assert furnished.measurements(usable_only=False) == []
    assert furnished.record(measured())


def test_measurements_are_read_without_loading_onnx() -> None:
    code = "import sys, edgecost.db; sys.exit('onnx' in sys.modules or 'alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


CONDITIONS = {
    "before": {"load_1min": 0.25, "clocks_mhz": [600.0, 1500.0], "memory_available_bytes": None},
    "after": {"load_1min": 1.5, "cpu_busy_s": 0.1 + 0.2},
    "load_ms": 1e-3,
    "first_run_ms": 12.5,
    "compile_ms": None,
    "wall_clock_step_s": -3600.25,
}


def test_the_conditions_of_a_measurement_come_back_with_its_visits(furnished: Store) -> None:
    plain, rich = measured("m1"), measured("m2", conditions=CONDITIONS)
    bare = replace(failed("m3"), conditions=CONDITIONS)
    for measurement in (plain, rich, bare):
        assert furnished.record(measurement)
    found = furnished.measurements(usable_only=False, with_visits=True)
    assert found == [plain, rich, bare]
    assert [dict(m.conditions) for m in found] == [{}, CONDITIONS, CONDITIONS]
    assert [dict(m.conditions) for m in furnished.measurements(usable_only=False)] == [{}, {}, {}]


def test_an_unstable_latency_is_kept_but_never_used_and_never_learnt_from(furnished: Store) -> None:
    unstable = measured("m1", status=Status.UNSTABLE, message="6 of 30 visits valid")
    furnished.record(unstable)
    assert unstable.latency is not None
    assert furnished.measurements(usable_only=False, with_visits=True) == [unstable]
    assert furnished.measurements() == []
    assert load_samples(furnished, DEVICE.identity, PROFILE) == []
    furnished.record(measured("m2", latency=replace(unstable.latency, median_ms=5.0)))
    assert [m.measurement_id for m in furnished.measurements()] == ["m2"]
    (sample,) = load_samples(furnished, DEVICE.identity, PROFILE)
    assert sample.raw_ms == 5.0


def test_a_profile_with_an_interpreter_and_cpus_of_its_own_comes_back(furnished: Store) -> None:
    pinned = replace(PROFILE, interpreter="/opt/ü/python", affinity=(1, 3))
    furnished.put_profile(pinned)
    assert furnished.profile(pinned.profile_hash) == pinned
    assert furnished.profile(PROFILE.profile_hash) == PROFILE


def at(hour: int, **changes: object) -> Measurement:
    return measured(f"m{hour:02}", started_at=f"2026-11-22T{hour:02}:00:00.000+00:00", visits=(), **changes)


def test_the_latest_is_the_newest_that_can_be_used(furnished: Store) -> None:
    def latest(profile_hash: str | None = PROFILE.profile_hash) -> str | None:
        found = furnished.latest(WORKLOAD.graph_hash, device_identity=DEVICE.identity, profile_hash=profile_hash)
        return found and found.measurement_id

    assert latest() is None
    other = replace(PROFILE, threads=2)
    furnished.put_profile(other)
    furnished.put_workload(replace(WORKLOAD, graph_hash="b" * 64))
    furnished.put_device(replace(DEVICE, identity="serial-2"))
    for made in (at(3), at(1), at(2), at(4, status=Status.UNSTABLE), at(5, graph_hash="b" * 64)):
        furnished.record(made)
    furnished.record(replace(failed("m06"), started_at=at(6).started_at))
    furnished.record(at(7, device_identity="serial-2"))
    furnished.record(at(8, profile_hash=other.profile_hash))
    assert latest() == "m03"
    assert latest(None) == "m08"
    furnished.retract("m03", "keeper", "fan was off")
    assert latest() == "m02"
    found = furnished.latest(WORKLOAD.graph_hash, device_identity=DEVICE.identity)
    assert found == at(8, profile_hash=other.profile_hash)


def test_of_two_that_began_together_the_latest_is_always_the_same(furnished: Store) -> None:
    for name in ("m2", "m3", "m1"):
        furnished.record(measured(name))
    found = furnished.latest(WORKLOAD.graph_hash, device_identity=DEVICE.identity)
    assert found is not None
    assert found.measurement_id == "m3"


def test_pages_one_after_the_other_are_the_whole(furnished: Store) -> None:
    furnished.put_workload(replace(WORKLOAD, graph_hash="b" * 64))
    for hour in (5, 3, 1, 7, 2, 6):
        furnished.record(at(hour, graph_hash=("a" if hour % 2 else "b") * 64))
    for number in (8, 9):  # began with another
        furnished.record(replace(at(5), measurement_id=f"n{number:02}"))
    for wanted in ({}, {"graph_hashes": ["a" * 64, "b" * 64]}, {"device_identity": DEVICE.identity}):
        pages, last = [], None
        while page := furnished.measurements(limit=3, after=last, **wanted):  # type: ignore[arg-type]
            pages.append([measurement.measurement_id for measurement in page])
            last = page[-1]
        assert pages == [["m01", "m02", "m03"], ["m05", "n08", "n09"], ["m06", "m07"]]
    assert furnished.measurements(limit=0) == []


def test_both_questions_find_an_index_on_sqlite_which_has_no_statistics(tmp_path: Path) -> None:
    """PostgreSQL plans by what its tables hold; ``benchmarks/store_scale.py`` times both engines."""
    device, profile = DEVICE.identity, PROFILE.profile_hash
    latest = measurements.Wanted(device, profile, (WORKLOAD.graph_hash,), limit=1, newest=True)
    page = measurements.Wanted(device, profile, purposes=("cell",), limit=10)
    graph, share = (f"INDEX ix_measurement_{name}" for name in ("graph_hash_device", "device_identity_profile"))
    with Store(tmp_path / "store.sqlite") as store, store._database.read() as connection:
        for wanted, index in ((latest, graph), (replace(latest, profile_hash=None), graph), (page, share)):
            (statement,) = measurements.statements(wanted)
            compiled = statement.compile(connection, compile_kwargs={"render_postcompile": True})
            bound = tuple(compiled.params[name] for name in compiled.positiontup or ())
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", bound).all()
            assert index in str(plan[0])
