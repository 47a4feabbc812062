"""Who works on what: jobs of one campaign leased to one agent under one token, renewed, given back, and reaped.

The queue is PostgreSQL's: rows that somebody holds are skipped (``SKIP LOCKED``). SQLite has one writer at a time, so
the same statements give the same guarantee. Each function runs inside the caller's transaction.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    and_,
    case,
    exists,
    false,
    func,
    or_,
    select,
    update,
)

from ...profiler.errors import HubRefused
from .. import schema
from ..attempts import KILLS_MAX, NO_LEASE
from ..campaigns import job_of
from ..connect import now_stamp
from ..fleet_schema import agent
from .agents import one_agent
from .records import Agent, Batch, HeldJob
from .selector import Selector

#: Jobs that share the start of a runner at the least, however many boards wait.
SHARE_MIN = 4
#: Boards heard of within this are counted when jobs are shared out: each asks for work oftener.
SEEN_LATELY_S = 120.0


@dataclass(frozen=True)
class Held:
    """What is left of a lease: its jobs, and whether the others were cancelled."""

    jobs: tuple[int, ...]
    all_cancelled: bool


def lease(connection: Connection, agent_id: str, limit: int, lease_s: float) -> Batch | None:
    """Up to ``limit`` free jobs of one campaign that this board is meant for; None when there is none.

    The highest priority goes first, and the oldest within it; what is left of a campaign is shared out among the boards
    that are awake. A job that a board died with is leased alone, so that
    nobody else is blamed if it happens again.

    Raises:
        HubRefused: the board is draining or retired.
    """
    asking = one_agent(connection, agent_id)
    if asking.state != "active":
        raise HubRefused(f"{asking.name} is {asking.state} and gets no more work")
    campaigns = _campaigns_for(connection, asking)
    if not campaigns:
        return None
    job = schema.job
    rows = connection.execute(_free(list(campaigns), asking).limit(limit)).mappings().all()
    if not rows:
        return None
    first = rows[0]
    # One campaign and one priority at a time: what is measured together shares a runtime, and who wants two jobs in two
    # processes gives them two priorities.
    chosen = [row for row in rows if (row["campaign_id"], row["priority"]) == (first["campaign_id"], first["priority"])]
    chosen = [first] if first["kills"] else [row for row in chosen if not row["kills"]]
    chosen = chosen[: _share(connection, first["campaign_id"], limit)]
    token = uuid.uuid4().hex
    taken = {
        "state": "leased",
        "lease_owner": agent_id,
        "lease_token": token,
        "lease_until": now_stamp(connection, lease_s),
    }
    connection.execute(update(job).where(job.c.id.in_([row["id"] for row in chosen])).values(**taken))
    campaign = campaigns[first["campaign_id"]]
    return Batch(token, campaign["name"], campaign["settings"], tuple(_held_job(row, token) for row in chosen))


def _share(connection: Connection, campaign_id: int, limit: int) -> int:
    """How many of a campaign's free jobs one board may take at once, so that the others are not left idle."""
    if limit <= SHARE_MIN:
        return limit
    job = schema.job
    since = now_stamp(connection, -SEEN_LATELY_S)
    awake = select(func.count()).select_from(agent).where(agent.c.state == "active", agent.c.last_seen > since)
    boards = int(connection.execute(awake).scalar_one())
    if boards <= 1:
        return limit
    some = select(job.c.id).where(job.c.campaign_id == campaign_id, job.c.state == "pending").limit(limit * boards)
    free = int(connection.execute(select(func.count()).select_from(some.subquery())).scalar_one())
    return min(limit, max(SHARE_MIN, math.ceil(free / boards)))


def has_work(connection: Connection, agent_id: str) -> bool:
    """Whether a lease would find a campaign with free jobs for this board; writes nothing."""
    asking = one_agent(connection, agent_id)
    return asking.state != "active" or bool(_campaigns_for(connection, asking))


