"""What people ask: which boards there are, how far campaigns are, and to steer both. Viewers look, operators steer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from ..db import Store
from ..db.fleet.records import AgentWork, AuditEntry, JobView, NewCode
from ..db.records import CampaignSummary
from ..profiler.documents import encode
from .auth import address_of, person_caller
from .bodies import read_record
from .describe import Answer, described
from .messages import DeviceView, device_view
from .settings import HubSettings

_REFUSALS = (400, 401, 403, 404, 422, 503)
_PAGE_MAX = 1000
#: The largest identity of a row that either engine has.
_ROW_MAX = (1 << 63) - 1

Name = Annotated[str, Path(min_length=1, max_length=200, pattern="^[^\\x00/]+$")]
JobId = Annotated[int, Path(ge=1, le=_ROW_MAX)]


@dataclass(frozen=True)
class CodeRequest:
    """``POST /v1/enrolment-codes``."""

    labels: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    replaces: str | None = None


@dataclass(frozen=True)
class Changed:
    """How many jobs a request changed."""

    jobs: int


@dataclass(frozen=True)
class AttemptView:
    """One result that was sent for a job."""

    measurement_id: str
    verdict: str
    received_at: str
    status: str
    message: str
    latency_median_ms: float | None
    by: str


@dataclass(frozen=True)
class JobWithAttempts:
    """A job and every result that was sent for it, oldest first."""

    job: JobView
    attempts: tuple[AttemptView, ...]


def people_routes(store: Store, settings: HubSettings) -> APIRouter:
    """The routes under which people come, and their programs."""
    router = APIRouter(prefix="/v1")
    _add_devices(router, store)
    _add_campaigns(router, store)
    _add_jobs(router, store)
    _add_keeping(router, store, settings)
    return router


def _json(records: object, status: int = 200) -> JSONResponse:
    return JSONResponse(encode(records), status_code=status)


def _add_devices(router: APIRouter, store: Store) -> None:
    fleet = store.fleet

    @router.get(
        "/devices", tags=["devices"], **described("viewer", {200: Answer("boards by name", DeviceView, many=True)})
    )
    async def devices(request: Request) -> JSONResponse:
        """All boards, with what they hold and have sent."""
        await person_caller(request, fleet, "viewer")
        found = await run_in_threadpool(fleet.agents_with_work)
        return _json([_view(one) for one in found])

    @router.get(
        "/devices/{name}",
        tags=["devices"],
        **described("viewer", {200: Answer("the board", DeviceView)}, refusals=_REFUSALS),
    )
    async def device(request: Request, name: Name) -> JSONResponse:
        """One board, by its name or the beginning of its identity."""
        await person_caller(request, fleet, "viewer")
        return _json(_view(await run_in_threadpool(fleet.agent, name)))

    @router.post(
        "/devices/{name}/{verb}",
        tags=["devices"],
        **described("operator", {200: Answer("the board", DeviceView)}, refusals=_REFUSALS),
    )
    async def steer(request: Request, name: Name, verb: Literal["drain", "resume", "retire"]) -> JSONResponse:
        """Let a board finish and take no more, work again, or leave for good."""
        who = await person_caller(request, fleet, "operator")
        state = {"drain": "draining", "resume": "active", "retire": "retired"}[verb]
        await run_in_threadpool(partial(fleet.set_agent_state, name, state, by=who, address=address_of(request)))
        return _json(_view(await run_in_threadpool(fleet.agent, name)))


def _view(work: AgentWork) -> DeviceView:
    return device_view(work.agent, work.jobs_held, work.accepted, work.attempts, work.late, work.killed)


def _add_campaigns(router: APIRouter, store: Store) -> None:
    fleet = store.fleet

    @router.get(
        "/campaigns",
        tags=["jobs"],
        **described("viewer", {200: Answer("campaigns, oldest first", CampaignSummary, many=True)}),
    )
    async def campaigns(request: Request) -> JSONResponse:
        """All campaigns with their jobs by state."""
        await person_caller(request, fleet, "viewer")
        return _json(await run_in_threadpool(store.campaigns))

    @router.post(
        "/campaigns/{name}/{verb}",
        tags=["jobs"],
        **described("operator", {200: Answer("done", Changed)}, refusals=_REFUSALS),
    )
    async def steer_campaign(request: Request, name: Name, verb: Literal["cancel", "retry"]) -> JSONResponse:
        """Cancel what is open of a campaign, or try again what failed."""
        who = await person_caller(request, fleet, "operator")
        act = fleet.cancel if verb == "cancel" else fleet.retry
        number = await run_in_threadpool(partial(act, campaign=name, by=who, address=address_of(request)))
        return _json(Changed(number))


def _add_jobs(router: APIRouter, store: Store) -> None:
    fleet = store.fleet

    @router.get(
        "/jobs",
        tags=["jobs"],
        **described("viewer", {200: Answer("jobs by their number", JobView, many=True)}, refusals=_REFUSALS),
    )
    async def jobs(
        request: Request,
        campaign: Annotated[str | None, Query(pattern="^[^\\x00]+$")] = None,
        state: Annotated[list[Literal["pending", "leased", "done", "failed"]] | None, Query()] = None,
        after: Annotated[int, Query(ge=0, le=_ROW_MAX)] = 0,
        limit: Annotated[int, Query(ge=1, le=_PAGE_MAX)] = 100,
    ) -> JSONResponse:
        """A page of jobs; the next one begins ``after`` the last."""
        await person_caller(request, fleet, "viewer")
        look = partial(fleet.jobs, campaign=campaign, states=state or (), after=after, limit=limit)
        return _json(await run_in_threadpool(look))

    @router.get(
        "/jobs/{job_id}",
        tags=["jobs"],
        **described("viewer", {200: Answer("the job", JobWithAttempts)}, refusals=_REFUSALS),
    )
    async def job(request: Request, job_id: JobId) -> JSONResponse:
        """One job, and every result that was sent for it."""
        await person_caller(request, fleet, "viewer")
        found, attempts = await run_in_threadpool(fleet.job, job_id)
        return _json({"job": found, "attempts": attempts})

    @router.post(
        "/jobs/{job_id}/{verb}",
        tags=["jobs"],
        **described("operator", {200: Answer("done", Changed)}, refusals=_REFUSALS),
    )
    async def steer_job(request: Request, job_id: JobId, verb: Literal["cancel", "retry"]) -> JSONResponse:
        """Cancel a job, or try a failed one again."""
        who = await person_caller(request, fleet, "operator")
        act = fleet.cancel if verb == "cancel" else fleet.retry
        number = await run_in_threadpool(partial(act, job_ids=[job_id], by=who, address=address_of(request)))
        return _json(Changed(number))


def _add_keeping(router: APIRouter, store: Store, settings: HubSettings) -> None:
    fleet = store.fleet

    @router.post(
        "/enrolment-codes",
        tags=["keeping"],
        **described(
            "admin", {201: Answer("a one-time code", NewCode)}, body=CodeRequest, refusals=(*_REFUSALS, 413, 415)
        ),
    )
    async def make_code(request: Request) -> JSONResponse:
        """A one-time code with which one board can enrol."""
        who = await person_caller(request, fleet, "admin")
        asked = await read_record(request, CodeRequest, settings.body_bytes)
        make = partial(fleet.make_code, asked.labels, name=asked.name, replaces=asked.replaces, by=who)
        return _json(await run_in_threadpool(make), 201)

    @router.get("/audit", tags=["keeping"], **described("admin", {200: Answer("newest first", AuditEntry, many=True)}))
    async def audit(request: Request, limit: Annotated[int, Query(ge=1, le=_PAGE_MAX)] = 100) -> JSONResponse:
        """Who did what."""
        await person_caller(request, fleet, "admin")
        return _json(await run_in_threadpool(fleet.audit, limit))

    @router.get(
        "/health", tags=["keeping"], **described("anybody", {200: Answer("the hub works", Health)}, refusals=(503,))
    )
    async def health() -> JSONResponse:
        """Whether the hub can reach its database; for load balancers."""
        return _json(Health("ok", await run_in_threadpool(fleet.server_time)))


@dataclass(frozen=True)
class Health:
    """That it works, and what time it is there."""

    status: str
    server_time: str
