"""Write ``reference/hub-api.md`` from the hub's own OpenAPI: every route, who may ask, what is sent and answered.

Run it after a change of ``hub/`` or of the protocol:  .venv/bin/python docs/make_hub_reference.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from fastapi.routing import APIRoute

from edgecost.db import Store
from edgecost.hub.app import make_app
from edgecost.hub.pages import asking, auditing, comparing, models, page_routes, tables, views, workloads
from edgecost.hub.settings import HubSettings
from edgecost.profiler import fleet_protocol

_VERSION = fleet_protocol.PROTOCOL_VERSION
_BODY_MIB, _BLOB_MIB = HubSettings().body_bytes >> 20, HubSettings().blob_bytes >> 20

PAGE = Path(__file__).parent / "reference" / "hub-api.md"
_LEAD = f"""\
# The hub's API

Written by `docs/make_hub_reference.py`; do not edit. HTTP/1.1 and JSON in UTF-8, version {_VERSION} of the
protocol; a hub speaks this version and the one before it. The whole description with every schema, as OpenAPI 3.1, is
at `/v1/openapi.json` of a hub. How to run one: [run-a-fleet.md](../how-to/run-a-fleet.md).

- `Authorization: Bearer TOKEN`. Boards get their token when they enrol, people by
  `edgecost hub token NAME --role ROLE`. An *operator* may what a *viewer* may, an *admin* what an operator may.
- A body may be packed: `Content-Encoding: gzip`. It holds at most {_BODY_MIB} MiB, before and after
  unpacking; a blob {_BLOB_MIB} MiB.
- Fields that are unknown, missing, twice there or of another type, and numbers that are not finite, are refused (422).
- Every request may be sent again: the answer is the same. A refusal says `{{"message": …, "remedy": …}}`.
- 429 and 503 say in `Retry-After` how many seconds to wait.

"""
_TITLES = {
    "agents": "What boards ask",
    "models": "Models and traces, by their sha256",
    "devices": "Boards",
    "jobs": "Campaigns and jobs",
    "keeping": "Keeping a hub",
}
_LUT = "/luts/{space}/{identity}/{profile_hash}"
#: What each page shows, as a record.
_PAGES: Mapping[str, type] = {
    "/": views.FleetView,
    "/devices/{name}": views.BoardView,
    "/campaigns": views.CampaignsView,
    "/campaigns/{number}": views.CampaignView,
    "/workloads": workloads.WorkloadsView,
    "/workloads/{graph_hash}": workloads.WorkloadView,
    "/workloads/{graph_hash}/prices": asking.AskView,
    "/measurements/{measurement_id}": workloads.MeasurementView,
    "/models": models.ModelsView,
    "/models/{name}": models.ModelView,
    "/luts": tables.TablesView,
    _LUT: tables.TableView,
    f"{_LUT}/audit": auditing.AuditView,
    "/compare": comparing.CompareView,
    "/ask": asking.AskView,
}
_PAGES_LEAD = """\
## Pages as JSON

Every page is JSON with `?format=json`: the record that it shows, for a *viewer* whose token stands in the cookie
`edgecost_token`. What is not known is null. `POST /ask` takes a model as its body.

| page | shows | fields |
|---|---|---|
"""
#: What a browser asks for that is no page.
_NO_PAGES = ("/sign-in", "/static/", ".svg", "/files/")
#: What any route may say; only what is special to one stands in its row.
_ANY = {"401", "403", "413", "415", "422", "503"}


def page() -> str:
    """The whole page."""
    document = _document()
    parts = [_LEAD]
    for tag, title in _TITLES.items():
        parts.append(f"## {title}\n\n| request | who may | what for | body | answers |\n|---|---|---|---|---|\n")
        for path, methods in document["paths"].items():
            for method, route in methods.items():
                if route["tags"] == [tag]:
                    parts.append(_row(method.upper(), path, route))
        parts.append("\n")
    parts.append(_pages())
    parts.append(_refusals(document))
    parts.append(_messages())
    return "".join(parts)


def tags_of(document: Mapping[str, Any]) -> set[str]:
    """Every tag that a route has; a page without one of them would leave routes out."""
    return {tag for methods in document["paths"].values() for route in methods.values() for tag in route["tags"]}


def _document() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder, "empty.sqlite")) as store:
        document = make_app(store).openapi()
    assert tags_of(document) == set(_TITLES)
    assert page_paths() == set(_PAGES)
    return document


def _row(method: str, path: str, route: Mapping[str, Any]) -> str:
    answers = "; ".join(
        f"{status} {answer['description']}"
        for status, answer in sorted(route["responses"].items())
        if status not in _ANY
    )
    query = ", ".join(f"`{one['name']}`" for one in route.get("parameters", ()) if one["in"] == "query")
    what = route["description"].partition("\n")[0].replace("``", "`") + (f" Query: {query}." if query else "")
    for one in route.get("parameters", ()):
        if one["in"] == "path" and "enum" in one["schema"]:
            path = path.replace(f"{{{one['name']}}}", " or ".join(one["schema"]["enum"]))
    return f"| `{method} {path}` | {_who(route)} | {what} | {_body(route)} | {answers} |\n"


def _who(route: Mapping[str, Any]) -> str:
    names = [("a board" if "agent" in one else f"{one['person'][0]}") for one in route["security"]]
    return ", ".join(names) or "anybody"


def _body(route: Mapping[str, Any]) -> str:
    content = route.get("requestBody", {}).get("content", {})
    if "application/octet-stream" in content:
        return "the bytes"
    if not content:
        return "–"
    schema = content["application/json"]["schema"]
    needed = set(schema["required"])
    return ", ".join(f"`{name}`" if name in needed else f"`{name}`?" for name in schema["properties"]) or "–"


def _pages() -> str:
    """Every page with the fields of its record."""
    parts = [_PAGES_LEAD]
    for path, view in _PAGES.items():
        told = " ".join((view.__doc__ or "").split("\n\n")[0].split())
        names = ", ".join(f"`{one.name}`" for one in fields(view))
        parts.append(f"| `{path}` | {told.replace('``', '`')} | {names} |\n")
    return "".join([*parts, "\n"])


def page_paths() -> set[str]:
    """Of the pages that a hub has."""
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder, "empty.sqlite")) as store:
        routes = [one for one in page_routes(store, HubSettings()).routes if isinstance(one, APIRoute)]
    return {one.path for one in routes if "GET" in one.methods and not any(name in one.path for name in _NO_PAGES)}


def _refusals(document: Mapping[str, Any]) -> str:
    said = {
        status: answer["description"]
        for methods in document["paths"].values()
        for route in methods.values()
        for status, answer in route["responses"].items()
        if status in _ANY
    }
    rows = "".join(f"| {status} | {said[status]} |\n" for status in sorted(said))
    return f"## What any request may be answered instead\n\n| status | meaning |\n|---|---|\n{rows}\n"


def _messages() -> str:
    """Every record that boards and the hub exchange, with its fields; `?` marks what may be left out."""
    parts = ["## The records\n\nA field with `?` may be left out.\n\n| record | what it is | fields |\n|---|---|---|\n"]
    for kind in fleet_protocol.MESSAGES:
        told = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        names = ", ".join(f"`{one.name}`" + ("?" if _has_default(one) else "") for one in fields(kind))
        parts.append(f"| {kind.__name__} | {told.replace('``', '`')} | {names} |\n")
    return "".join(parts)


def _has_default(one: Any) -> bool:
    from dataclasses import MISSING

    return one.default is not MISSING or one.default_factory is not MISSING


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
