"""Jobs and campaigns as people see and steer them: listed, cancelled, tried again.

Each function runs inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, func, or_, select, true, update

from ...profiler.errors import UsageError
from .. import schema
from ..attempts import NO_LEASE
from ..connect import now, stamp
from ..fleet_schema import agent, receipt
from .records import JobView


def listed(
    connection: Connection, *, campaign: str | None, states: Collection[str], after: int, limit: int
) -> list[JobView]:
    """Jobs in the order in which they were made; ``after`` is the id of the last one that was seen.

    Raises:
        UsageError: there is no such campaign or state.
    """
    table = schema.job
    conditions: list[ColumnElement[bool]] = [table.c.id > after]
    if campaign is not None:
        conditions.append(table.c.campaign_id == _campaign_id(connection, campaign))
    if unknown := sorted(set(states) - set(schema.JOB_STATES)):
        raise UsageError(f"a job is never {unknown[0]!r}", remedy=f"one of {', '.join(schema.JOB_STATES)}")
    if states:
        conditions.append(table.c.state.in_(sorted(states)))
    rows = connection.execute(_views().where(*conditions).order_by(table.c.id).limit(limit)).mappings()
    return [_view(row, "") for row in rows]


def one(connection: Connection, job_id: int) -> JobView:
    """One job, with what its last attempt said.

    Raises:
        UsageError: there is no such job.
    """
    row = connection.execute(_views().where(schema.job.c.id == job_id)).mappings().one_or_none()
    if row is None:
        raise UsageError(f"there is no job {job_id}", remedy="edgecost jobs list")
    table = schema.measurement
    last = (
        select(table.c.status, table.c.message)
        .join_from(receipt, table, receipt.c.measurement_id == table.c.measurement_id)
        .where(receipt.c.job_id == job_id)
        .order_by(receipt.c.received_at.desc())
        .limit(1)
    )
    said = connection.execute(last).one_or_none()
    return _view(row, "" if said is None else f"{said.status}: {said.message}" if said.message else said.status)


def attempts_of(connection: Connection, job_id: int) -> list[dict[str, object]]:
    """Every result that was sent for a job: who sent it, what it said, what became of it; oldest first."""
    table = schema.measurement
    statement = (
        select(
            receipt.c.measurement_id, receipt.c.verdict, receipt.c.received_at, table.c.status, table.c.message,
            table.c.latency_median_ms, func.coalesce(agent.c.name, receipt.c.owner).label("by"),
        )
        .join_from(receipt, table, receipt.c.measurement_id == table.c.measurement_id)
        .outerjoin(agent, agent.c.agent_id == receipt.c.owner)
        .where(receipt.c.job_id == job_id)
        .order_by(receipt.c.received_at)
    )  # fmt: skip
    return [dict(row) for row in connection.execute(statement).mappings()]


def cancel(connection: Connection, *, job_ids: Sequence[int], campaign: str | None) -> int:
    """Let open jobs, or all of a campaign, not be measured any more; the number of jobs that this ended.

    Raises:
        UsageError: there is no such job or campaign.
    """
    chosen = _chosen(connection, job_ids, campaign, stamp(now(connection)))
    # The token stays: its holder is told why it lost the job.
    ended = {"state": "failed", "reason": "cancelled", "lease_owner": None, "lease_until": None}
    return _change(connection, and_(chosen, schema.job.c.state.in_(("pending", "leased"))), ended)


def retry(connection: Connection, *, job_ids: Sequence[int], campaign: str | None) -> int:
    """Give failed jobs another full set of attempts; their number.

    Raises:
        UsageError: there is no such job or campaign.
    """
    chosen = _chosen(connection, job_ids, campaign, None)
    fresh = {"state": "pending", "reason": None, "attempts": 0, "kills": 0, **NO_LEASE}
    return _change(connection, and_(chosen, schema.job.c.state == "failed"), fresh)


def _chosen(
    connection: Connection, job_ids: Sequence[int], campaign: str | None, cancelled_at: str | None
) -> ColumnElement[bool]:
    """The jobs that are named, or a whole campaign's, which is cancelled from then on, or is not any more."""
    if campaign is None:
        _check_there(connection, job_ids)
        return schema.job.c.id.in_(job_ids)
    campaign_id = _campaign_id(connection, campaign)
    table = schema.campaign
    connection.execute(update(table).where(table.c.id == campaign_id).values(cancelled_at=cancelled_at))
    return schema.job.c.campaign_id == campaign_id


def _change(connection: Connection, chosen: ColumnElement[bool], values: Mapping[str, object]) -> int:
    return connection.execute(update(schema.job).where(chosen).values(**values)).rowcount


def _check_there(connection: Connection, job_ids: Sequence[int]) -> None:
    found = set(connection.execute(select(schema.job.c.id).where(schema.job.c.id.in_(job_ids))).scalars())
    if missing := sorted(set(job_ids) - found):
        raise UsageError(f"there is no job {missing[0]}", remedy="edgecost jobs list")


def open_in(connection: Connection, campaign_id: int) -> dict[str, int]:
    """Jobs of a campaign by state; every state is named."""
    table = schema.job
    counted = select(table.c.state, func.count()).where(table.c.campaign_id == campaign_id).group_by(table.c.state)
    found = dict.fromkeys(schema.JOB_STATES, 0)
    return found | {row[0]: row[1] for row in connection.execute(counted)}


def accepted_by(connection: Connection, campaign_id: int) -> dict[str, int]:
    """Results that counted, by the name of the board."""
    table = schema.job
    name = func.coalesce(agent.c.name, receipt.c.owner)
    statement = (
        select(name, func.count())
        .join_from(table, receipt)
        .outerjoin(agent, agent.c.agent_id == receipt.c.owner)
        .where(table.c.campaign_id == campaign_id, receipt.c.verdict == "accepted")
        .group_by(name)
    )
    return {row[0]: row[1] for row in connection.execute(statement)}


def _campaign_id(connection: Connection, name: str) -> int:
    table = schema.campaign
    same = or_(table.c.name == name, table.c.id == int(name) if name.isdecimal() and len(name) < 18 else ~true())
    found = connection.execute(select(table.c.id).where(same)).scalars().all()
    if len(found) != 1:
        raise UsageError(f"there is no campaign {name!r}", remedy="edgecost campaign list")
    return int(found[0])


def _views() -> Select[tuple[object, ...]]:
    job = schema.job
    statement: Select[tuple[object, ...]] = (
        select(
            job,
            schema.campaign.c.name.label("campaign"),
            func.coalesce(agent.c.name, job.c.lease_owner).label("holder"),
        )
        .join_from(job, schema.campaign)
        .outerjoin(agent, agent.c.agent_id == job.c.lease_owner)
    )
    return statement


def _view(row: RowMapping, message: str) -> JobView:
    return JobView(
        id=row["id"],
        campaign=row["campaign"],
        label=row["label"],
        purpose=row["purpose"],
        graph_hash=row["graph_hash"],
        state=row["state"],
        reason=row["reason"],
        attempts=row["attempts"],
        max_attempts=row["max_attempts"],
        kills=row["kills"],
        holder=row["holder"],
        lease_until=row["lease_until"],
        message=message,
    )
