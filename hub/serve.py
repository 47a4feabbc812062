"""Serves a hub at an address: TLS, or loopback only, unless somebody says otherwise in so many words."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from ..db import Store
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


def is_loopback(host: str) -> bool:
    """Whether an address reaches this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
    config = uvicorn.Config(
        make_app(store, settings),
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
    shown = f"[{host}]" if ":" in host else host
    told(f"{place.scheme}://{shown}:{port}")
    uvicorn.Server(config).run([listening])


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
