"""Takes measurements over from a source into a store: what is new is added, what is known is left as it is.

A batch of measurements with all that belongs to them is one transaction, so a process that dies leaves a store without
halves, and the next run adds the rest. What a measurement's identity stands for already, but with other contents, is
refused and named. The source checks itself before it gives anything; here only what the database cannot check is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, Select, Table, and_, case, delete, exists, or_, select, text, true, union, update

from ..profiler.errors import ArtefactError, StoreError
from ..profiler.records import content_hash
from . import schema
from .codec import CODEC, decode_visits
from .connect import Database, insert_missing
from .outgoing import Batch, Source
from .portable import (
    ANNOTATION,
    CATALOGUE,
    JOB,
    MEASURED,
    MEASUREMENT,
    NUMBERS,
    PARTS,
    RAW,
    Portable,
    Row,
    Value,
    key_here,
)
from .records import TakenOver
from .staging import stage, staged

#: Called with 0 and the number of measurements first, then with how many more are done.
Progress = Callable[[int, int], None]

#: Identities in one statement; SQLite before 3.32 takes 999 parameters.
_CHUNK = 500
#: PostgreSQL's advisory lock that one intake holds during a batch: "edgecosu" in ASCII, one after the upgrade's.
_INTAKE_LOCK = 0x65646765636F7375
#: Tables whose key is the hash of their document.
_BY_CONTENT = (schema.environment.name, schema.runtime_profile.name, schema.sensor.name)


def take_over(source: Source, target: Database, progress: Progress | None = None) -> TakenOver:
    """Add what the source has and the target has not.

    Raises:
        ArtefactError: a document does not have the hash that it stands under; nothing of its batch is kept.
        StoreError: by cause; nothing of that batch is kept, all before it is.
    """
    rows = dict.fromkeys((portable.name for portable in (*CATALOGUE, *MEASURED)), 0)
    known, refused, total = 0, list[str](), source.count()
    if progress is not None:
        progress(0, total)
    for portable in CATALOGUE:
        for some in source.catalogue(portable):
            _check_hashes(portable, some)
            with target.write() as connection:
                rows[portable.name] += _take_catalogue(connection, portable, some)
    for batch in source.batches():
        with target.write() as connection:
            added, others = _take_batch(connection, batch)
        for name, number in added.items():
            rows[name] += number
        size = len(batch[MEASUREMENT.name])
        known += size - added[MEASUREMENT.name] - len(others)
        refused += others
        if progress is not None:
            progress(size, total)
    for some in source.catalogue(JOB):
        with target.write() as connection:
            _finish_jobs(connection, some)
    return TakenOver(rows[MEASUREMENT.name], known, tuple(refused), rows)


def _check_hashes(portable: Portable, rows: list[Row]) -> None:
    if portable.name not in _BY_CONTENT:
        return
    key, document = portable.columns.index(portable.key[0]), portable.columns.index("document")
    for row in rows:
        if not _stands_for(row[key], str(row[document])):
            raise ArtefactError(
                f"The {portable.name} {row[key]!r} does not have the contents that its name is the hash of.",
                remedy="It was altered: export anew, or take a copy from before.",
            )


def _stands_for(key: Value, document: str) -> bool:
    try:
        return content_hash(json.loads(document)) == key
    except ValueError:  # no JSON at all, or with numbers that JSON does not have
        return False


def _take_catalogue(connection: Connection, portable: Portable, rows: list[Row]) -> int:
    """Add what is missing; the number of new rows."""
    _lock(connection)
    fresh = stage(connection, portable, rows)
    if portable is JOB:
        return _take_jobs(connection, fresh)
    return _insert(connection, portable.table, portable.columns, select(*fresh.columns))


def _take_jobs(connection: Connection, fresh: Table) -> int:
    """A finished job is open here until its measurement is here."""
    here = schema.campaign
    own = [name for name in JOB.columns if name not in ("campaign_name", "dedupe_key", "state")]
    state = case((fresh.c.state == "done", "pending"), else_=fresh.c.state)
    rows = select(here.c.id, key_here(fresh.c.dedupe_key, here.c.id), state, *(fresh.c[name] for name in own))
    rows = rows.join_from(fresh, here, here.c.name == fresh.c.campaign_name)
    return _insert(connection, schema.job, ("campaign_id", "dedupe_key", "state", *own), rows)


def _finish_jobs(connection: Connection, rows: list[Row]) -> None:
    """As when somebody else's measurement finishes a job (``campaigns.close_attempt``)."""
    _lock(connection)
    fresh, here, job = stage(connection, JOB, rows), schema.campaign, schema.job
    its_campaign = here.c.name == fresh.c.campaign_name
    done = select(key_here(fresh.c.dedupe_key, here.c.id)).join_from(fresh, here, its_campaign)
    finished = and_(job.c.state != "done", job.c.dedupe_key.in_(done.where(fresh.c.state == "done")))
    unleased = {"lease_owner": None, "lease_token": None, "lease_until": None}
    connection.execute(update(job).where(finished).values(state="done", **unleased))


