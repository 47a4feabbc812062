"""The OpenAPI of routes whose bodies ``bodies.py`` reads, by the schemas that ``documents.py`` makes of the records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

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
_BYTES = {"type": "string", "format": "binary"}


#: How OpenAPI says who may: the role stands where OAuth has its scopes, which OpenAPI 3.1 allows for any scheme.
SECURITY: Mapping[str, list[dict[str, list[str]]]] = {
    "anybody": [],
    "agent": [{"agent": []}],
    "viewer": [{"person": ["viewer"]}],
    "operator": [{"person": ["operator"]}],
    "admin": [{"person": ["admin"]}],
    "viewer or agent": [{"person": ["viewer"]}, {"agent": []}],
}
_SCHEMES = {
    "agent": {"type": "http", "scheme": "bearer", "description": "what a board was given when it enrolled"},
    "person": {"type": "http", "scheme": "bearer", "description": "made by `edgecost hub token NAME --role ROLE`"},
}


@dataclass(frozen=True)
class Answer:
    """One thing that a route answers; no ``kind`` is an empty body, unless it has a ``media_type`` of its own."""

    meaning: str
    kind: type | None = None
    many: bool = False
    media_type: str = "application/json"


class DescribedApp(FastAPI):
    """FastAPI whose OpenAPI names the two kinds of token."""

    def openapi(self) -> dict[str, Any]:  # as FastAPI has it
        document = super().openapi()
        document.setdefault("components", {})["securitySchemes"] = _SCHEMES
        return document


def described(
    who: str,
    answers: Mapping[int, Answer],
    *,
    body: type | str | None = None,
    refusals: tuple[int, ...] = (401, 403, 422, 503),
) -> dict[str, Any]:  # what FastAPI's decorators take
    """The keyword arguments of a route that describe it.

    Args:
        who: may ask; a key of ``SECURITY``. Each route sees to it by itself, and a test that both agree.
        body: the record that is sent as JSON, or the media type of bytes.
    """
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": _REFUSALS[status], **_content(Answer("", Problem))} for status in refusals
    }
    for status, answer in answers.items():
        responses[status] = {"description": answer.meaning, **_content(answer)}
    extra: dict[str, Any] = {"security": SECURITY[who]}
    if body is not None:
        sent = Answer("", media_type=body) if isinstance(body, str) else Answer("", body)
        extra["requestBody"] = {"required": True, **_content(sent)}
    return {"responses": responses, "status_code": min(answers), "openapi_extra": extra}


def _content(answer: Answer) -> dict[str, Any]:
    if answer.kind is None:
        return {} if answer.media_type == "application/json" else {"content": {answer.media_type: {"schema": _BYTES}}}
    schema = schema_of(answer.kind)
    return {"content": {"application/json": {"schema": {"type": "array", "items": schema} if answer.many else schema}}}
