"""Who looks: a person's token in a cookie that no script can read and no other site can send."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from ...db.fleet.door import Fleet
from ...db.fleet.records import Person
from ...profiler.errors import HubRefused
from ..auth import RANK
from ..refusal import Refusal

COOKIE = "edgecost_token"
#: A week: whoever takes a token away ends it at once, whatever a browser remembers.
_LASTS_S = 7 * 24 * 3600
#: Of what a form sends, at the most.
FORM_BYTES = 4096


async def viewer(request: Request, fleet: Fleet, role: str = "viewer") -> Person:
    """The person who looks, and who has at least this role.

    Raises:
        Refusal: 401 without a cookie that opens something, or 403.
    """
    token = request.cookies.get(COOKIE, "")
    try:
        person = await run_in_threadpool(fleet.person, token)
    except HubRefused as error:
        raise Refusal(401, error.message, error.remedy) from error
    if RANK[person.role] < RANK[role]:
        raise Refusal(403, f"{person.name} is {person.role}; this takes the role {role}", "ask the hub's keeper")
    return person


async def form(request: Request) -> dict[str, str]:
    """What a form of one of our own pages sent; the last value of each field.

    Raises:
        Refusal: 403 from another site, or 413.
    """
    origin = urlsplit(request.headers.get("origin", "")).netloc
    if origin and origin != request.headers.get("host", ""):
        raise Refusal(403, "this was sent by another site's page")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > FORM_BYTES:
            raise Refusal(413, "more than a form sends")
    return {name: values[-1] for name, values in parse_qs(body.decode(errors="replace")).items()}


def signed_in(request: Request, token: str, then: str) -> RedirectResponse:
    """Keep a token that opens something, and go on."""
    answer = RedirectResponse(_here(then), status_code=303)
    answer.set_cookie(
        COOKIE, token, max_age=_LASTS_S, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return answer


def signed_out() -> RedirectResponse:
    """Forget the token."""
    answer = RedirectResponse("/sign-in", status_code=303)
    answer.delete_cookie(COOKIE)
    return answer


def _here(place: str) -> str:
    """A path of this hub and nothing else: nobody is sent elsewhere by a link to us."""
    return place if place.startswith("/") and not place.startswith("//") and "\\" not in place else "/"
