"""Months of raw samples on PostgreSQL: nothing is lost, doubled or in anybody's way when one is made or taken away."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from alembic.command import downgrade
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from edgecost.cli.main import main
from edgecost.db import Store, partitions
from edgecost.db.connect import Database, now
from edgecost.db.partitions import AHEAD, Month
from edgecost.db.upgrade import alembic_config
from edgecost.hub.pages.workloads import measurement_view
from edgecost.profiler.errors import RowRefused, StoreBusy
from edgecost.profiler.measurement_id import first_id_of, new_measurement_id
from tests.hub_server import QUICK, served
from tests.test_db_maintenance import furnish
from tests.test_db_measurements import measured

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2400, 1, 1)).map(lambda one: one.replace(tzinfo=timezone.utc))
OTHER = "measurement_raw_other"
PAUSE = threading.Event()


@pytest.fixture
def store(postgresql_url: str) -> Iterator[Store]:
    with Store(postgresql_url) as opened:
        furnish(opened)
        yield opened


def id_in(month: Month, tail: str = "") -> str:
    """A name that was made in the middle of the month."""
    return first_id_of(int(month.first_id, 16) + 15 * 86_400_000) + tail.rjust(20, "7")


def rows_by_table(store: Store) -> dict[str, int]:
    found = text("SELECT tableoid::regclass::text, count(*) FROM measurement_raw GROUP BY 1")
    with store._database.read() as connection:
        return dict(connection.execute(found).all())


def tables(store: Store) -> set[str]:
    """The partitions of months."""
    named = text("SELECT relname FROM pg_class WHERE relname ~ '^measurement_raw_[0-9_]+$' AND relkind = 'r'")
    with store._database.read() as connection:
        return set(connection.execute(named).scalars())


def this_month(store: Store) -> Month:
    with store._database.read() as connection:
        return Month.of(now(connection))


def run(store: Store, statement: str) -> None:
    with store._database.write() as connection:
        connection.execute(text(statement))


@given(MOMENTS)
def test_what_was_made_in_a_month_lies_between_its_bounds(moment: datetime) -> None:
    name, month = first_id_of(round(moment.timestamp() * 1000)) + "7" * 20, Month.of(moment)
    assert month.first_id <= name < month.later(1).first_id
    assert Month.of_table(month.table) == month == month.later(7).later(-7)


def test_names_of_attempts_are_uuids_in_the_order_of_time() -> None:
    before = [new_measurement_id() for _ in range(1000)]
    assert len(set(before)) == 1000
    assert [one[:12] for one in before] == sorted(one[:12] for one in before)
    for one in map(uuid.UUID, before):
        assert (one.version, one.variant) == (7, uuid.RFC_4122)
    assert before[0][:12] <= first_id_of(round(datetime.now(timezone.utc).timestamp() * 1000))


@pytest.mark.parametrize("moment_ms", [-1, 0, 1 << 48, 1 << 60])
def test_a_clock_that_is_off_names_attempts_all_the_same(moment_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: moment_ms * 1_000_000)
    assert uuid.UUID(new_measurement_id()).version == 7


def test_a_new_store_has_this_month_and_those_to_come(store: Store) -> None:
    name = new_measurement_id()
    store.record(measured(name))
    store.record(measured("of another kind"))
    month = this_month(store)
    assert rows_by_table(store) == {month.table: 1, OTHER: 1}
    assert tables(store) == {month.later(n).table for n in range(AHEAD + 1)}
    assert store.maintain().months == 0


def test_who_asks_for_samples_looks_into_one_month(store: Store) -> None:
    asked = text(f"EXPLAIN SELECT payload FROM measurement_raw WHERE measurement_id = '{new_measurement_id()}'")
    with store._database.read() as connection:
        plan = "\n".join(connection.execute(asked).scalars())
    assert this_month(store).table in plan
    assert plan.count("Heap Scan on measurement_raw") == 1


def test_a_store_without_months_keeps_what_it_has_when_it_gets_them(store: Store, postgresql_url: str) -> None:
    names = ["m1", "f" * 32, new_measurement_id(), id_in(Month(2020, 2))]
    for name in names:
        store.record(measured(name))
    before = store.measurements(usable_only=False, with_visits=True)
    with store._database.write() as connection:
        downgrade(alembic_config(connection), "edgecost_0006")
    assert rows_by_table(store) == {"measurement_raw": len(names)}
    with pytest.raises(RowRefused, match="immutable"):
        run(store, "DELETE FROM measurement_raw")
    with Store(postgresql_url) as upgraded:
        assert upgraded.measurements(usable_only=False, with_visits=True) == before
        assert rows_by_table(upgraded) == {this_month(upgraded).table: 1, OTHER: len(names) - 1}
        assert upgraded.maintain().outside_months == len(names) - 1
        assert not any(upgraded.record(measured(name, message="again")) for name in names)


def test_an_attempt_stands_once_whenever_it_is_handed_in(store: Store) -> None:
    name = id_in(Month(2025, 1))
    assert store.record(measured(name))
    with store._database.write() as connection:
        partitions.make_month(connection, Month(2025, 1))
    assert rows_by_table(store) == {Month(2025, 1).table: 1}
    assert not store.record(measured(name, message="again"))
    row = f"INSERT INTO measurement_raw SELECT * FROM {Month(2025, 1).table}"
    with pytest.raises(RowRefused, match="unique"):
        run(store, row)
    run(store, f"{row} ON CONFLICT DO NOTHING")
    assert rows_by_table(store) == {Month(2025, 1).table: 1}


def test_months_that_nobody_made_in_time_are_made_later_and_get_what_is_theirs(store: Store) -> None:
    old = this_month(store).later(-3)
    store.record(measured("m1"))
    for n in range(6):
        store.record(measured(id_in(old.later(n // 2), str(n))))
    assert rows_by_table(store) == {OTHER: 7}
    before = store.measurements(usable_only=False, with_visits=True)
    with store._database.write() as connection:
        partitions.make_month(connection, old)
    assert rows_by_table(store) == {OTHER: 5, old.table: 2}
    done = store.maintain()
    assert (done.months, done.outside_months) == (2, 1)
    assert rows_by_table(store) == {OTHER: 1, **{old.later(n).table: 2 for n in range(3)}}
    assert store.measurements(usable_only=False, with_visits=True) == before
    again = store.maintain()
    assert (again.months, again.outside_months) == (0, 1)


@pytest.mark.parametrize("verb", ["UPDATE {} SET payload = ''", "DELETE FROM {}", "TRUNCATE {}"])
def test_samples_cannot_be_changed_through_a_month_either(store: Store, verb: str) -> None:
    store.record(measured(new_measurement_id()))
    month = this_month(store)
    for table in ("measurement_raw", month.table, month.later(AHEAD).table, OTHER):
        with pytest.raises(RowRefused, match="immutable"):
            run(store, verb.format(table))


def test_months_are_made_while_others_record(store: Store, postgresql_url: str) -> None:
    """Each waits for the other a little, and neither for ever: locks are taken in one order."""
    first, stop = this_month(store).later(-24), threading.Event()

    def record(tag: str) -> int:
        number = 0
        with Store(postgresql_url) as mine:
            while not stop.is_set():
                mine.record(measured(id_in(first.later(number % 24), f"{tag}{number}")))
                number += 1
        return number

    with ThreadPoolExecutor(2) as pool:
        recorders = [pool.submit(record, tag) for tag in "ab"]
        try:
            with store._database.write() as connection:
                partitions.make_month(connection, first)
            assert store.maintain().months == 23
        finally:
            stop.set()
        recorded = sum(one.result() for one in recorders)
    assert sum(rows_by_table(store).values()) == store.counts().measurements == recorded > 0
    assert OTHER not in rows_by_table(store)


@contextmanager
def reading(url: str) -> Iterator[None]:
    with Store(url) as other, other._database.snapshot() as connection:
        connection.execute(text("SELECT count(*) FROM measurement_raw"))
        yield


def test_a_month_is_left_for_another_time_when_somebody_reads_for_long(
    store: Store, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "_PATIENCE_MS", 50)
    old = this_month(store).later(-1)
    store.record(measured(id_in(old)))
    run(store, f"ALTER TABLE measurement_raw DETACH PARTITION {this_month(store).table}")
    run(store, f"DROP TABLE {this_month(store).table}")
    store.record(measured(new_measurement_id()))
    with reading(postgresql_url):
        with pytest.raises(StoreBusy):
            store.maintain()
        store.record(measured("meanwhile"))
    assert store.maintain().months == 1
    assert rows_by_table(store) == {OTHER: 2, this_month(store).table: 1}


def test_a_month_that_was_taken_away_leaves_measurements_without_samples(
    store: Store, postgresql_url: str, tmp_path: Path
) -> None:
    """As docs/how-to/plan-a-store.md says it is done."""
    month = this_month(store)
    gone, kept = id_in(month.later(-1)), new_measurement_id()
    store.record(measured(gone))
    store.record(measured(kept, started_at="2026-11-23T10:00:00+00:00"))
    with store._database.write() as connection:
        partitions.make_month(connection, month.later(-1))
    run(store, f"ALTER TABLE measurement_raw DETACH PARTITION {month.later(-1).table}")
    assert store.maintain().months == 0
    assert store.measurements(with_visits=True) == [
        replace(measured(gone), visits=(), conditions={}),
        measured(kept, started_at="2026-11-23T10:00:00+00:00"),
    ]
    store.export_parquet(tmp_path / "rest")
    with Store(tmp_path / "copy.sqlite") as copy:
        assert copy.import_parquet(tmp_path / "rest").new == 2
        assert copy.measurements(with_visits=True) == store.measurements(with_visits=True)


def test_archived_samples_are_told_and_not_shown_as_none(
    store: Store, postgresql_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store.record(measured(new_measurement_id()))
    (one,) = store.measurements(with_visits=True)
    assert not one.lacks_samples
    run(store, f"ALTER TABLE measurement_raw DETACH PARTITION {this_month(store).table}")
    assert main(["db", "show", one.measurement_id, "--db", postgresql_url]) == 0
    assert "2 visits, their samples archived" in capsys.readouterr().out
    assert main(["db", "show", one.measurement_id, "--db", postgresql_url, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["visits"], told["rejected_visits"]) == (None, None)
    page = measurement_view(store, one.measurement_id)
    assert (page.visits, page.rejected_visits, page.chart) == (None, None, None)


def test_a_hub_makes_the_months_of_its_store(store: Store) -> None:
    month = this_month(store)
    store.record(measured(id_in(month.later(-2))))
    with store._database.write() as connection:
        partitions.make_month(connection, month.later(-2))
    with served(store, replace(QUICK, maintain_s=0.05)):
        for _ in range(600):
            if store.daily() and month.later(-1).table in tables(store):
                break
            PAUSE.wait(0.05)
    assert month.later(-1).table in tables(store)
    assert [one.attempts for one in store.daily()] == [1]


def test_sqlite_has_no_months(tmp_path: Path) -> None:
    with Store(tmp_path / "store.sqlite") as store:
        done = store.maintain()
        assert (done.months, done.outside_months) == (0, 0)
        assert partitions.make_months(store._database) == 0
        assert isinstance(store._database, Database)
