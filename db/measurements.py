"""Records measurements exactly once and reads them back exactly. None is ever changed; ``retract`` adds a row."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cache

from sqlalchemy import Connection, Select, and_, delete, exists, func, insert, literal, select, true, tuple_

from ..profiler.errors import UsageError
from ..profiler.records import Energy, Json, Measurement, Quantity, Status
from . import schema
from .attempts import Attempt, close_attempt, lock_job
from .codec import CODEC, encode_visits
from .connect import insert_missing, now, stamp
from .measurement_rows import ENERGY, LATENCY, MEMORY, TEXTS, MeasurementRows, energy_of

#: Hashes in one statement; SQLite before 3.32 takes 999 parameters.
_CHUNK = 500
_USABLE = tuple(status.value for status in Status if status.has_latency)
#: The rail under which the energy of the whole device stands.
_WHOLE = ""


@dataclass(frozen=True)
class Wanted:
    """Which measurements to read; None does not restrict. Fields as in ``Store.measurements``, and ``newest``: turn the
    order round.
    """

    device_identity: str | None = None
    profile_hash: str | None = None
    graph_hashes: Collection[str] | None = None
    purposes: Collection[str] | None = None
    usable_only: bool = True
    with_visits: bool = False
    of: Quantity | None = Quantity.LATENCY
    limit: int | None = None
    after: Measurement | None = None
    newest: bool = False


def record(connection: Connection, measurement: Measurement, job_id: int | None, lease_token: str | None) -> bool:
    """Measurement, readings, raw visits, state of the job, end of its spool: all or nothing.

    False when it was there already.
    """
    job = None if job_id is None else lock_job(connection, job_id)
    moment = stamp(now(connection))
    added = add(connection, measurement, job_id, moment)
    if added and job_id is not None and job is not None:
        owner = job["lease_owner"] or ""
        made = measurement
        attempt = Attempt(job_id, made.measurement_id, made.status, made.answers, owner, lease_token)
        close_attempt(connection, job, attempt, moment)
    spool = schema.visit_spool
    connection.execute(delete(spool).where(spool.c.measurement_id == measurement.measurement_id))
    return added


def add(connection: Connection, measurement: Measurement, job_id: int | None, recorded_at: str) -> bool:
    """Measurement, readings and raw visits; its job stays as it is. False when it was there already."""
    table = schema.measurement
    statement = insert_missing(table, connection).returning(table.c.measurement_id)
    added = connection.execute(statement, _row(measurement, job_id, recorded_at)).first() is not None
    if added:
        _record_readings(connection, measurement)
    traces = list(_traces(measurement)) if added else []
    if traces:
        connection.execute(insert(schema.measurement_raw), traces)
    return added


def read(connection: Connection, wanted: Wanted) -> list[Measurement]:
    """The measurements that are wanted, oldest first, or with ``newest`` the other way round."""
    found: list[Measurement] = []
    for statement in statements(wanted):
        rows = connection.execute(statement)
        found += map(MeasurementRows(rows.keys()).measurement, rows.all())
    if wanted.with_visits:
        found = _with_rails(connection, found)
    found.sort(key=lambda measurement: (measurement.started_at, measurement.measurement_id), reverse=wanted.newest)
    return found[: wanted.limit]


def _with_rails(connection: Connection, found: list[Measurement]) -> list[Measurement]:
    """The same with the energies of their rails, which few have."""
    table = schema.measurement_energy
    names = [one.measurement_id for one in found if one.energy is not None]
    by_id: dict[str, dict[str, Energy]] = {}
    for start in range(0, len(names), _CHUNK):
        statement = (
            select(table.c.measurement_id, table.c.rail, table.c.status, *(table.c[name] for name in ENERGY))
            .where(table.c.rail != _WHOLE, table.c.measurement_id.in_(names[start : start + _CHUNK]))
            .order_by(table.c.measurement_id, table.c.rail)
        )
        for measurement_id, rail, status, *numbers in connection.execute(statement):
            by_id.setdefault(measurement_id, {})[rail] = energy_of(status, numbers)
    return [replace(one, rails=by_id.get(one.measurement_id, {})) for one in found] if by_id else found


def latest(connection: Connection, wanted: Wanted) -> Measurement | None:
    """The newest of the measurements that are wanted."""
    return next(iter(read(connection, replace(wanted, limit=1, newest=True))), None)


def profiles_of(connection: Connection, device_identity: str) -> list[str]:
    """Hashes of the runtime profiles that a device was measured with, the most recent last."""
    table = schema.measurement
    newest = func.max(table.c.started_at)
    statement = select(table.c.profile_hash).where(table.c.device_identity == device_identity)
    return list(connection.execute(statement.group_by(table.c.profile_hash).order_by(newest)).scalars())


def measured_pairs(connection: Connection, purposes: Collection[str]) -> list[tuple[str, str]]:
    """Device and profile of every pair that has a usable latency for such a purpose, retracted ones included."""
    table = schema.measurement
    statement = (
        select(table.c.device_identity, table.c.profile_hash)
        .where(table.c.purpose.in_(purposes), table.c.status.in_(_USABLE))
        .distinct()
        .order_by(table.c.device_identity, table.c.profile_hash)
    )
    return [(identity, profile_hash) for identity, profile_hash in connection.execute(statement)]


def environments_of(connection: Connection, device_identity: str, profile_hash: str) -> list[str]:
    """Hashes of the environments in which a device was measured under a profile."""
    table = schema.measurement
    statement = select(table.c.environment_hash).distinct()
    statement = statement.where(table.c.device_identity == device_identity, table.c.profile_hash == profile_hash)
    return sorted(connection.execute(statement).scalars())


def session_conditions(
    connection: Connection, device_identity: str, profile_hash: str, limit: int, environment_hash: str | None = None
) -> list[dict[str, Json]]:
    """Conditions of the newest ``limit`` sessions that have any, newest first, each with its ``session``.

    Of a session with many measurements one speaks for all. None asks for sessions in any environment.
    """
    table, raw = schema.measurement, schema.measurement_raw
    newest = func.max(table.c.started_at).label("newest")
    chosen = (
        select(func.min(table.c.measurement_id).label("measurement_id"), newest)
        .join_from(table, raw)
        .where(table.c.device_identity == device_identity, table.c.profile_hash == profile_hash)
        .where(raw.c.kind == "conditions")
        .where(true() if environment_hash is None else table.c.environment_hash == environment_hash)
        .group_by(table.c.session)
        .order_by(newest.desc())
        .limit(limit)
        .subquery()
    )
    statement = (
        select(table.c.session, raw.c.payload)
        .join_from(chosen, table, chosen.c.measurement_id == table.c.measurement_id)
        .join(raw, raw.c.measurement_id == table.c.measurement_id)
        .where(raw.c.kind == "conditions")
        .order_by(chosen.c.newest.desc())
    )
    return [{**json.loads(payload), "session": session} for session, payload in connection.execute(statement)]


def retract(connection: Connection, measurement_id: str, author: str, reason: str) -> None:
    """Say that a measurement is not to be used.

    Raises:
        UsageError: no measurement has this id.
    """
    table = schema.measurement
    known = select(table.c.measurement_id).where(table.c.measurement_id == measurement_id)
    if connection.execute(known).first() is None:
        raise UsageError(f"There is no measurement {measurement_id}.")
    connection.execute(
        insert(schema.annotation),
        {
            "measurement_id": measurement_id,
            "author": author,
            "verdict": "retract",
            "reason": reason,
            "created_at": stamp(now(connection)),
        },
    )


def _row(measurement: Measurement, job_id: int | None, recorded_at: str) -> dict[str, object]:
    row: dict[str, object] = {name: getattr(measurement, name) for name in TEXTS}
    row |= {
        "job_id": job_id,
        "status": measurement.status.value,
        "recorded_at": recorded_at,
        "overhead_ms": measurement.overhead_ms,
        "all_visits": len(measurement.visits),
        "rejected_visits": measurement.rejected_visits,
    }
    if measurement.latency is not None:
        row |= {column: getattr(measurement.latency, name) for name, column in LATENCY.items()}
    return row


def _record_readings(connection: Connection, measurement: Measurement) -> None:
    identity = {"measurement_id": measurement.measurement_id}
    energy, memory = measurement.energy, measurement.peak_memory
    if energy is not None:
        rows = [identity | _energy_row(rail, one) for rail, one in {_WHOLE: energy, **measurement.rails}.items()]
        connection.execute(insert(schema.measurement_energy), rows)
    if memory is not None:
        row = {name: getattr(memory, name) for name in MEMORY} | {"status": memory.status.value}
        connection.execute(insert(schema.measurement_memory), {**identity, **row})


def _energy_row(rail: str, energy: Energy) -> dict[str, object]:
    return {"rail": rail, "status": energy.status.value, **{name: getattr(energy, name) for name in ENERGY}}


def _traces(measurement: Measurement) -> Iterator[dict[str, object]]:
    """What is too long for columns: visits, and the conditions around them."""
    if measurement.visits:
        yield _trace(measurement, "visits", CODEC, encode_visits(measurement.visits))
    if measurement.conditions:
        yield _trace(measurement, "conditions", "json", json.dumps(dict(measurement.conditions)).encode())


def _trace(measurement: Measurement, kind: str, codec: str, payload: bytes) -> dict[str, object]:
    return {"measurement_id": measurement.measurement_id, "kind": kind, "codec": codec, "payload": payload}


def statements(wanted: Wanted) -> Iterator[Select[tuple[object, ...]]]:
    """One, or one for each so many graphs."""
    if wanted.graph_hashes is None:
        yield _in_order(_statement(wanted), wanted)
        return
    hashes = sorted(set(wanted.graph_hashes))
    for start in range(0, len(hashes), _CHUNK):
        some = schema.measurement.c.graph_hash.in_(hashes[start : start + _CHUNK])
        yield _in_order(_statement(wanted).where(some), wanted)


def _in_order(statement: Select[tuple[object, ...]], wanted: Wanted) -> Select[tuple[object, ...]]:
    """Only where something depends on it: whole sets are put in order by ``read``."""
    begun, name = schema.measurement.c.started_at, schema.measurement.c.measurement_id
    if wanted.after is not None:
        last = tuple_(literal(wanted.after.started_at), literal(wanted.after.measurement_id))
        statement = statement.where(tuple_(begun, name) < last if wanted.newest else tuple_(begun, name) > last)
    if wanted.limit is None:
        return statement
    # One expression is the same order, stamps being of one length, and no index has it: SQLite would rather walk
    # through all of a device in the order of an index than look few graphs up and sort what it finds.
    order = (begun, name) if wanted.graph_hashes is None else (begun + name,)
    return statement.order_by(*(column.desc() if wanted.newest else column for column in order)).limit(wanted.limit)


@cache
def _joined(with_visits: bool) -> Select[tuple[object, ...]]:
    """Measurements with all that stands beside them; made once: so many columns take longer than one row."""
    table, raw = schema.measurement, schema.measurement_raw
    energy, memory = schema.measurement_energy, schema.measurement_memory
    # Labels such as energy_status keep columns of one name in three tables apart.
    readings = [energy.c[name].label(f"energy_{name}") for name in ("status", *ENERGY)]
    readings += [memory.c[name].label(f"memory_{name}") for name in ("status", *MEMORY)]
    whole = and_(energy.c.measurement_id == table.c.measurement_id, energy.c.rail == _WHOLE)
    statement: Select[tuple[object, ...]] = (
        select(table, *readings)
        .outerjoin_from(table, energy, whole)
        .outerjoin(memory, memory.c.measurement_id == table.c.measurement_id)
    )
    if with_visits:
        about = raw.alias()
        visits = and_(raw.c.measurement_id == table.c.measurement_id, raw.c.kind == "visits")
        conditions = and_(about.c.measurement_id == table.c.measurement_id, about.c.kind == "conditions")
        statement = (
            statement.add_columns(raw.c.payload, about.c.payload.label("conditions"))
            .outerjoin(raw, visits)
            .outerjoin(about, conditions)
        )
    return statement


def _statement(wanted: Wanted) -> Select[tuple[object, ...]]:
    table, annotation = schema.measurement, schema.annotation
    energy, memory = schema.measurement_energy, schema.measurement_memory
    statement = _joined(wanted.with_visits)
    if wanted.device_identity is not None:
        statement = statement.where(table.c.device_identity == wanted.device_identity)
    if wanted.profile_hash is not None:
        statement = statement.where(table.c.profile_hash == wanted.profile_hash)
    if wanted.purposes is not None:
        statement = statement.where(table.c.purpose.in_(sorted(set(wanted.purposes))))
    if wanted.usable_only:
        retracted = and_(annotation.c.measurement_id == table.c.measurement_id, annotation.c.verdict == "retract")
        statement = statement.where(table.c.status.in_(_USABLE), ~exists().where(retracted))
        if wanted.of is not None:
            number = {
                Quantity.LATENCY: table.c.latency_median_ms,
                Quantity.ENERGY: energy.c.gross_median_mj,
                Quantity.MEMORY: memory.c.peak_bytes,
            }[wanted.of]
            statement = statement.where(number.is_not(None))
    return statement
