"""What the hub says when it does not do what was asked: a status, a message, a remedy. One place for all routes."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..profiler.documents import document_of
from ..profiler.errors import BadDocument, HubRefused, RowRefused, StoreError, UsageError
from ..profiler.fleet_protocol import Problem

#: A database that fails may be back soon; agents keep what they have until then.
RETRY_AFTER_S = 5


class Refusal(Exception):
    """A request that is not carried out."""

    def __init__(self, status: int, message: str, remedy: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.problem = Problem(message, remedy)
        self.headers = headers


def refused(status: int, problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(document_of(problem), status_code=status, headers=None if headers is None else dict(headers))


def install(app: FastAPI) -> None:
    """Let every error that a route may raise become a refusal."""

    @app.exception_handler(Refusal)
    def _(_: Request, error: Refusal) -> JSONResponse:
        return refused(error.status, error.problem, error.headers)

    @app.exception_handler(BadDocument)
    def _(_: Request, error: BadDocument) -> JSONResponse:
        return refused(422, Problem(error.message, error.remedy))

    @app.exception_handler(HubRefused)
    def _(_: Request, error: HubRefused) -> JSONResponse:
        return refused(409, Problem(error.message, error.remedy))

    @app.exception_handler(UsageError)
    def _(_: Request, error: UsageError) -> JSONResponse:
        return refused(404 if error.message.startswith("there is no") else 400, Problem(error.message, error.remedy))

    @app.exception_handler(RowRefused)
    def _(_: Request, __: RowRefused) -> JSONResponse:
        # Not 503: it would be sent again for ever. What the database said may hold more than a stranger should see.
        return refused(422, Problem("the database does not take this: a value out of its range, or one that it has"))

    @app.exception_handler(StoreError)
    def _(_: Request, error: StoreError) -> JSONResponse:
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        return refused(503, Problem("the hub's database cannot be used now", error.remedy), headers)

    @app.exception_handler(ClientDisconnect)
    def _(_: Request, __: ClientDisconnect) -> JSONResponse:
        # Nobody reads this; without it a board that lost its network is a traceback in the hub's log.
        return refused(400, Problem("the body was cut off"))

    @app.exception_handler(RequestValidationError)
    def _(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        return refused(422, Problem(f"{place}: {first['msg']}"))

    @app.exception_handler(HTTPException)
    def _(_: Request, error: HTTPException) -> JSONResponse:
        return refused(error.status_code, Problem(str(error.detail)), error.headers)
