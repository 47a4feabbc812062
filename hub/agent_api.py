"""What agents ask: to be taken in, for work, to keep it, to hand results over. Each request may be sent again."""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from ..costmodels.drift import quiet_canary_ns
from ..db import Store
from ..db.fleet.records import Batch
from ..profiler.documents import document_of
from ..profiler.errors import HubRefused
from ..profiler.fleet_protocol import (
    PROTOCOL_VERSION,
    WAIT_S_MAX,
    Enrolled,
    Enrolment,
    GiveBack,
    Hello,
    Lease,
    Receipt,
    Renewal,
    Renewed,
    Result,
    Welcome,
    WorkRequest,
)
from .auth import Caller, address_of, agent_caller
from .bodies import read_record
from .describe import Answer, described
from .messages import is_large, lease_of
from .refusal import Refusal
from .settings import HubSettings
from .waiting import Waiting

#: How long what is known of a device's quiet sessions is believed: it takes a look at forty of them.
_QUIET_KEPT_S = 600.0
#: Jobs in one lease at most, whatever is asked for.
_JOBS_MAX = 256
#: Letters that the log keeps of what somebody says who could not enrol; he may send megabytes.
_SHOWN_MAX = 200

Token = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="of a lease")]


class QuietLevels:
    """How fast each device can be, looked up once in a while."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, str], tuple[float, float | None]] = {}

    def of(self, agent_id: str, profile_hash: str) -> float | None:
        """In nanoseconds of the canary; None where too few sessions tell."""
        known = self._known.get((agent_id, profile_hash))
        if known is None or time.monotonic() - known[0] > _QUIET_KEPT_S:
            device = self._store.fleet.agent(agent_id).agent.device_identity
            level = quiet_canary_ns(self._store, device, profile_hash, None)
            known = self._known[agent_id, profile_hash] = (time.monotonic(), level)
        return known[1]


def agent_routes(store: Store, settings: HubSettings, waiting: Callable[[], Waiting]) -> APIRouter:
    """The routes under which agents come; ``waiting`` gives those who wait at this replica."""
    router = APIRouter(prefix="/v1", tags=["agents"])
    _add_coming_and_going(router, store, settings)
    _add_asking(router, store, settings, waiting)
    _add_holding(router, store, settings, waiting)
    _add_handing_over(router, store, settings)
    return router


def _add_coming_and_going(router: APIRouter, store: Store, settings: HubSettings) -> None:
    fleet = store.fleet

    @router.post(
        "/enroll",
        **described(
            "anybody", {201: Answer("taken in", Enrolled)}, body=Enrolment, refusals=(403, 413, 415, 422, 426, 429, 503)
        ),
    )
    async def enroll(request: Request) -> JSONResponse:
        """Take a board in by its one-time code."""
        address = address_of(request)
        if await run_in_threadpool(fleet.too_many_wrong_codes, address):
            raise Refusal(429, "too many wrong codes from this address", "wait a minute", {"Retry-After": "60"})
        said = await read_record(request, Enrolment, settings.body_bytes)
        _check_version(said.protocol)
        try:
            made = await run_in_threadpool(fleet.enrol, said, address)
        except HubRefused as error:
            await run_in_threadpool(
                fleet.note, _shown(said.device.name), address, "enrol refused", _shown(said.device.identity),
                {"why": _shown(error.message)},
            )  # fmt: skip
            raise Refusal(403, error.message, error.remedy) from error
        return JSONResponse(document_of(made), status_code=201)

    @router.post(
        "/agents/self/hello",
        **described(
            "agent", {200: Answer("welcome", Welcome)}, body=Hello, refusals=(401, 403, 413, 415, 422, 426, 503)
        ),
    )
    async def hello(request: Request) -> JSONResponse:
        """Say what the board is and offers; said at every start, and when that has changed."""
        agent = await agent_caller(request, fleet)
        said = await read_record(request, Hello, settings.body_bytes)
        _check_version(said.protocol)
        try:
            known = await run_in_threadpool(fleet.hello, agent.agent_id, said, agent.address)
        except HubRefused as error:
            raise Refusal(403, error.message, error.remedy) from error
        server_time = await run_in_threadpool(fleet.server_time)
        welcome = Welcome(known.agent_id, known.name, known.state, server_time, settings.lease_s, settings.wait_s)
        return JSONResponse(document_of(welcome))

    @router.post("/agents/self/bye", **described("agent", {204: Answer("until next time")}, refusals=(401, 503)))
    async def bye(request: Request) -> Response:
        """Say that the board stops for now."""
        agent = await agent_caller(request, fleet)
        await run_in_threadpool(fleet.seen, agent.agent_id, agent.address)
        return Response(status_code=204)


def _add_asking(router: APIRouter, store: Store, settings: HubSettings, waiting: Callable[[], Waiting]) -> None:
    fleet, quiet = store.fleet, QuietLevels(store)

    @router.post(
        "/leases",
        **described(
            "agent",
            {200: Answer("work", Lease), 204: Answer("none within the time")},
            body=WorkRequest,
            refusals=(401, 409, 413, 415, 422, 503),
        ),
    )
    async def lease(request: Request) -> Response:
        """Ask for work; answered when there is some, or when the time is up."""
        agent = await agent_caller(request, fleet)
        asked = await read_record(request, WorkRequest, settings.body_bytes)
        if not 0 <= asked.wait_s <= WAIT_S_MAX or not 1 <= asked.limit <= _JOBS_MAX:
            raise Refusal(422, f"wait_s is 0 to {WAIT_S_MAX:g}, and limit 1 to {_JOBS_MAX}")
        await run_in_threadpool(fleet.seen, agent.agent_id, agent.address, asked.conditions)

        async def look(is_first: bool) -> Batch | None:
            # Who waits writes nothing while there is nothing: a hundred boards would keep the database busy with it.
            if not is_first and not await run_in_threadpool(fleet.has_work, agent.agent_id):
                return None
            return await run_in_threadpool(fleet.lease, agent.agent_id, asked.limit, settings.lease_s)

        batch = await waiting().until(look, min(asked.wait_s, settings.wait_s), request.is_disconnected)
        if batch is None:
            return Response(status_code=204)
        message = document_of(await run_in_threadpool(_lease, store, quiet, settings, agent, batch))
        if await request.is_disconnected():
            # It left while the lease was made. Given back it costs nothing; running out it would be a failed attempt.
            await run_in_threadpool(fleet.release, agent.agent_id, batch.lease_token)
            waiting().wake()
            return Response(status_code=204)
        return JSONResponse(message)


def _add_holding(router: APIRouter, store: Store, settings: HubSettings, waiting: Callable[[], Waiting]) -> None:
    fleet = store.fleet

    @router.post(
        "/leases/{token}/renew",
        **described(
            "agent",
            {
                200: Answer("what is still held", Renewed),
                409: Answer("all of it is lost", Renewed),
                410: Answer("all of it was cancelled", Renewed),
            },
            body=Renewal,
            refusals=(401, 413, 415, 422, 503),
        ),
    )
    async def renew(request: Request, token: Token) -> JSONResponse:
        """The heartbeat of work in progress."""
        agent = await agent_caller(request, fleet)
        said = await read_record(request, Renewal, settings.body_bytes)
        held = await run_in_threadpool(fleet.renew, agent.agent_id, token, settings.lease_s)
        await run_in_threadpool(fleet.seen, agent.agent_id, agent.address, said.conditions)
        status = 200 if held.jobs else 410 if held.all_cancelled else 409
        return JSONResponse(document_of(Renewed(settings.lease_s, held.jobs, agent.state)), status_code=status)

    @router.post(
        "/leases/{token}/release",
        **described("agent", {204: Answer("given back")}, body=GiveBack, refusals=(401, 413, 415, 422, 503)),
    )
    async def release(request: Request, token: Token) -> Response:
        """Give back jobs that will not be measured."""
        agent = await agent_caller(request, fleet)
        said = await read_record(request, GiveBack, settings.body_bytes)
        number = await run_in_threadpool(fleet.release, agent.agent_id, token, said.jobs)
        if said.reason and number:
            detail = partial(fleet.note, agent.agent_id, agent.address, "gave back", token, {"why": said.reason})
            await run_in_threadpool(detail)
        waiting().wake()
        return Response(status_code=204)


def _add_handing_over(router: APIRouter, store: Store, settings: HubSettings) -> None:
    fleet = store.fleet

    @router.post(
        "/results",
        **described(
            "agent",
            {
                201: Answer("recorded", Receipt),
                200: Answer("was recorded before", Receipt),
                409: Answer("kept, and does not count: the job had its result", Receipt),
            },
            body=Result,
            refusals=(401, 413, 415, 422, 503),
        ),
    )
    async def result(request: Request) -> JSONResponse:
        """Hand a result over; the same answer however often it is sent."""
        agent = await agent_caller(request, fleet)
        said = await read_record(request, Result, settings.body_bytes)
        verdict = await run_in_threadpool(fleet.accept, agent.agent_id, said)
        receipt = Receipt(verdict.measurement_id, verdict.verdict, verdict.job_state)
        status = 409 if verdict.verdict == "late" else 201 if verdict.is_new else 200
        return JSONResponse(document_of(receipt), status_code=status)


def _shown(said: str) -> str:
    """What somebody unknown said, as far as the log keeps it."""
    return said if len(said) <= _SHOWN_MAX else f"{said[:_SHOWN_MAX]}…"


def _check_version(protocol: int) -> None:
    if protocol not in (PROTOCOL_VERSION, PROTOCOL_VERSION - 1):
        raise Refusal(
            426,
            f"this hub speaks version {PROTOCOL_VERSION} of the protocol and the one before it, not {protocol}",
            "upgrade edgecost on the older side: pip install --upgrade edgecost",
        )


def _lease(store: Store, quiet: QuietLevels, settings: HubSettings, agent: Caller, batch: Batch) -> Lease:
    """A batch as a message, with its large skeletons where the board can fetch them."""
    for held in batch.jobs:
        if is_large(held):
            skeleton = zlib.decompress(held.skeleton_zlib)
            store.fleet.put_blob(
                hashlib.sha256(skeleton).hexdigest(),
                [skeleton],
                media_type="application/onnx",
                by="hub",
                most_bytes=settings.blob_bytes,
            )
    found = lease_of(batch, settings.lease_s, None)
    return replace(found, quiet_canary_ns=quiet.of(agent.agent_id, found.profile_hash))