def _take_batch(connection: Connection, batch: Batch) -> tuple[dict[str, int], list[str]]:
    """New rows by table, and the measurements that are refused."""
    _lock(connection)
    for portable in MEASURED:
        stage(connection, portable, batch[portable.name])
    fresh, said = staged(MEASUREMENT), staged(ANNOTATION)
    refused = _refused(connection)
    for start in range(0, len(refused), _CHUNK):
        some = refused[start : start + _CHUNK]
        connection.execute(delete(said).where(said.c.measurement_id.in_(some)))
        connection.execute(delete(fresh).where(fresh.c.measurement_id.in_(some)))
    # Those that are known stay as they are, with all they have; only what was said of them later may be new.
    known = exists().where(schema.measurement.c.measurement_id == fresh.c.measurement_id)
    connection.execute(delete(fresh).where(known))
    added = {MEASUREMENT.name: _add_measurements(connection)}
    for portable in PARTS:
        part = staged(portable)
        rows = select(*part.columns).join_from(part, fresh, fresh.c.measurement_id == part.c.measurement_id)
        added[portable.name] = _insert(connection, portable.table, portable.columns, rows)
    added[ANNOTATION.name] = _add_annotations(connection)
    return added, refused


def _refused(connection: Connection) -> list[str]:
    """Which waiting measurements the store has with other contents."""
    found = set(connection.execute(union(*map(_altered, (MEASUREMENT, *NUMBERS)))).scalars())
    fresh, stored = staged(RAW), schema.measurement_raw
    payloads = _altered(RAW).add_columns(fresh.c.codec, stored.c.codec, fresh.c.payload, stored.c.payload)
    for name, codec, codec_here, payload, payload_here in connection.execute(payloads):
        if codec != codec_here or not _same_trace(codec, payload, payload_here):
            found.add(name)
    return sorted(found)


def _same_trace(codec: str, payload: bytes, other: bytes) -> bool:
    """Another zlib makes other bytes of the same visits."""
    try:
        return codec == CODEC and decode_visits(payload) == decode_visits(other)
    except StoreError:  # damaged on one side: that measurement is refused, and no other
        return False


def _altered(portable: Portable) -> Select[str]:
    """Which waiting measurements the store has with other values in this table."""
    fresh, stored = staged(portable), portable.table
    same = and_(*(fresh.c[name] == stored.c[name] for name in portable.key))
    # When it was recorded is each store's own.
    own = (*portable.key, "recorded_at")
    shared = [name for name in portable.columns if name in stored.c and name not in own]
    differs = or_(*(fresh.c[name].is_distinct_from(stored.c[name]) for name in shared))
    return select(fresh.c.measurement_id).join_from(fresh, stored, same).where(differs)


def _add_measurements(connection: Connection) -> int:
    fresh, here, job = staged(MEASUREMENT), schema.campaign, schema.job
    own = [name for name in MEASUREMENT.columns if name in schema.measurement.c]
    its_job = and_(job.c.campaign_id == here.c.id, job.c.dedupe_key == key_here(fresh.c.job_dedupe_key, here.c.id))
    rows = (
        select(job.c.id, *(fresh.c[name] for name in own))
        .outerjoin_from(fresh, here, here.c.name == fresh.c.job_campaign_name)
        .outerjoin(job, its_job)
    )
    return _insert(connection, schema.measurement, ("job_id", *own), rows)


def _add_annotations(connection: Connection) -> int:
    said, stored = staged(ANNOTATION), schema.annotation
    known = exists().where(and_(*(stored.c[name] == said.c[name] for name in ANNOTATION.key)))
    return _insert(connection, stored, ANNOTATION.columns, select(*said.columns).where(~known))


def _insert(connection: Connection, table: Table, columns: Sequence[str], rows: Select[tuple[object, ...]]) -> int:
    """Add the rows of a query that are missing; their number."""
    # SQLite reads ON CONFLICT as a join's condition where the query has no WHERE.
    statement = insert_missing(table, connection).from_select(list(columns), rows.where(true()))
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount


def _lock(connection: Connection) -> None:
    """Two intakes at once would write the same annotation twice, and wait for each other's rows in a circle."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _INTAKE_LOCK})
