"""What reports count in a store: outcomes of a device, its readings, its sessions, and every attempt of a campaign.

Rows that are narrow or few: never visits, never graphs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import Connection, Select, and_, func, literal, select, union_all

from ..profiler.records import Quantity
from . import schema
from .connect import Database


@dataclass(frozen=True)
class Outcomes:
    """Attempts of a device that ended alike under one profile and for one purpose.

    Attributes:
        first_at, last_at: begin of the first and end of the last of them.
        retracted: of the attempts, how many somebody said are not to be used.
    """

    profile_hash: str
    purpose: str
    status: str
    attempts: int
    first_at: str
    last_at: str
    retracted: int


@dataclass(frozen=True)
class ReadingTally:
    """Energies or peak memories of a device that ended alike, by what they were measured with.

    Attributes:
        means: what the energy includes (``Energy.scope``), or how the memory was measured (``PeakMemory.method``).
        sensor_hash: None where there is none, and for memory.
    """

    quantity: Quantity
    status: str
    means: str
    sensor_hash: str | None
    readings: int


@dataclass(frozen=True)
class SessionLevel:
    """The canary of one session; ``canary_us`` is None where it has none."""

    session: str
    started_at: str
    canary_us: float | None


@dataclass(frozen=True)
class CampaignAttempt:
    """One attempt at a job of a campaign, without its visits; latencies are raw, nothing subtracted."""

    job_id: int
    label: str
    purpose: str
    status: str
    message: str
    device_identity: str
    profile_hash: str
    session: str
    started_at: str
    finished_at: str
    latency_ms: float | None
    lo_ms: float | None
    hi_ms: float | None


class Tallies:
    """Every method is one transaction, and raises ``StoreError`` when the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def outcomes(self, device_identity: str) -> list[Outcomes]:
        """All attempts of a device, by profile, purpose and status. Walks through all of them once."""
        table, note = schema.measurement, schema.annotation
        retracted = select(note.c.measurement_id).where(note.c.verdict == "retract").distinct().subquery()
        statement = (
            select(
                table.c.profile_hash, table.c.purpose, table.c.status, func.count(), func.min(table.c.started_at),
                func.max(table.c.finished_at), func.count(retracted.c.measurement_id),
            )
            .outerjoin_from(table, retracted, retracted.c.measurement_id == table.c.measurement_id)
            .where(table.c.device_identity == device_identity)
            .group_by(table.c.profile_hash, table.c.purpose, table.c.status)
            .order_by(table.c.profile_hash, table.c.purpose, table.c.status)
        )  # fmt: skip
        with self._database.read() as connection:
            return [Outcomes(*row) for row in connection.execute(statement)]

    def readings(self, device_identity: str) -> list[ReadingTally]:
        """All energies and peak memories of a device, by status and by what they were measured with."""
        with self._database.read() as connection:
            rows = connection.execute(_readings(device_identity)).mappings().all()
        return sorted(
            (ReadingTally(**{**row, "quantity": Quantity(row["quantity"])}) for row in rows),
            key=lambda one: (one.quantity.value, one.means, one.sensor_hash or "", one.status),
        )

    def sessions(self, device_identity: str, profile_hash: str, limit: int) -> list[SessionLevel]:
        """The newest sessions of a device under a profile that say how it was with it, oldest first."""
        with self._database.read() as connection:
            return _sessions(connection, device_identity, profile_hash, limit)

    def attempts(self, campaign_id: int) -> list[CampaignAttempt]:
        """Every attempt at a job of a campaign, oldest first."""
        table, job = schema.measurement, schema.job
        statement = (
            select(
                job.c.id, job.c.label, job.c.purpose, table.c.status, table.c.message, table.c.device_identity,
                table.c.profile_hash, table.c.session, table.c.started_at, table.c.finished_at,
                table.c.latency_median_ms, table.c.latency_lo_ms, table.c.latency_hi_ms,
            )
            # The graph is that of the job; by it the index finds what is otherwise a walk through the whole store.
            .join_from(job, table, and_(table.c.graph_hash == job.c.graph_hash, table.c.job_id == job.c.id))
            .where(job.c.campaign_id == campaign_id)
            .order_by(table.c.started_at, table.c.measurement_id)
        )  # fmt: skip
        with self._database.read() as connection:
            return [CampaignAttempt(*tuple(row)) for row in connection.execute(statement)]


def _readings(device_identity: str) -> Select[tuple[object, ...]]:
    """Both kinds of readings in one list."""
    table, energy, memory = schema.measurement, schema.measurement_energy, schema.measurement_memory
    mine = table.c.device_identity == device_identity
    energies = (
        select(
            literal(Quantity.ENERGY.value).label("quantity"), energy.c.status, energy.c.scope.label("means"),
            energy.c.sensor_hash, func.count().label("readings"),
        )
        .join_from(energy, table, energy.c.measurement_id == table.c.measurement_id)
        # The empty rail is the device as a whole; others are parts of it.
        .where(mine, energy.c.rail == "")
        .group_by(energy.c.status, energy.c.scope, energy.c.sensor_hash)
    )  # fmt: skip
    memories = (
        select(
            literal(Quantity.MEMORY.value), memory.c.status, memory.c.method, literal(None), func.count(),
        )
        .join_from(memory, table, memory.c.measurement_id == table.c.measurement_id)
        .where(mine)
        .group_by(memory.c.status, memory.c.method)
    )  # fmt: skip
    both = union_all(energies, memories).subquery()
    found: Select[tuple[object, ...]] = select(both)
    return found


def _sessions(connection: Connection, device_identity: str, profile_hash: str, limit: int) -> list[SessionLevel]:
    table, raw = schema.measurement, schema.measurement_raw
    begun = func.min(table.c.started_at).label("begun")
    # Of a session with many measurements one speaks for all.
    chosen = (
        select(func.min(table.c.measurement_id).label("measurement_id"), table.c.session, begun)
        .join_from(table, raw, and_(raw.c.measurement_id == table.c.measurement_id, raw.c.kind == "conditions"))
        .where(table.c.device_identity == device_identity, table.c.profile_hash == profile_hash)
        .group_by(table.c.session)
        .order_by(begun.desc(), table.c.session)
        .limit(limit)
        .subquery()
    )
    statement = (
        select(chosen.c.session, chosen.c.begun, raw.c.payload)
        .join_from(chosen, raw, raw.c.measurement_id == chosen.c.measurement_id)
        .where(raw.c.kind == "conditions")
    )
    found = []
    for session, begun_at, payload in connection.execute(statement):
        level = json.loads(payload).get("canary_us")
        known = isinstance(level, int | float) and not isinstance(level, bool)
        found.append(SessionLevel(session, begun_at, float(level) if known else None))
    return sorted(found, key=lambda one: (one.started_at, one.session))
