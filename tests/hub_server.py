"""A real hub on loopback for tests, and the fewest lines that talk to it."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from edgecost.db import Store
from edgecost.hub.app import make_app
from edgecost.hub.settings import HubSettings
from edgecost.profiler.documents import document_of

#: A test does not wait for what a board would wait for.
QUICK = HubSettings(lease_s=60.0, wait_s=5.0, poll_s=0.2, reap_s=0.2)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self):  # whatever was sent
        return json.loads(self.body)


@dataclass(frozen=True)
class Hub:
    """A hub that is served at a port of loopback."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        verb: str,
        path: str,
        body: object = None,
        *,
        token: str = "",
        packed: bool = False,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Reply:
        """One request on a connection of its own."""  # fmt: skip
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        payload = raw if raw is not None else None if body is None else json.dumps(as_json(body)).encode()
        if packed and payload is not None:
            payload = gzip.compress(payload)
            sent["Content-Encoding"] = "gzip"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(verb, path, payload, sent)
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()


def as_json(body: object) -> object:
    return body if isinstance(body, dict | list) else document_of(body)


@contextmanager
def served(store: Store, settings: HubSettings = QUICK) -> Iterator[Hub]:
    """A hub over a store, in a thread of this process."""
    config = uvicorn.Config(make_app(store, settings), port=0, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the hub did not start")
        time.sleep(0.01)
    try:
        yield Hub(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(30)
