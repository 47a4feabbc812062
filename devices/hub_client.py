"""The asking side of the hub: one kept connection, JSON records, and errors by what the caller can do about them.

It asks again only where a kept connection had gone stale; whoever calls decides about everything else. Not safe for
several threads, but ``abort`` may come from any. Standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeVar

from ..profiler.documents import decode, document_of
from ..profiler.errors import BadDocument, HubError, HubRefused, HubUnreachable
from ..profiler.fleet_protocol import (
    Enrolled,
    Enrolment,
    GiveBack,
    Hello,
    Lease,
    Problem,
    Receipt,
    Renewal,
    Renewed,
    Result,
    Welcome,
    WorkRequest,
)
from .hub_connection import ANSWER_S, Answer, HubConnection, Place
from .model_cache import ModelCache

T = TypeVar("T")
#: What a request for work may take beyond the time that the hub is asked to wait.
WAIT_MARGIN_S = 15.0
#: Statuses that may be others tomorrow: the hub, or a proxy before it, is overloaded, restarting or away.
_PASSING = (408, 425, 429)
_JSON = "application/json"


class HubClient:
    """What an agent says to its hub.

    Every method raises:
        HubUnreachable: there is no connection, the answer broke off, or the hub cannot answer now. Ask again later.
        HubRefused: the hub does not do it; ``status`` says why. Asking again does not help.
        BadDocument: what came is not what the protocol says.
    """

    def __init__(self, place: Place, token: str = "") -> None:
        self._connection = HubConnection(place, token)

    def close(self) -> None:
        """End the connection; the next request opens another."""
        self._connection.close()

    def abort(self) -> None:
        """End a request that another thread is waiting in, and refuse all that would follow."""
        self._connection.abort()

    def enroll(self, enrolment: Enrolment) -> Enrolled:
        return self._record(Enrolled, self._ask("POST", "/v1/enroll", enrolment))

    def hello(self, hello: Hello) -> Welcome:
        return self._record(Welcome, self._ask("POST", "/v1/agents/self/hello", hello))

    def lease(self, request: WorkRequest) -> Lease | None:
        """Work, or None when there is none within ``request.wait_s``."""
        answer = self._ask("POST", "/v1/leases", request, timeout_s=request.wait_s + WAIT_MARGIN_S)
        if answer.status == 204:
            return None
        try:
            return self._record(Lease, answer)
        except BadDocument as error:
            self._hand_back(answer, error)
            raise

    def renew(self, lease_token: str, renewal: Renewal) -> Renewed:
        """What is still held: no jobs when all is lost or cancelled."""
        return self._record(Renewed, self._ask("POST", f"/v1/leases/{lease_token}/renew", renewal), (409, 410))

    def release(self, lease_token: str, given: GiveBack) -> None:
        self._expect(self._ask("POST", f"/v1/leases/{lease_token}/release", given))

    def result(self, result: Result | bytes) -> Receipt:
        """Hand a result over, as a record or as its JSON; 409 is a receipt too, of a result that came late."""
        return self._record(Receipt, self._ask("POST", "/v1/results", result), (409,))

    def bye(self) -> None:
        self._expect(self._ask("POST", "/v1/agents/self/bye", None))

    def blob(self, sha256: str, cache: ModelCache, most_bytes: int) -> bytes:
        """A model by its sha256, from the cache or the hub; what was cut off goes on where it stopped.

        Raises:
            BadDocument: what the hub has is something else, or is larger than ``most_bytes``.
            OutputError: the cache's folder cannot be written.
        """
        with cache.open(sha256, most_bytes) as entry:
            if not entry.is_whole:
                asked = {"Range": f"bytes={entry.size_bytes}-"} if entry.size_bytes else {}
                with self._connection.stream("GET", f"/v1/blobs/{sha256}", asked) as (answer, pieces):
                    if answer.status == 416:
                        entry.restart()
                        raise HubUnreachable(f"the part of the model {sha256[:12]} that was there does not fit")
                    self._expect(answer)
                    if answer.status != 206:
                        entry.restart()
                    for piece in pieces:
                        entry.write(piece)
            return entry.finish()

    def _ask(self, verb: str, path: str, record: object, *, timeout_s: float = ANSWER_S) -> Answer:
        if record is None:
            return self._connection.ask(verb, path, None, {}, timeout_s)
        body = record if isinstance(record, bytes) else json_of(record)
        return self._connection.ask(verb, path, body, {"Content-Type": _JSON}, timeout_s)

    def _record(self, kind: type[T], answer: Answer, also: tuple[int, ...] = ()) -> T:
        if answer.status in also:
            try:
                return decode(kind, _document(answer))
            except BadDocument:
                self._expect(answer)
        self._expect(answer)
        return decode(kind, _document(answer))

    def _expect(self, answer: Answer) -> None:
        """Let a 2xx through; everything else is an error."""
        if 200 <= answer.status < 300:
            return
        problem = _problem(answer)
        if answer.status >= 500 or answer.status in _PASSING:
            raise HubUnreachable(problem.message, remedy=problem.remedy, retry_after_s=answer.retry_after_s)
        if answer.status < 400:
            raise HubRefused(
                f"the hub answers {answer.status} and points to {answer.headers.get('location', 'nowhere')}",
                remedy="enrol with the URL that it points to",
                status=answer.status,
            )
        raise HubRefused(problem.message, remedy=problem.remedy, status=answer.status)

    def _hand_back(self, answer: Answer, cause: BadDocument) -> None:
        """Give back a lease that cannot be read, where at least its token can."""
        try:
            document = _document(answer)
            token = document.get("lease_token") if isinstance(document, Mapping) else None
            if isinstance(token, str) and token.isalnum():
                self.release(token, GiveBack(reason=f"the board cannot read the lease: {cause.message}"[:500]))
        except HubError:
            return  # it runs out


def json_of(record: object) -> bytes:
    """A record as the JSON that travels."""
    return json.dumps(document_of(record), separators=(",", ":"), allow_nan=False).encode()


def _document(answer: Answer) -> object:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise BadDocument(f"the hub's answer ({answer.status}) is no JSON: {answer.body[:60]!r}") from error


def _problem(answer: Answer) -> Problem:
    """What the hub says of a refusal; a proxy says it in HTML."""
    try:
        return decode(Problem, _document(answer))
    except BadDocument:
        return Problem(f"the hub, or a proxy before it, answers {answer.status} {answer.reason}".rstrip())
