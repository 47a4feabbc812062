"""Campaigns and their jobs: added once, leased to one owner at a time, closed by a measurement, recovered after death.

A job goes pending → leased → done; a failed attempt sends it back until it has failed ``max_attempts`` times. A lease
that ran out is as good as none. Each function runs inside the caller's transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from itertools import groupby

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, delete, func, or_, select, update

from ..profiler.records import Json, Visit
from . import schema
from .attempts import NO_LEASE
from .codec import decode_visits, encode_visits
from .connect import count_inserted, insert_missing, now, stamp
from .records import CampaignSummary, Interrupted, Job, NewJob, SpooledVisit

#: A job that failed three times fails by itself, not by chance.
MAX_ATTEMPTS = 3


def open_campaign(
    connection: Connection, name: str, space: str, settings: Mapping[str, Json], selector: str | None = None
) -> int:
    """The id of the campaign with this name, made when there is none; the settings that were stored first stay."""
    table = schema.campaign
    row: dict[str, object] = {
        "name": name,
        "space": space,
        "settings": dict(settings),
        "created_at": stamp(now(connection)),
    }
    row["selector"] = selector
    connection.execute(insert_missing(table, connection), row)
    return int(connection.execute(select(table.c.id).where(table.c.name == name)).scalar_one())


def add_jobs(connection: Connection, campaign_id: int, jobs: Sequence[NewJob]) -> int:
    """Add the jobs whose ``dedupe_key`` is new; their number."""
    fixed = {"campaign_id": campaign_id, "state": "pending", "attempts": 0, "max_attempts": MAX_ATTEMPTS}
    statement = insert_missing(schema.job, connection).returning(schema.job.c.id)
    return count_inserted(connection, statement, [fixed | asdict(job) for job in jobs])


def lease_jobs(connection: Connection, campaign_id: int, owner: str, limit: int, lease_s: float) -> list[Job]:
    """Take free jobs of the highest priority for ``owner``, oldest first.

    PostgreSQL skips locked rows; SQLite has one writer.
    """
    table, moment = schema.job, now(connection)
    expired = and_(table.c.state == "leased", table.c.lease_until <= stamp(moment))
    free = (
        select(table)
        .where(table.c.campaign_id == campaign_id, or_(table.c.state == "pending", expired))
        .order_by(table.c.priority.desc(), table.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = connection.execute(free).mappings().all()
    # One priority at a time: who wants two jobs in two processes gives them two priorities.
    rows = [row for row in found if row["priority"] == found[0]["priority"]]
    lease = {
        "state": "leased",
        "lease_owner": owner,
        "lease_token": uuid.uuid4().hex,
        "lease_until": stamp(moment + timedelta(seconds=lease_s)),
    }
    connection.execute(update(table).where(table.c.id.in_([row["id"] for row in rows])).values(lease))
    return [job_of(row, lease["lease_token"]) for row in rows]


def extend_leases(connection: Connection, owner: str, lease_s: float) -> int:
    """Let all leases of ``owner`` run ``lease_s`` seconds from now; their number."""
    until = stamp(now(connection) + timedelta(seconds=lease_s))
    return connection.execute(update(schema.job).where(_held_by([owner])).values(lease_until=until)).rowcount


def release_leases(connection: Connection, owner: str) -> int:
    """Give back all jobs of ``owner``; their number."""
    return connection.execute(update(schema.job).where(_held_by([owner])).values(state="pending", **NO_LEASE)).rowcount


def spool_visits(connection: Connection, rows: Sequence[SpooledVisit]) -> None:
    """Put visits aside; one that is there already stays as it is."""
    if not rows:
        return
    connection.execute(
        insert_missing(schema.visit_spool, connection),
        [
            {
                "measurement_id": row.measurement_id,
                "session": row.visit.session,
                "ordinal": row.visit.ordinal,
                "job_id": row.job_id,
                "payload": encode_visits((row.visit,)),
            }
            for row in rows
        ],
    )


def owners(connection: Connection, campaign_id: int) -> list[str]:
    """Who holds leases in the campaign, also leases that ran out."""
    table = schema.job
    statement = select(table.c.lease_owner).where(table.c.campaign_id == campaign_id, table.c.lease_owner.is_not(None))
    return [owner for (owner,) in connection.execute(statement.distinct()) if owner is not None]


def recover_spool(connection: Connection, campaign_id: int, dead: Collection[str]) -> list[Interrupted]:
    """Spooled visits whose job is held by one of ``dead`` or by nobody; the leases of ``dead`` are given back."""
    job, spool = schema.job, schema.visit_spool
    recorded = select(schema.measurement.c.measurement_id)
    connection.execute(delete(spool).where(spool.c.measurement_id.in_(recorded)))
    rows = connection.execute(
        select(job, spool.c.measurement_id, spool.c.payload)
        .join_from(spool, job)
        .where(job.c.campaign_id == campaign_id, or_(job.c.state != "leased", job.c.lease_owner.in_(sorted(dead))))
        .order_by(spool.c.measurement_id, spool.c.session, spool.c.ordinal)
    ).mappings()
    found = [_interrupted(measurement_id, list(group)) for measurement_id, group in groupby(rows, key=_measurement_id)]
    held = and_(job.c.campaign_id == campaign_id, _held_by(dead))
    connection.execute(update(job).where(held).values(state="pending", **NO_LEASE))
    return found


def summaries(connection: Connection) -> list[CampaignSummary]:
    """All campaigns, oldest first."""
    campaign, job = schema.campaign, schema.job
    counted = select(job.c.campaign_id, job.c.state, func.count()).group_by(job.c.campaign_id, job.c.state)
    by_campaign: dict[int, dict[str, int]] = {}
    for campaign_id, state, number in connection.execute(counted):
        by_campaign.setdefault(campaign_id, dict.fromkeys(schema.JOB_STATES, 0))[state] = number
    rows = connection.execute(select(campaign).order_by(campaign.c.id)).mappings()
    none = dict.fromkeys(schema.JOB_STATES, 0)
    return [
        CampaignSummary(row["id"], row["name"], row["space"], row["created_at"], by_campaign.get(row["id"], none))
        for row in rows
    ]


def _held_by(names: Collection[str]) -> ColumnElement[bool]:
    return and_(schema.job.c.state == "leased", schema.job.c.lease_owner.in_(sorted(names)))


def job_of(row: RowMapping, lease_token: str | None) -> Job:
    return Job(
        id=row["id"],
        graph_hash=row["graph_hash"],
        purpose=row["purpose"],
        label=row["label"],
        attempts=row["attempts"],
        max_attempts=row["max_attempts"],
        lease_token=lease_token,
    )


def _measurement_id(row: RowMapping) -> str:
    return str(row["measurement_id"])


def _interrupted(measurement_id: str, rows: Sequence[RowMapping]) -> Interrupted:
    visits: tuple[Visit, ...] = tuple(visit for row in rows for visit in decode_visits(row["payload"]))
    return Interrupted(job_of(rows[0], rows[0]["lease_token"]), measurement_id, visits)
