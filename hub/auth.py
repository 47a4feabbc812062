"""Who asks: agents by their token, people by theirs, and what each role may do."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from ..db.fleet.door import Fleet
from ..profiler.errors import HubRefused
from .refusal import Refusal

#: What each role may do beside what the one before it may.
RANK = {"viewer": 0, "operator": 1, "admin": 2}
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


@dataclass(frozen=True)
class Caller:
    """An agent that showed its token."""

    agent_id: str
    state: str
    address: str


def address_of(request: Request) -> str:
    """The address that a request came from; behind a proxy the proxy's, unless uvicorn was told to trust it."""
    return request.client.host if request.client else ""


async def agent_caller(request: Request, fleet: Fleet) -> Caller:
    """The agent that asks.

    Raises:
        Refusal: 401.
    """
    token = _token(request)
    try:
        agent_id, state = await run_in_threadpool(fleet.authenticate, token)
    except HubRefused as error:
        raise Refusal(401, error.message, error.remedy, _CHALLENGE) from error
    return Caller(agent_id, state, address_of(request))


async def person_caller(request: Request, fleet: Fleet, role: str) -> str:
    """The name of the person who asks, and who has at least this role.

    Raises:
        Refusal: 401, or 403.
    """
    token = _token(request)
    try:
        person = await run_in_threadpool(fleet.person, token)
    except HubRefused as error:
        raise Refusal(401, error.message, error.remedy, _CHALLENGE) from error
    if RANK[person.role] < RANK[role]:
        raise Refusal(403, f"{person.name} is {person.role}; this takes the role {role}", "ask the hub's keeper")
    return person.name


async def anyone_known(request: Request, fleet: Fleet) -> None:
    """Let agents and people with any role pass.

    Raises:
        Refusal: 401.
    """
    try:
        await run_in_threadpool(fleet.authenticate, _token(request))
    except HubRefused:
        await person_caller(request, fleet, "viewer")


def _token(request: Request) -> str:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        raise Refusal(401, "a token belongs to this request", "Authorization: Bearer …", _CHALLENGE)
    return token.strip()
