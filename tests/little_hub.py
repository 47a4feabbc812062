"""A hub in a few lines for tests of the agent: real HTTP on loopback, its state in memory, and manners as bad as asked.

It knows the protocol's words and rules, and none of the store; ``hub/`` is the real one.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from edgecost.devices.agent_home import AgentHome, Membership
from edgecost.devices.host import host_device, read_host
from edgecost.profiler.documents import decode, document_of
from edgecost.profiler.fleet_protocol import (
    Enrolled,
    Enrolment,
    GiveBack,
    Hello,
    Lease,
    LeasedJob,
    LeasedWorkload,
    Problem,
    Receipt,
    Renewal,
    Renewed,
    Result,
    Welcome,
    WorkRequest,
)
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.protocol import Settings
from edgecost.profiler.runtimes import BUILT_IN, host_profile
from edgecost.profiler.workload import workload_from_model

TOKEN, CODE = "a-token", "CODE-1"
#: So loose that a busy machine settles too.
LOOSE = Settings(visits_min=3, target=0.5, visits_max=6, rounds_max=60)

#: What a hub may do instead of answering well: it gets the handler, and says whether it has answered.
Prank = Callable[["Handler"], bool]


def workload(channels: int = 4, op: str = "") -> LeasedWorkload:
    """A small convolution on its way to a board."""
    graph = GraphBuilder("conv")
    value = graph.conv(graph.input((1, 4, 8, 8)), channels)
    if op:
        value = graph.node(op, [value], graph.shapes[value])
    made = workload_from_model(f"conv {channels}", "operator", graph.model(value), tuple(graph.weights))
    skeleton = base64.b64encode(zlib.compress(made.skeleton)).decode()
    return LeasedWorkload(made.name, made.kind, made.graph_hash, made.weights, skeleton)


def job(number: int, channels: int = 0, **changes: object) -> LeasedJob:
    return replace(LeasedJob(number, "cell", f"job {number}", workload(channels or 3 + number)), **changes)


@dataclass
class LittleHub:
    """Jobs that are leased once, results that count once, and what was heard."""

    jobs: list[LeasedJob] = field(default_factory=list)
    settings: Settings = LOOSE
    runtime: str = "ort"
    profile_hash: str = ""
    state: str = "active"
    lease_s: float = 0.6
    wait_s: float = 0.2
    per_lease: int = 32
    blobs: dict[str, bytes] = field(default_factory=dict)
    #: Jobs that no board holds any more.
    taken_back: set[int] = field(default_factory=set)
    are_cancelled: bool = False
    pranks: list[Prank] = field(default_factory=list)
    leases: dict[str, set[int]] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    verdicts: dict[str, Receipt] = field(default_factory=dict)
    hellos: list[Hello] = field(default_factory=list)
    given_back: list[tuple[str, GiveBack]] = field(default_factory=list)
    renewals: list[Renewal] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    byes: int = 0
    sent_results: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)
    port: int = 0

    def __post_init__(self) -> None:
        self.profile_hash = self.profile_hash or host_profile().profile_hash

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def results_of(self, job_id: int) -> list[Result]:
        return [result for result in self.results.values() if result.job_id == job_id]

    def until(self, holds: Callable[[], object], *, within_s: float = 60.0) -> None:
        """Wait for something to hold; a test that waits for ever says less."""
        deadline = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < deadline, f"waited in vain; the hub heard {self.heard[-5:]}"
            time.sleep(0.01)

    def enroll(self, said: Enrolment) -> tuple[int, object]:
        if said.code != CODE:
            return 403, Problem("this code is unknown", "ask for another")
        return 201, Enrolled("agent-1", said.device.name, TOKEN)

    def hello(self, said: Hello) -> tuple[int, object]:
        self.hellos.append(said)
        return 200, Welcome("agent-1", "nano", self.state, "2026-01-01T00:00:00+00:00", self.lease_s, self.wait_s)

    def lease(self, asked: WorkRequest) -> tuple[int, object]:
        if self.state != "active":
            return 409, Problem(f"nano is {self.state}")
        deadline = time.monotonic() + asked.wait_s
        while not self.jobs and time.monotonic() < deadline:
            time.sleep(0.01)
        with self.lock:
            given, self.jobs = self.jobs[: self.per_lease], self.jobs[self.per_lease :]
            if not given:
                return 204, None
            token = hashlib.md5(str(len(self.leases)).encode()).hexdigest()
            self.leases[token] = {one.job_id for one in given}
            return 200, Lease(token, "test", self.runtime, self.profile_hash, self.settings, self.lease_s, tuple(given))

    def renew(self, token: str, said: Renewal) -> tuple[int, object]:
        self.renewals.append(said)
        held = self.leases.get(token, set()) - self.taken_back
        status = 200 if held else 410 if self.are_cancelled else 409
        return status, Renewed(self.lease_s, tuple(sorted(held)), self.state)

    def release(self, token: str, given: GiveBack) -> tuple[int, object]:
        self.given_back.append((token, given))
        self.leases[token] = self.leases.get(token, set()) - (set(given.jobs) or self.leases.get(token, set()))
        return 204, None

    def result(self, said: Result) -> tuple[int, object]:
        name = said.measurement.measurement_id
        with self.lock:
            self.sent_results += 1
            if name in self.verdicts:
                return (409 if self.verdicts[name].verdict == "late" else 200), self.verdicts[name]
            has_number = said.measurement.status.has_latency
            is_late = any(v.verdict == "accepted" for n, v in self.verdicts.items() if n in self._of(said.job_id))
            verdict = "late" if is_late else "accepted" if has_number else "killed" if said.killed_by else "attempt"
            self.results[name] = said
            self.verdicts[name] = Receipt(name, verdict, "done" if has_number else "pending")
            for held in self.leases.values():
                held.discard(said.job_id)
            return (409 if is_late else 201), self.verdicts[name]

    def _of(self, job_id: int) -> set[str]:
        return {name for name, result in self.results.items() if result.job_id == job_id}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: object) -> None:  # its name in the standard library
        """The tests look at ``heard``."""

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self._answer(body)

    def _answer(self, body: bytes) -> None:
        hub = self.server.hub
        with hub.lock:
            hub.heard.append(f"{self.command} {self.path}")
            prank = next((one for one in hub.pranks if one(self)), None)
        if prank is not None:
            return
        if self.path != "/v1/enroll" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.say(401, Problem("this board is not enrolled here", "enrol it again"))
        elif self.path.startswith("/v1/blobs/"):
            self._blob(self.path.rpartition("/")[2])
        else:
            self.say(*self._record(hub, json.loads(body or b"{}")))

    def _record(self, hub: LittleHub, document: object) -> tuple[int, object]:
        parts = self.path.split("/")
        if self.path == "/v1/enroll":
            return hub.enroll(decode(Enrolment, document))
        if self.path == "/v1/agents/self/hello":
            return hub.hello(decode(Hello, document))
        if self.path == "/v1/agents/self/bye":
            hub.byes += 1
            return 204, None
        if self.path == "/v1/leases":
            return hub.lease(decode(WorkRequest, document))
        if self.path == "/v1/results":
            return hub.result(decode(Result, document))
        if parts[-1] == "renew":
            return hub.renew(parts[3], decode(Renewal, document))
        return hub.release(parts[3], decode(GiveBack, document))

    def _blob(self, name: str) -> None:
        blob = self.server.hub.blobs.get(name)
        if blob is None:
            self.say(404, Problem(f"there is no blob {name}"))
            return
        asked = self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if start >= len(blob) and asked:
            self.raw(416, b"", {})
        else:
            self.raw(206 if start else 200, blob[start:], {"Content-Range": f"bytes {start}-/{len(blob)}"})

    def say(self, status: int, record: object) -> None:
        self.raw(status, b"" if record is None else json.dumps(document_of(record)).encode(), {})

    def raw(self, status: int, body: bytes, headers: dict[str, str], *, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def cut(self) -> None:
        """End the connection without a word."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    hub: LittleHub

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that the agent or a prank cut are no news."""


@contextmanager
def served(hub: LittleHub, port: int = 0) -> Iterator[LittleHub]:
    """The hub at a port of loopback; at the same one again after it was away."""
    server = Server(("127.0.0.1", port), Handler)
    server.hub = hub
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def once(path: str, act: Callable[[Handler], None], *, times: int = 1) -> Prank:
    """Do something else at the first requests whose path ends so."""
    left = [times]

    def prank(handler: Handler) -> bool:
        if not handler.path.endswith(path) or not left[0]:
            return False
        left[0] -= 1
        act(handler)
        return True

    return prank


def home_at(folder: Path, hub: LittleHub, runtimes: Sequence[str] = ("ort",)) -> AgentHome:
    """The home of an agent that has enrolled."""
    home = AgentHome(folder / "agent")
    device = host_device(read_host())
    with home.lock():
        home.write(Membership(hub.url, "agent-1", "nano", device, tuple(BUILT_IN[name] for name in runtimes)), TOKEN)
    return home
