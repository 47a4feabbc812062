"""The hub put together: routes over a store, who waits, and who keeps order. It holds no state of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from ..db import Store
from ..profiler.errors import StoreError
from ..profiler.installed import edgecost_version
from .agent_api import agent_routes
from .blob_api import blob_routes
from .describe import DescribedApp
from .pages import page_routes
from .people_api import people_routes
from .refusal import install
from .settings import HubSettings
from .waiting import Waiting


def make_app(store: Store, settings: HubSettings | None = None) -> FastAPI:
    """The ASGI application of one replica; any number of them may stand on one PostgreSQL."""
    chosen = settings or HubSettings()
    waiting: list[Waiting] = []  # made when the event loop runs, the newest first

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        waiting.insert(0, Waiting(chosen.poll_s))
        keepers = (_reap(store, waiting[0], chosen.reap_s), _maintain(store, chosen.maintain_s))
        tasks = [asyncio.create_task(keeper) for keeper in keepers]
        with store.fleet.listener(waiting[0].wake):
            yield
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    app = DescribedApp(
        title="edgecost hub",
        version=edgecost_version(),
        description="Boards pull work and hand results over; people look and steer.",
        lifespan=life,
        # Its pages of documentation load scripts from elsewhere, and a hub may have no way out.
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
    )
    #: For who serves it: ends the long polls, so that a replica need not wait for them when it ends.
    app.state.let_go = lambda: waiting[0].end()
    install(app)
    app.include_router(agent_routes(store, chosen, lambda: waiting[0]))
    app.include_router(blob_routes(store, chosen))
    app.include_router(people_routes(store, chosen))
    app.include_router(page_routes(store, chosen))
    return app


async def _reap(store: Store, waiting: Waiting, every_s: float) -> None:
    """Take leases from boards that fell silent. All replicas do: a lease is taken once, whoever is first."""
    while True:
        await asyncio.sleep(every_s)
        # A database that is away is back some time; what it then holds is the truth.
        with suppress(StoreError):
            if await run_in_threadpool(store.fleet.reap):
                waiting.wake()


async def _maintain(store: Store, every_s: float) -> None:
    """Put the store in order. All replicas try, and one does it at a time."""
    while True:
        await asyncio.sleep(every_s)
        # What could not be done now, because others held the store, is done the next time.
        with suppress(StoreError):
            await run_in_threadpool(store.maintain)
