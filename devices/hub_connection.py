"""One kept HTTP(S) connection: sends a request, reads the answer within limits of time and size. Knows no protocol.

Standard library only.
"""

from __future__ import annotations

import gzip
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ..profiler.errors import HubUnreachable, UsageError
from ..profiler.installed import edgecost_version

#: An answer to anything but a request for work: a hub that takes longer does not answer now.
ANSWER_S = 30.0
#: Between two pieces of a model; a slow link is slow, not silent.
PIECE_S = 60.0
#: A lease of many workloads has some megabytes.
ANSWER_BYTES_MAX = 64 << 20
#: Shorter bodies gain nothing from being packed.
_PACK_BYTES = 1024
_PIECE_BYTES = 1 << 16
_STALE = (http.client.RemoteDisconnected, http.client.CannotSendRequest, BrokenPipeError, ConnectionResetError)
_FAILED = (OSError, http.client.HTTPException)


def is_loopback(host: str) -> bool:
    """Whether an address reaches this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Place:
    """Where a hub is.

    Attributes:
        ca_file: PEM file with the authorities that are trusted in place of the system's; empty for the system's.
        allow_plain_http: also to other hosts than this machine.

    Raises:
        UsageError: it is no URL of a hub, or would send the token in the clear.
    """

    url: str
    ca_file: str = ""
    allow_plain_http: bool = False

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.query or parts.username:
            raise UsageError(f"{self.url!r} is no address of a hub", remedy="write it like https://hub.example:8440")
        if parts.scheme == "http" and not self.allow_plain_http and not is_loopback(parts.hostname):
            raise UsageError(
                f"plain HTTP to {parts.hostname} would send the token in the clear",
                remedy="use https:// (--ca FILE for an authority of your own); --allow-plain-http only inside a network"
                " of your own",
            )

    def connect(self, timeout_s: float) -> http.client.HTTPConnection:
        """A connection that is not opened yet.

        Raises:
            UsageError: the file of authorities cannot be used.
        """
        parts = urlsplit(self.url)
        host = str(parts.hostname)
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"the file of authorities {self.ca_file} cannot be used: {error}") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=context)

    @property
    def path(self) -> str:
        """What stands before the paths of the protocol, behind a proxy that serves more than a hub."""
        return urlsplit(self.url).path.rstrip("/")


@dataclass(frozen=True)
class Answer:
    """An answer; header names in small letters."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False, default=b"")

    @property
    def retry_after_s(self) -> float | None:
        """How long to wait; None for a date, since a board's clock may be in 1970."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isascii() and text.isdigit() and len(text) < 9 else None


class HubConnection:
    """Requests one after the other over one connection, which is opened when it is needed.

    Every request raises ``HubUnreachable`` when there is no connection, or the answer breaks off or takes too long.
    """

    def __init__(self, place: Place, token: str) -> None:
        self.place = place
        self._headers = {"User-Agent": f"edgecost-agent/{edgecost_version()}"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._open: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._is_aborted = threading.Event()

    def close(self) -> None:
        found, self._open, self._socket = self._open, None, None
        if found is not None:
            found.close()

    def abort(self) -> None:
        """From any thread: whoever reads gets an end of file, and no request follows."""
        self._is_aborted.set()
        found = self._socket
        if found is not None:
            with suppress(OSError):
                # The plain socket's: that of TLS would change what the other thread reads with.
                socket.socket.shutdown(found, socket.SHUT_RDWR)

    def ask(self, verb: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float) -> Answer:
        """One request and its whole answer."""
        sent = dict(headers)
        if body is not None and len(body) > _PACK_BYTES:
            body, sent["Content-Encoding"] = gzip.compress(body, 6, mtime=0), "gzip"
        deadline = time.monotonic() + timeout_s
        with self._told():
            response = self._send(verb, path, body, sent, timeout_s)
            read = b"".join(self._pieces(response, deadline, ANSWER_BYTES_MAX))
            return _answer(response, read)

    @contextmanager
    def stream(self, verb: str, path: str, headers: Mapping[str, str]) -> Iterator[tuple[Answer, Iterator[bytes]]]:
        """One request whose answer is read in pieces; one that is no 2xx comes whole, and has none."""
        with self._told():
            response = self._send(verb, path, None, headers, PIECE_S)
            if not 200 <= response.status < 300:
                read = b"".join(self._pieces(response, time.monotonic() + PIECE_S, ANSWER_BYTES_MAX))
                yield _answer(response, read), iter(())
                return
            yield _answer(response, b""), self._pieces(response, None, None)
        if not response.isclosed():
            self.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the network by their one name; the connection is not used again after one."""
        with ExitStack() as undo:
            undo.callback(self.close)
            try:
                yield
            except _FAILED as error:
                where = f"{self.place.url} cannot be reached"
                raise HubUnreachable(f"{where}: {_cause(error)}", remedy=_remedy(error)) from error
            undo.pop_all()

    def _send(
        self, verb: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> http.client.HTTPResponse:
        if self._open is not None and self._open.sock is None:
            self.close()  # the last answer said that no other comes this way: a hub that ends, or a proxy
        was_kept = self._open is not None
        try:
            return self._try(verb, path, body, headers, timeout_s)
        except _STALE:
            self.close()
            if not was_kept:
                raise
            # The hub closes connections that say nothing for a while; requests may be sent again.
            return self._try(verb, path, body, headers, timeout_s)

    def _try(
        self, verb: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> http.client.HTTPResponse:
        if self._open is None:
            self._open = self.place.connect(min(timeout_s, ANSWER_S))
            self._open.connect()
        found = self._open.sock
        self._socket = found
        if self._is_aborted.is_set():
            raise ConnectionAbortedError("the agent ends")
        found.settimeout(timeout_s)
        self._open.request(verb, self.place.path + path, body, {**self._headers, **headers})
        return self._open.getresponse()

    def _pieces(
        self, response: http.client.HTTPResponse, deadline: float | None, most_bytes: int | None
    ) -> Iterator[bytes]:
        expected, size = response.length, 0
        while expected is None or size < expected:
            # One call of the system each, so that who sends drop by drop meets the deadline.
            piece = response.read1(_PIECE_BYTES if expected is None else min(_PIECE_BYTES, expected - size))
            if not piece:
                break
            size += len(piece)
            if most_bytes is not None and size > most_bytes:
                raise http.client.HTTPException(f"an answer of more than {most_bytes:,} bytes")
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError("the answer takes too long")
            yield piece
        if expected is not None and size < expected:
            raise http.client.IncompleteRead(b"", expected - size)
        response.close()  # it is read to its end, and the connection is free for the next request


def _answer(response: http.client.HTTPResponse, body: bytes) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, response.reason, headers, body)


def _cause(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _remedy(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "give the authority that signed it: edgecost agent enroll … --ca FILE"
    return ""
