"""Roll-ups of days: what they say, that doing it again changes nothing, and that one process does it at a time."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import astuple, replace
from pathlib import Path

import pytest
from sqlalchemy import text

from edgecost.cli.main import main
from edgecost.db import DailyRollup, Store, maintenance, schema
from edgecost.profiler.errors import StoreError
from edgecost.profiler.records import Measurement, Status
from tests.test_db_measurements import DEVICE, ENVIRONMENT, PROFILE, VISITS, WORKLOAD, failed, measured

OTHER = replace(PROFILE, threads=2)


@pytest.fixture
def furnished(store: Store) -> Store:
    furnish(store)
    return store


def furnish(store: Store) -> None:
    store.put_device(DEVICE)
    store.put_device(replace(DEVICE, identity="serial-2"))
    store.put_environment(ENVIRONMENT)
    store.put_profile(PROFILE)
    store.put_profile(OTHER)
    store.put_workload(WORKLOAD)


def added_up(store: Store) -> tuple[bool, int, int]:
    """Whether this process maintained the store, the days and the roll-ups."""
    done = store.maintain()
    return done.is_leader, done.days, done.rows


def on(day: str, name: str, **changes: object) -> Measurement:
    return measured(name, started_at=f"{day}T23:59:59.999+00:00", **changes)


def test_a_day_is_added_up_by_device_profile_and_purpose(furnished: Store) -> None:
    furnished.record(on("2026-11-26", "m1"))
    furnished.record(on("2026-11-26", "m2", status=Status.UNCONVERGED))
    furnished.record(on("2026-11-26", "m3", status=Status.UNSTABLE))
    furnished.record(on("2026-11-26", "m4", status=Status.REJECTED, latency=None))
    furnished.record(replace(failed("m5"), started_at="2026-11-26T00:00:00.000+00:00"))
    furnished.record(on("2026-11-26", "m6", purpose="network"))
    furnished.record(on("2026-11-27", "m7", profile_hash=OTHER.profile_hash))
    assert furnished.daily() == []
    assert added_up(furnished) == (True, 2, 3)
    key = (DEVICE.identity, PROFILE.profile_hash)
    rejected = sum(bool(visit.reject_reason) for visit in VISITS)
    assert furnished.daily() == [
        DailyRollup("2026-11-26", *key, "cell", 5, 2, 2, 1, 4 * len(VISITS), 4 * rejected),
        DailyRollup("2026-11-26", *key, "network", 1, 1, 0, 0, len(VISITS), rejected),
        DailyRollup("2026-11-27", DEVICE.identity, OTHER.profile_hash, "cell", 1, 1, 0, 0, len(VISITS), rejected),
    ]
    assert [one.day for one in furnished.daily(first="2026-11-27")] == ["2026-11-27"]
    assert [one.purpose for one in furnished.daily(last="2026-11-26")] == ["cell", "network"]
    assert furnished.daily(device_identity="serial-2") == []


def test_only_days_that_changed_are_added_up_again_old_ones_too(furnished: Store) -> None:
    for number in range(4):
        furnished.record(on(f"2026-11-2{number}", f"m{number}"))
    assert furnished.maintain().days == 4
    before = furnished.daily()
    assert added_up(furnished) == (True, 0, 0)
    assert furnished.daily() == before
    furnished.record(on("2026-11-21", "late", purpose="panel"))
    assert added_up(furnished) == (True, 1, 2)
    assert [one for one in furnished.daily() if one.purpose == "cell"] == before
    furnished.retract("m1", "keeper", "fan was off")
    assert furnished.maintain().days == 0


def test_what_a_merge_brings_is_added_up(furnished: Store, tmp_path: Path) -> None:
    furnished.record(on("2026-11-26", "m1"))
    furnished.maintain()
    with Store(tmp_path / "board.sqlite") as board:
        furnish(board)
        board.record(on("2026-11-26", "m2"))
        board.record(on("2025-01-01", "m3"))
        board.maintain()
    furnished.merge(tmp_path / "board.sqlite")
    assert furnished.maintain().days == 2
    assert [(one.day, one.attempts) for one in furnished.daily()] == [("2025-01-01", 1), ("2026-11-26", 2)]


def test_sums_are_those_that_python_adds_up(furnished: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "_CHUNK", 3)
    draw, expected = random.Random(7), defaultdict[tuple[str, ...], list[int]](lambda: [0] * 6)
    for n in range(120):
        status = draw.choice(list(Status))
        device, profile = draw.choice((DEVICE.identity, "serial-2")), draw.choice((PROFILE, OTHER)).profile_hash
        day, purpose = f"2026-{draw.randrange(1, 10):02}-01", draw.choice(("cell", "anchor"))
        visits = VISITS[: draw.randrange(4)]
        latency = measured().latency if status.has_latency or status is Status.UNSTABLE else None
        where = {"device_identity": device, "profile_hash": profile, "purpose": purpose}
        furnished.record(on(day, f"m{n}", status=status, latency=latency, visits=visits, **where))
        sums = expected[day, device, profile, purpose]
        is_rejected = status in (Status.REJECTED, Status.UNSTABLE)
        kind = 1 if status.has_latency else 2 if is_rejected else 3
        sums[0] += 1
        sums[kind] += 1
        sums[4] += len(visits)
        sums[5] += sum(bool(visit.reject_reason) for visit in visits)
        if n == 60:
            furnished.maintain()
    furnished.maintain()
    assert [astuple(one) for one in furnished.daily()] == sorted((*key, *sums) for key, sums in expected.items())


def test_while_one_maintains_another_leaves_at_once(furnished: Store) -> None:
    furnished.record(measured())
    with maintenance._leadership(furnished._database) as is_leader:
        assert is_leader
        if furnished.counts().dialect == "postgresql":
            assert added_up(furnished) == (False, 0, 0)
            assert furnished.daily() == []
    assert added_up(furnished) == (True, 1, 1)


def test_leadership_ends_with_an_error(furnished: Store) -> None:
    with pytest.raises(ZeroDivisionError), maintenance._leadership(furnished._database):
        1 / 0  # noqa: B018
    assert furnished.maintain().is_leader


def test_a_rollup_that_does_not_add_up_is_refused(furnished: Store) -> None:
    row = dict.fromkeys(schema.rollup_daily.c.keys(), 1) | {"day": "2026-11-27", "purpose": "cell"}
    with pytest.raises(StoreError, match="attempts"), furnished._database.write() as connection:
        connection.execute(schema.rollup_daily.insert(), row)


def test_the_days_are_found_in_an_index_on_sqlite(tmp_path: Path) -> None:
    with Store(tmp_path / "store.sqlite") as store, store._database.read() as connection:
        counted = maintenance._changed().compile(connection, compile_kwargs={"literal_binds": True})
        plan = str(connection.execute(text(f"EXPLAIN QUERY PLAN {counted}")).all())
    assert "COVERING INDEX ix_measurement_device_identity_profile_hash_started_at" in plan


def test_the_command_says_what_was_done(furnished: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    furnished.record(measured())
    url = furnished._database.url.render_as_string(hide_password=False)
    assert main(["db", "maintain", "--db", url]) == 0
    outside = int(furnished._database.dialect == "postgresql")
    told = "Days of devices and profiles added up anew: 1.\n" + outside * "Raw samples that stand in no month: 1.\n"
    assert capsys.readouterr().out == told
    assert main(["db", "maintain", "--db", url, "--json"]) == 0
    expected = {"is_leader": True, "days": 0, "rows": 0, "months": 0, "outside_months": outside}
    assert json.loads(capsys.readouterr().out) == {"schema_version": 1, **expected}
    assert main(["db", "maintain", "--db", str(tmp_path / "none.sqlite")]) == 2
    assert not (tmp_path / "none.sqlite").exists()
