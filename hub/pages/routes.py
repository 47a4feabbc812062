"""Which page stands where. Looking takes the role viewer, steering the role operator."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from ...db import Store
from ...db.browsing import WorkloadHead
from ...db.records import CampaignSummary
from ...profiler.errors import HubRefused, ModelError, UsageError
from ..auth import address_of
from ..refusal import Refusal
from ..settings import HubSettings
from . import auditing, comparing, models, tables, views, workloads
from .asking import AskView, ask, ask_workload
from .growth import Shelf
from .kept import Kept
from .rendering import HEADERS, Renderer
from .sign_in import form, signed_in, signed_out, viewer

_STATIC = {path.name: path for path in sorted((Path(__file__).parent / "static").iterdir()) if path.is_file()}
#: One side of a comparison, as a form sends it.
Selected = Annotated[str, Query(max_length=300, pattern="^[^\\x00]*$")]
_STATES = {"drain": "draining", "resume": "active", "retire": "retired"}


def page_routes(store: Store, settings: HubSettings) -> APIRouter:
    """The routes under which people come with a browser."""
    renderer = Renderer()
    router = APIRouter(route_class=renderer.route_class(), include_in_schema=False)
    _add_door(router, store, renderer)
    _add_fleet(router, store, renderer)
    _add_campaigns(router, store, renderer)
    _add_workloads(router, store, renderer)
    _add_models(router, store, renderer)
    _add_tables(router, store, renderer)
    _add_comparing(router, store, renderer)
    _add_asking(router, store, renderer, settings)
    return router


def _add_door(router: APIRouter, store: Store, renderer: Renderer) -> None:
    @router.get("/sign-in")
    async def sign_in(then: str = "/") -> Response:
        return renderer.page("sign_in.html", person=None, then=then, message="", path="")

    @router.post("/sign-in")
    async def take(request: Request) -> Response:
        sent = await form(request)
        token, then = sent.get("token", "").strip(), sent.get("then", "/")
        try:
            await run_in_threadpool(store.fleet.person, token)
        except HubRefused:
            message = "This token opens nothing. It may have been taken away, or cut when it was copied."
            return renderer.page("sign_in.html", 401, person=None, then=then, message=message, path="")
        return signed_in(request, token, then)

    @router.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        await form(request)
        return signed_out()

    @router.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in _STATIC:
            raise Refusal(404, "there is no such file")
        return FileResponse(_STATIC[name], headers={**HEADERS, "Cache-Control": "max-age=3600"})


def _add_page(
    router: APIRouter, store: Store, renderer: Renderer, place: str, template: str, view: Callable[..., object]
) -> None:
    """A page whose view takes what stands in its path."""

    @router.get(place)
    async def page(request: Request) -> Response:
        person = await viewer(request, store.fleet)
        found = await run_in_threadpool(partial(view, store, **request.path_params))
        return renderer.answer(request, template, person, found)


def _add_fleet(router: APIRouter, store: Store, renderer: Renderer) -> None:
    shelf = Shelf()
    _add_page(router, store, renderer, "/", "fleet.html", partial(views.fleet_view, shelf=shelf))
    _add_page(router, store, renderer, "/devices/{name}", "device.html", partial(views.board_view, shelf=shelf))

    @router.post("/devices/{name}/{verb}")
    async def steer(request: Request, name: str, verb: Literal["drain", "resume", "retire"]) -> Response:
        person = await viewer(request, store.fleet, "operator")
        await form(request)
        change = partial(store.fleet.set_agent_state, name, _STATES[verb], by=person.name, address=address_of(request))
        await run_in_threadpool(change)
        return _back(f"/devices/{name}")


def _add_campaigns(router: APIRouter, store: Store, renderer: Renderer) -> None:
    _add_page(router, store, renderer, "/campaigns", "campaigns.html", views.campaigns_view)
    _add_page(router, store, renderer, "/campaigns/{number}", "campaign.html", _campaign)

    @router.post("/campaigns/{number}/{verb}")
    async def steer(request: Request, number: str, verb: Literal["cancel", "retry"]) -> Response:
        person = await viewer(request, store.fleet, "operator")
        await form(request)
        found = await run_in_threadpool(_numbered, store, number)
        act = store.fleet.cancel if verb == "cancel" else store.fleet.retry
        await run_in_threadpool(partial(act, campaign=found.name, by=person.name, address=address_of(request)))
        return _back(f"/campaigns/{number}")


def _add_workloads(router: APIRouter, store: Store, renderer: Renderer) -> None:
    @router.get("/workloads")
    async def search(request: Request, q: Annotated[str, Query(max_length=200)] = "") -> Response:
        person = await viewer(request, store.fleet)
        found = await run_in_threadpool(workloads.workloads_view, store, q.replace("\0", ""))
        return renderer.answer(request, "workloads.html", person, found)

    _add_page(router, store, renderer, "/workloads/{graph_hash}", "workload.html", _workload)
    _add_page(router, store, renderer, "/workloads/{graph_hash}/prices", "prices.html", _prices)
    _add_page(router, store, renderer, "/measurements/{measurement_id}", "measurement.html", workloads.measurement_view)


def _add_models(router: APIRouter, store: Store, renderer: Renderer) -> None:
    _add_page(
        router, store, renderer, "/models", "models.html", partial(models.models_view, rows=Kept(models.read_row))
    )
    _add_page(router, store, renderer, "/models/{name}", "model.html", models.model_view)

    @router.get("/models/{name}/picture.svg")
    async def picture(request: Request, name: str) -> Response:
        await viewer(request, store.fleet)
        return _picture(await run_in_threadpool(models.model_picture, name))


def _add_tables(router: APIRouter, store: Store, renderer: Renderer) -> None:
    place = "/luts/{space}/{identity}/{profile_hash}"
    _add_page(router, store, renderer, "/luts", "tables.html", tables.tables_view)
    _add_page(router, store, renderer, place, "table.html", tables.table_view)

    _add_page(router, store, renderer, f"{place}/audit", "audit.html", auditing.audit_view)

    @router.get(f"{place}/audit.svg")
    async def picture(request: Request) -> Response:
        await viewer(request, store.fleet)
        return _picture(await run_in_threadpool(partial(auditing.audit_picture, store, **request.path_params)))

    @router.get(f"{place}/files/{{format_name}}")
    async def files(request: Request) -> Response:
        await viewer(request, store.fleet)
        made = partial(tables.table_files, store, **request.path_params)
        name, contents = await run_in_threadpool(made)
        headers = {**HEADERS, "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
        return Response(contents, media_type="application/octet-stream", headers=headers)


def _add_comparing(router: APIRouter, store: Store, renderer: Renderer) -> None:
    @router.get("/compare")
    async def compared(request: Request, a: Selected = "", b: Selected = "", graph: Selected = "") -> Response:
        person = await viewer(request, store.fleet)
        found = await run_in_threadpool(comparing.compare_view, store, a.strip(), b.strip(), graph.strip())
        query = urlencode({"a": a, "b": b, "graph": graph})
        return renderer.answer(request, "compare.html", person, found, query=query)

    @router.get("/compare/picture.svg")
    async def picture(request: Request, a: Selected = "", b: Selected = "", graph: Selected = "") -> Response:
        await viewer(request, store.fleet)
        return _picture(await run_in_threadpool(comparing.compare_picture, store, a.strip(), b.strip(), graph.strip()))


def _add_asking(router: APIRouter, store: Store, renderer: Renderer, settings: HubSettings) -> None:
    @router.get("/ask")
    async def empty(request: Request) -> Response:
        return renderer.answer(request, "ask.html", await viewer(request, store.fleet), AskView())

    @router.post("/ask")
    async def price(request: Request, name: Annotated[str, Query(max_length=200)] = "model.onnx") -> Response:
        """The model is the body: nothing of a form is around it, and no file of that name is made."""
        person = await viewer(request, store.fleet)
        model = b""
        async for piece in request.stream():
            model += piece
            if len(model) > settings.blob_bytes:
                raise Refusal(413, f"a model of more than {settings.blob_bytes >> 20} MiB is not taken")
        try:
            found = await run_in_threadpool(ask, store, name, model)
        except ModelError as error:
            raise Refusal(422, error.message, error.remedy) from error
        return renderer.answer(request, "answer.html", person, found)


def _campaign(store: Store, number: str) -> views.CampaignView:
    return views.campaign_view(store, _numbered(store, number))


def _numbered(store: Store, number: str) -> CampaignSummary:
    for one in store.campaigns():
        if str(one.id) == number:
            return one
    raise UsageError(f"there is no campaign {number}", remedy="edgecost campaign list")


def _workload(store: Store, graph_hash: str) -> workloads.WorkloadView:
    found = store.browsing.workloads(graph_hash, 2)
    exact = [one for one in found if one.graph_hash == graph_hash]
    if not exact:
        raise UsageError(f"there is no workload {graph_hash[:64]}")
    head: WorkloadHead = exact[0]
    return workloads.workload_view(store, head)


def _prices(store: Store, graph_hash: str) -> AskView:
    workload = store.workload(graph_hash)
    if workload is None:
        raise UsageError(f"there is no workload {graph_hash[:64]}")
    return ask_workload(store, workload.name, workload)


def _picture(drawn: str) -> Response:
    """An SVG has styles of its own, and no script: nothing in it is run, wherever it is opened."""
    headers = {**HEADERS, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return Response(drawn, media_type="image/svg+xml", headers=headers)


def _back(place: str) -> Response:
    return Response(status_code=303, headers={"Location": place})
