"""The OpenAPI of routes whose bodies ``bodies.py`` reads, by the schemas that ``documents.py`` makes of the records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..profiler.documents import schema_of
from ..profiler.fleet_protocol import Problem

#: What any route may answer instead.
_REFUSALS = {
    400: "the request makes no sense",
    401: "no token, or one that opens nothing",
    403: "this role may not do that",
    404: "there is no such thing",
    409: "not in this state",
    413: "too large",
    415: "packed in an unknown way",
    422: "not what the protocol says",
    426: "this hub does not speak that version of the protocol any more",
    429: "too many wrong codes; wait",
    503: "the database cannot be used now",
}
#: Where only the hub's own process is asked.
NO_REFUSAL: tuple[int, ...] = ()


@dataclass(frozen=True)
class Answer:
    """One thing that a route answers; no ``kind`` is an empty body."""

    meaning: str
    kind: type | None = None
    many: bool = False


def described(
    answers: Mapping[int, Answer], *, body: type | None = None, refusals: tuple[int, ...] = (401, 403, 422, 503)
) -> dict[str, Any]:  # what FastAPI's decorators take
    """The keyword arguments of a route that describe it."""
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": _REFUSALS[status], **_content(Problem)} for status in refusals
    }
    for status, answer in answers.items():
        responses[status] = {"description": answer.meaning, **_content(answer.kind, many=answer.many)}
    arguments: dict[str, Any] = {"responses": responses, "status_code": min(answers)}
    if body is not None:
        arguments["openapi_extra"] = {"requestBody": {"required": True, **_content(body)}}
    return arguments


def _content(kind: type | None, *, many: bool = False) -> dict[str, Any]:
    if kind is None:
        return {}
    schema = schema_of(kind)
    return {"content": {"application/json": {"schema": {"type": "array", "items": schema} if many else schema}}}