def _free(campaigns: Sequence[int], asking: Agent) -> Select[tuple[object, ...]]:
    job, graph = schema.job, schema.workload
    for_it = or_(job.c.device_identity.is_(None), job.c.device_identity == asking.device_identity)
    statement: Select[tuple[object, ...]] = (
        select(job, *(graph.c[name] for name in ("name", "kind", "skeleton_zlib", "weights")))
        .join_from(job, graph)
        .where(job.c.campaign_id.in_(campaigns), job.c.state == "pending", for_it, job.c.kills < KILLS_MAX)
        .order_by(job.c.priority.desc(), job.c.id)
        .with_for_update(skip_locked=True, of=job)
    )
    return statement


def _campaigns_for(connection: Connection, asking: Agent) -> dict[int, RowMapping]:
    """The campaigns with free jobs whose selector the board matches and whose runtime it has, as they want it."""
    campaign, job = schema.campaign, schema.job
    has_work = exists().where(job.c.campaign_id == campaign.c.id, job.c.state == "pending")
    statement = select(campaign).where(campaign.c.selector.is_not(None), campaign.c.cancelled_at.is_(None), has_work)
    labels = asking.all_labels()
    offers = {(offer.name, offer.profile_hash) for offer in asking.usable}
    return {
        row["id"]: row
        for row in connection.execute(statement).mappings()
        if (row["settings"].get("runtime"), row["settings"].get("profile_hash")) in offers
        and Selector.parse(row["selector"]).matches(labels)
    }


def _held_job(row: RowMapping, token: str) -> HeldJob:
    return HeldJob(
        job=job_of(row, token),
        kills=row["kills"],
        name=row["name"],
        kind=row["kind"],
        skeleton_zlib=row["skeleton_zlib"],
        weights=tuple(row["weights"]),
    )


def renew(connection: Connection, agent_id: str, token: str, lease_s: float) -> Held:
    """Let what is left of a lease run on from now. Nothing is left when it ran out, or was taken away."""
    job = schema.job
    later = {"lease_until": now_stamp(connection, lease_s)}
    statement = update(job).where(_held(agent_id, token)).values(**later).returning(job.c.id)
    held = tuple(sorted(identity for (identity,) in connection.execute(statement)))
    return Held(held, all_cancelled=not held and _was_cancelled(connection, token))


def _was_cancelled(connection: Connection, token: str) -> bool:
    job = schema.job
    statement = select(job.c.id).where(job.c.lease_token == token, job.c.reason == "cancelled").limit(1)
    return connection.execute(statement).first() is not None


def release(connection: Connection, agent_id: str, token: str, jobs: Sequence[int]) -> int:
    """Give back jobs of a lease that were not begun, all of them where none is named; their number."""
    chosen: ColumnElement[bool] = schema.job.c.id.in_(jobs) if jobs else ~false()
    statement = update(schema.job).where(_held(agent_id, token), chosen).values(state="pending", **NO_LEASE)
    return connection.execute(statement).rowcount


def _held(agent_id: str, token: str) -> ColumnElement[bool]:
    job = schema.job
    return and_(job.c.state == "leased", job.c.lease_owner == agent_id, job.c.lease_token == token)


def reap(connection: Connection) -> int:
    """Take away the leases of boards that were not heard of for too long; their number.

    It counts as a failed attempt: what brings boards down without a word is not handed on for ever.
    """
    job = schema.job
    agents = select(agent.c.agent_id)
    ran_out = and_(job.c.state == "leased", job.c.lease_until <= now_stamp(connection), job.c.lease_owner.in_(agents))
    is_last = job.c.attempts + 1 >= job.c.max_attempts
    change = {
        "attempts": job.c.attempts + 1,
        "state": case((is_last, "failed"), else_="pending"),
        "reason": case((is_last, "expired"), else_=None),
        **NO_LEASE,
    }
    return connection.execute(update(job).where(ran_out).values(**change)).rowcount
