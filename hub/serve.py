"""Serves a hub at an address: TLS, or loopback only, unless somebody says otherwise in so many words."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from ..db import Store
from ..devices.hub_connection import is_loopback
from ..profiler.errors import OutputError, UsageError
from .app import make_app
from .settings import HubSettings

#: Time for requests in progress when the hub is told to end; those that wait for work are answered at once.
_FAREWELL_S = 5


@dataclass(frozen=True)
class Place:
    """Where a hub is served.

    Attributes:
        port: 0 takes a free one.
        certificate, key: PEM files for TLS; None serves plain HTTP.
        allow_plain_http: on other addresses than loopback too; for a proxy that does the TLS, on another machine.
        trusted_proxies: addresses whose word on where a request came from is believed, separated by commas.
    """

    host: str = "127.0.0.1"
    port: int = 8440
    certificate: Path | None = None
    key: Path | None = None
    allow_plain_http: bool = False
    trusted_proxies: str = ""

    def check(self) -> None:
        """Refuse what would send tokens in the clear.

        Raises:
            UsageError: plain HTTP on another address than loopback, or half of a TLS pair.
        """
        if (self.certificate is None) != (self.key is None):
            raise UsageError("TLS takes a certificate and its key", remedy="give both: --tls-cert FILE --tls-key FILE")
        for file in (self.certificate, self.key):
            if file is not None and not file.is_file():
                raise UsageError(f"{file} is not there")
        if self.certificate is None and not self.allow_plain_http and not is_loopback(self.host):
            raise UsageError(
                f"plain HTTP on {self.host} would send tokens in the clear",
                remedy="give --tls-cert and --tls-key, or serve on 127.0.0.1 behind a proxy that does TLS;"
                " --allow-plain-http only inside a network of your own",
            )

    @property
    def scheme(self) -> str:
        return "http" if self.certificate is None else "https"


def serve(store: Store, place: Place, settings: HubSettings, told: Callable[[str], None]) -> None:
    """Serve until the process is told to end (SIGINT, SIGTERM).

    Args:
        told: is given the hub's URL once it listens.

    Raises:
        UsageError: as ``Place.check``.
        OutputError: the address is taken, or not this machine's.
    """
    place.check()
    listening = _listen(place)
    host, port = listening.getsockname()[:2]
    app = make_app(store, settings)
    config = uvicorn.Config(
        app,
        ssl_certfile=place.certificate,
        ssl_keyfile=place.key,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=bool(place.trusted_proxies),
        forwarded_allow_ips=place.trusted_proxies or None,
        timeout_graceful_shutdown=_FAREWELL_S,
        # A slow loris holds a connection, and no thread and no lease.
        timeout_keep_alive=75,
        h11_max_incomplete_event_size=64 << 10,
    )
    try:
        config.load()
    except OSError as error:  # of which the errors of TLS are
        listening.close()
        raise UsageError(
            f"{place.certificate} and {place.key} are no certificate with its key: {error.strerror or error}",
            remedy="PEM files; the certificate first, then those that vouch for it",
        ) from error
    shown = f"[{host}]" if ":" in host else host
    told(f"{place.scheme}://{shown}:{port}")
    with _an_end_is_no_failure():
        _Server(config, app.state.let_go).run([listening])


class _Server(uvicorn.Server):
    """Answers those who wait for work before it waits for all answers to be sent."""

    def __init__(self, config: uvicorn.Config, let_go: Callable[[], None]) -> None:
        super().__init__(config)
        self._let_go = let_go

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._let_go()
        await super().shutdown(sockets)


@contextmanager
def _an_end_is_no_failure() -> Iterator[None]:
    """uvicorn ends at a signal and then raises it once more, for whoever started it: here that is the command line."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told_to_end = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(one, lambda *_: None) for one in told_to_end]
    try:
        yield
    finally:
        for one, handler in zip(told_to_end, before, strict=True):
            signal.signal(one, handler)


def _listen(place: Place) -> socket.socket:
    try:
        family = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((place.host, place.port))
    except OSError as error:
        raise OutputError(
            f"cannot listen on {place.host}:{place.port}: {error.strerror or error}", remedy="choose another --port"
        ) from error
    listening.listen(1024)
    listening.set_inheritable(True)
    return listening
