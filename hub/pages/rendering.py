"""Views → HTML, or JSON where that was asked for; refusals become pages too."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.routing import APIRoute

from ...db.fleet.records import Person
from ...profiler.documents import encode
from ...profiler.errors import ArtefactError, GateError, StoreError, UsageError
from ..refusal import Refusal

_HERE = Path(__file__).parent
#: Nothing is loaded from elsewhere, no page of ours stands inside another, and no form goes elsewhere.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {
        "ms": milliseconds, "mj": millijoules, "share": share, "ago": ago, "duration": duration, "at": moment,
        "mb": megabytes, "path": lambda text: quote(text, safe=""),
    }  # fmt: skip
    return made


class Renderer:
    """Makes answers of views."""

    def __init__(self) -> None:
        self._environment = _environment()

    def answer(self, request: Request, template: str, person: Person, view: object, **more: object) -> Response:
        """A page, or the same as JSON with ``?format=json``.

        Args:
            view: a frozen record; the template has it as ``view``.
            more: what only the template needs.
        """
        if request.query_params.get("format") == "json":
            return JSONResponse(encode(view), headers={"Cache-Control": "no-store"})
        return self.page(template, 200, person=person, view=view, path=request.url.path, **more)

    def page(self, template: str, status: int = 200, **values: object) -> HTMLResponse:
        """A page of whatever its template needs."""
        text = self._environment.get_template(template).render(now=datetime.now(timezone.utc), **values)
        return HTMLResponse(text, status_code=status, headers=HEADERS)

    def route_class(self) -> type[APIRoute]:
        """Routes that say what went wrong as pages do, and send whoever is not signed in where that is done."""
        renderer = self

        class PageRoute(APIRoute):
            def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
                handle = super().get_route_handler()

                async def handled(request: Request) -> Response:
                    try:
                        return await handle(request)
                    except Refusal as refusal:
                        wants_json = request.query_params.get("format") == "json"
                        if refusal.status == 401 and request.method == "GET" and not wants_json:
                            return RedirectResponse(f"/sign-in?then={quote(request.url.path, safe='')}", 303)
                        return renderer.refused(
                            request, refusal.status, refusal.problem.message, refusal.problem.remedy
                        )
                    except RequestValidationError as error:
                        return renderer.refused(request, 422, str(error.errors()[0]["msg"]), "")
                    except UsageError as error:
                        status = 404 if error.message.startswith("there is no") else 400
                        return renderer.refused(request, status, error.message, error.remedy)
                    except (GateError, ArtefactError) as error:
                        return renderer.refused(request, 409, error.message, error.remedy)
                    except StoreError as error:
                        return renderer.refused(request, 503, "the hub's database cannot be used now", error.remedy)

                return handled

        return PageRoute

    def refused(self, request: Request, status: int, message: str, remedy: str) -> Response:
        """What was not done, why, and what helps."""
        if request.query_params.get("format") == "json":
            return JSONResponse({"message": message, "remedy": remedy}, status_code=status)
        return self.page("refused.html", status, person=None, message=message, remedy=remedy, path="")


def milliseconds(value: float | None) -> str:
    """A latency for people; unknown is a dash, never 0."""
    if value is None:
        return "–"
    return f"{value:.3f} ms" if value >= 0.1 else f"{value * 1000:.2f} µs"


def millijoules(value: float | None) -> str:
    """An energy for people, likewise."""
    if value is None:
        return "–"
    return f"{value / 1e3:.4g} J" if value >= 1e4 else f"{value:.4g} mJ"


def megabytes(value: float | None) -> str:
    """Bytes for people, in millions, likewise."""
    return "–" if value is None else f"{value / 1e6:.1f} MB"


def share(value: float | None) -> str:
    """A part of a whole, in per cent."""
    return "–" if value is None else f"{value * 100:.1f} %"


def duration(seconds: float | None) -> str:
    """A time span in the unit that fits."""
    if seconds is None:
        return "–"
    for least, unit in ((2 * _DAY_S, "d"), (2 * _HOUR_S, "h"), (2 * _MINUTE_S, "min")):
        if seconds >= least:
            return f"{seconds / {'d': _DAY_S, 'h': _HOUR_S, 'min': _MINUTE_S}[unit]:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def moment(text: str | None) -> str:
    """A time of the store, to the second."""
    return "–" if not text else f"{text[:19].replace('T', ' ')} UTC"


def ago(text: str | None, now: datetime) -> str:
    """How long ago something was."""
    if not text:
        return "never"
    return f"{duration((now - datetime.fromisoformat(text)).total_seconds())} ago"
