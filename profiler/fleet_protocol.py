"""What agents and the hub say to each other, as frozen records; ``documents.py`` turns them into JSON and back.

HTTP/1.1, JSON, ``Authorization: Bearer``. Every request may be sent again: the answer is the same. Nothing in here is
code: a job names a graph, a runtime that the board's own configuration knows, and how long to measure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .energy.windows import EnergySettings
from .protocol import Settings
from .records import Device, Json, Measurement
from .weights import Weight

#: Of these messages. A hub speaks this version and the one before it.
PROTOCOL_VERSION = 1
#: What a request may hold, before and after it is unpacked. A measurement of 400 visits takes 0.3 MB.
BODY_BYTES_MAX = 8 << 20
#: A skeleton up to this size travels inside its lease; a larger model is fetched as a blob.
INLINE_BYTES_MAX = 256 << 10
#: Longest that a request for work may be kept waiting: proxies give up after 60 s.
WAIT_S_MAX = 50.0


@dataclass(frozen=True)
class Enrolment:
    """``POST /v1/enroll``: a board shows the one-time code that its keeper was given."""

    code: str
    device: Device
    agent_version: str
    protocol: int = PROTOCOL_VERSION


@dataclass(frozen=True)
class Enrolled:
    """The answer: ``token`` is said once and stored by nobody but the board."""

    agent_id: str
    name: str
    token: str


@dataclass(frozen=True)
class OfferedRuntime:
    """A runtime that a board is configured with: its name, and the profile that it is there.

    Attributes:
        profile: as ``RuntimeProfile.document`` makes it; None when it cannot be used there.
        problem: why not.
    """

    name: str
    profile: Mapping[str, Json] | None = None
    problem: str = ""


@dataclass(frozen=True)
class Hello:
    """``POST /v1/agents/self/hello``: said at every start, and when what the board offers has changed.

    Attributes:
        boot_id: changes when the board is started again.
        sent_at: the board's clock; boards without a battery for it start in 1970.
        host: the facts of ``devices.host``.
    """

    boot_id: str
    agent_version: str
    device: Device
    sent_at: str
    runtimes: tuple[OfferedRuntime, ...]
    host: Mapping[str, Json] = field(default_factory=dict)
    protocol: int = PROTOCOL_VERSION


@dataclass(frozen=True)
class Welcome:
    """The answer: how to behave.

    Attributes:
        state: ``active``, ``draining`` (finish and take no more) or ``retired``.
        lease_s: how long a lease lasts without a heartbeat; the agent renews after a third of it.
        wait_s: how long to let a request for work wait.
    """

    agent_id: str
    name: str
    state: str
    server_time: str
    lease_s: float
    wait_s: float


@dataclass(frozen=True)
class WorkRequest:
    """``POST /v1/leases``: ask for work; the hub answers when there is some, or with 204 after ``wait_s``.

    Attributes:
        limit: jobs at most; what is measured together is one campaign's.
        conditions: ``devices.host.read_conditions`` now: what a dashboard shows of an idle board.
    """

    wait_s: float = WAIT_S_MAX
    limit: int = 32
    conditions: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class LeasedWorkload:
    """A workload on its way to a board.

    Attributes:
        skeleton: base64 of the zlib-compressed model without weights; empty when it is fetched, or comes as a file.
        skeleton_sha256: the blob to fetch it from, when it is not inside. Weights are made on the board, also of what
            came as a file: latency does not hang on their values.
    """

    name: str
    kind: str
    graph_hash: str
    weights: tuple[Weight, ...]
    skeleton: str = ""
    skeleton_sha256: str = ""


@dataclass(frozen=True)
class LeasedJob:
    """One job in an agent's hands, until its lease ends or it is answered with a ``Result``.

    Attributes:
        alone: it was in hand when a board died: it is measured by itself, so that nobody else is blamed.
    """

    job_id: int
    purpose: str
    label: str
    workload: LeasedWorkload
    is_last_attempt: bool = False
    alone: bool = False


@dataclass(frozen=True)
class Lease:
    """Jobs of one campaign, to be measured together under one token.

    Attributes:
        runtime: the name of a runtime that the board has offered.
        profile_hash: what the runtime must be there; a board whose runtime has become another gives the jobs back.
        expires_s: from the moment of the answer.
        quiet_canary_ns: what the canary took in quiet sessions of this device; None where that is not known.
        energy: how long to measure the energy of each job; None where its latency is wanted.
    """

    lease_token: str
    campaign: str
    runtime: str
    profile_hash: str
    settings: Settings
    expires_s: float
    jobs: tuple[LeasedJob, ...]
    quiet_canary_ns: float | None = None
    energy: EnergySettings | None = None


@dataclass(frozen=True)
class Renewal:
    """``POST /v1/leases/{token}/renew``: the heartbeat of work in progress."""

    visits: Mapping[str, int] = field(default_factory=dict)
    conditions: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Renewed:
    """The answer. ``jobs`` are still held; what is missing was cancelled, or taken by another board.

    200 while anything is held; 409 when all is lost and 410 when all is cancelled, with the same body.
    """

    expires_s: float
    jobs: tuple[int, ...]
    state: str


@dataclass(frozen=True)
class GiveBack:
    """``POST /v1/leases/{token}/release``: jobs that will not be measured; empty is all of the lease."""

    jobs: tuple[int, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Result:
    """``POST /v1/results``: one attempt. 201 the first time, 200 with the same body when it is sent again.

    409 when another board's result was there first: it is kept, and does not count.

    Attributes:
        killed_by: not empty when the agent died during the attempt: ``power_loss`` when the board was started again
            since, ``agent_died`` when only the agent was.
        environment, profile, sensor: documents of what the measurement refers to by hash; no sensor without an energy.
        rail_sensors: likewise of the energies of its rails.
    """

    job_id: int
    lease_token: str
    measurement: Measurement
    environment: Mapping[str, Json]
    profile: Mapping[str, Json]
    killed_by: str = ""
    sensor: Mapping[str, Json] | None = None
    rail_sensors: tuple[Mapping[str, Json], ...] = ()


@dataclass(frozen=True)
class Receipt:
    """The answer to a result.

    Attributes:
        verdict: ``accepted`` (it is the job's result), ``attempt`` (it gave no number, and counts as a try), ``late``
            (kept, but the job had its result or was cancelled), ``killed`` (the board died).
        job_state: after it.
    """

    measurement_id: str
    verdict: str
    job_state: str


@dataclass(frozen=True)
class Problem:
    """What every refusal says: a message and what helps."""

    message: str
    remedy: str = ""


#: Every kind of record that travels, for the schema.
MESSAGES = (
    *(Enrolment, Enrolled, Hello, Welcome, WorkRequest, Lease, Renewal, Renewed, GiveBack, Result, Receipt, Problem),
)
