"""Boards of a fleet: enrolled with a code, known by their token, described by what they say at each start.

Each function runs inside the caller's transaction.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping, Select, and_, func, insert, or_, select, update

from ...profiler.errors import HubRefused, UsageError
from ...profiler.fleet_protocol import Enrolled, Enrolment, Hello, OfferedRuntime
from ...profiler.records import Json, RuntimeProfile
from .. import schema, workloads
from ..connect import now, stamp
from ..fleet_schema import AGENT_STATES, agent, enrolment_code, receipt
from .access import hash_secret
from .records import Agent, AgentWork, Offer

#: ``last_seen`` is written this often, not at every request.
SEEN_EVERY_S = 5.0


def enrol(connection: Connection, request: Enrolment, address: str) -> Enrolled:
    """Take a board in, and use its code up.

    Raises:
        HubRefused: the code is unknown, used or too old, or the board or its name is enrolled already.
    """
    moment = stamp(now(connection))
    code_hash = hash_secret(request.code.strip().upper())
    # The one statement that uses a code up: of two boards with one code only one finds it unused.
    used = connection.execute(
        update(enrolment_code)
        .where(
            enrolment_code.c.code_hash == code_hash,
            enrolment_code.c.used_at.is_(None),
            enrolment_code.c.expires_at > moment,
        )
        .values(used_at=moment)
        .returning(enrolment_code.c.name, enrolment_code.c.labels, enrolment_code.c.replaces)
    ).one_or_none()
    if used is None:
        raise HubRefused(
            "this enrolment code is unknown, used or too old", remedy="ask the hub's keeper for another: hub enroll"
        )
    workloads.put_device(connection, request.device)
    name, token = used.name or request.device.name, secrets.token_urlsafe(32)
    row = {
        "device_identity": request.device.identity,
        "token_hash": hash_secret(token),
        "state": "active",
        "enrolled_at": moment,
        "last_address": address,
        "agent_version": request.agent_version,
        "protocol": request.protocol,
    }
    if used.replaces is None:
        agent_id = _add(connection, row, name, used.labels)
    else:
        agent_id, name = _replace(connection, row, used.replaces)
    connection.execute(update(enrolment_code).where(enrolment_code.c.code_hash == code_hash).values(used_by=agent_id))
    return Enrolled(agent_id, name, token)


def _add(connection: Connection, row: Mapping[str, object], name: str, labels: Mapping[str, str]) -> str:
    same = or_(agent.c.device_identity == row["device_identity"], agent.c.name == name)
    there = connection.execute(select(agent.c.name).where(same)).first()
    if there is not None:
        raise HubRefused(
            f"this board, or another one of its name, is enrolled as {there.name!r}",
            remedy=f"to enrol it anew: edgecost hub enroll --replace {there.name};"
            " for a second agent on one machine: edgecost agent enroll … --name NAME",
        )
    agent_id = uuid.uuid4().hex
    empty: dict[str, object] = {"runtimes": [], "host": {}, "conditions": {}}
    connection.execute(insert(agent), {**row, **empty, "agent_id": agent_id, "name": name, "labels": labels})
    return agent_id


def _replace(connection: Connection, row: Mapping[str, object], name: str) -> tuple[str, str]:
    """A board in the place of another: the old token opens nothing from here on."""
    taken = select(agent.c.name).where(agent.c.device_identity == row["device_identity"], agent.c.name != name)
    other = connection.execute(taken).scalar_one_or_none()
    if other is not None:
        raise HubRefused(f"this board is enrolled as {other!r} already")
    statement = update(agent).where(agent.c.name == name).values(**row).returning(agent.c.agent_id)
    agent_id: str = connection.execute(statement).scalar_one()
    _give_back(connection, agent_id)
    return agent_id, name


def authenticate(connection: Connection, token: str) -> tuple[str, str]:
    """The id and the state of the agent that shows this token.

    Raises:
        HubRefused: nobody's, or a retired agent's.
    """
    statement = select(agent.c.agent_id, agent.c.state).where(agent.c.token_hash == hash_secret(token))
    row = connection.execute(statement).one_or_none()
    if row is None or row.state == "retired":
        raise HubRefused(
            "this board is not enrolled here, or was retired", remedy="enrol it again: edgecost agent enroll"
        )
    return row.agent_id, row.state


def hello(connection: Connection, agent_id: str, said: Hello, address: str) -> Agent:
    """Write down what a board says of itself at its start.

    Raises:
        HubRefused: it is another board than the one that was enrolled.
    """
    known = select(agent.c.device_identity).where(agent.c.agent_id == agent_id)
    if connection.execute(known).scalar_one() != said.device.identity:
        raise HubRefused(
            "this token was given to another board", remedy="each board enrols by itself: edgecost hub enroll"
        )
    moment = now(connection)
    offers: list[Json] = [_offer(connection, runtime) for runtime in said.runtimes]
    connection.execute(
        update(agent)
        .where(agent.c.agent_id == agent_id)
        .values(
            last_seen=stamp(moment),
            last_address=address,
            agent_version=said.agent_version,
            protocol=said.protocol,
            boot_id=said.boot_id,
            clock_offset_s=_offset_s(said.sent_at, moment),
            runtimes=offers,
            host=dict(said.host),
        )
    )
    return one_agent(connection, agent_id)


def _offer(connection: Connection, runtime: OfferedRuntime) -> Json:
    if runtime.profile is None:
        return {"name": runtime.name, "profile_hash": "", "label": "", "problem": runtime.problem}
    try:
        profile = RuntimeProfile.from_document(runtime.profile)
    except ValueError as error:
        return {"name": runtime.name, "profile_hash": "", "label": "", "problem": str(error)}
    workloads.put_profile(connection, profile)
    return {"name": runtime.name, "profile_hash": profile.profile_hash, "label": profile.label, "problem": ""}


def _offset_s(sent_at: str, moment: datetime) -> float | None:
    try:
        return (datetime.fromisoformat(sent_at) - moment).total_seconds()
    except (ValueError, TypeError):  # no time, or one without its zone
        return None


def seen(connection: Connection, agent_id: str, address: str, conditions: Mapping[str, Json] | None = None) -> None:
    """Write down that an agent spoke, not oftener than every few seconds unless it tells its conditions."""
    moment = now(connection)
    statement = update(agent).where(agent.c.agent_id == agent_id)
    if conditions:
        statement = statement.values(conditions=dict(conditions))
    else:
        late = stamp(moment - timedelta(seconds=SEEN_EVERY_S))
        statement = statement.where(or_(agent.c.last_seen.is_(None), agent.c.last_seen < late))
    connection.execute(statement.values(last_seen=stamp(moment), last_address=address))


def set_state(connection: Connection, name: str, state: str) -> Agent:
    """Let a board work, finish what it holds, or leave for good: then what it holds is given to others.

    Raises:
        UsageError: there is no such board, or it was retired.
    """
    if state not in AGENT_STATES:
        raise UsageError(f"a board cannot be {state!r}", remedy=f"one of {', '.join(AGENT_STATES)}")
    found = find(connection, name)
    if found.state == "retired" and state != "retired":
        raise UsageError(
            f"{found.name} was retired", remedy=f"enrol it anew: edgecost hub enroll --replace {found.name}"
        )
    connection.execute(update(agent).where(agent.c.agent_id == found.agent_id).values(state=state))
    if state == "retired":
        _give_back(connection, found.agent_id)
    return find(connection, name)


def _give_back(connection: Connection, agent_id: str) -> None:
    table = schema.job
    held = and_(table.c.state == "leased", table.c.lease_owner == agent_id)
    free = {"state": "pending", "lease_owner": None, "lease_token": None, "lease_until": None}
    connection.execute(update(table).where(held).values(**free))


def find(connection: Connection, name: str) -> Agent:
    """The board of this name, or with an identity or id that begins with it.

    Raises:
        UsageError: there is none, or more than one.
    """
    rows = connection.execute(_agents().where(agent.c.name == name)).mappings().all()
    if not rows and len(name) >= 4 and name.isalnum():
        begins = or_(agent.c.device_identity.startswith(name), agent.c.agent_id.startswith(name))
        rows = connection.execute(_agents().where(begins)).mappings().all()
    if len(rows) != 1:
        number = "no board" if not rows else "more than one board"
        raise UsageError(f"there is {number} {name!r}", remedy="edgecost devices list")
    return _agent(rows[0])


def one_agent(connection: Connection, agent_id: str) -> Agent:
    return _agent(connection.execute(_agents().where(agent.c.agent_id == agent_id)).mappings().one())


def all_agents(connection: Connection) -> list[Agent]:
    """By name."""
    return [_agent(row) for row in connection.execute(_agents().order_by(agent.c.name)).mappings()]


def with_work(connection: Connection, agents: Sequence[Agent]) -> list[AgentWork]:
    """The same boards with what they hold and have sent."""
    job = schema.job
    held_by = select(job.c.lease_owner, func.count()).where(job.c.state == "leased").group_by(job.c.lease_owner)
    held: dict[str | None, int] = {row[0]: row[1] for row in connection.execute(held_by)}
    sent: dict[tuple[str, str], int] = {}
    counted = select(receipt.c.owner, receipt.c.verdict, func.count()).group_by(receipt.c.owner, receipt.c.verdict)
    for owner, verdict, number in connection.execute(counted):
        sent[owner, verdict] = number
    return [
        AgentWork(
            one,
            held.get(one.agent_id, 0),
            *(sent.get((one.agent_id, verdict), 0) for verdict in ("accepted", "attempt", "late", "killed")),
        )
        for one in agents
    ]


def _agents() -> Select[tuple[object, ...]]:
    described = schema.device.c.description
    statement: Select[tuple[object, ...]] = select(agent, described).join_from(agent, schema.device)
    return statement


def _agent(row: RowMapping) -> Agent:
    return Agent(
        agent_id=row["agent_id"],
        device_identity=row["device_identity"],
        name=row["name"],
        description=row["description"],
        labels=row["labels"],
        state=row["state"],
        enrolled_at=row["enrolled_at"],
        last_seen=row["last_seen"],
        last_address=row["last_address"],
        agent_version=row["agent_version"],
        boot_id=row["boot_id"],
        clock_offset_s=row["clock_offset_s"],
        offers=tuple(Offer(**offer) for offer in row["runtimes"]),
        host=row["host"],
        conditions=row["conditions"],
    )
