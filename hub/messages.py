"""The store's records as the messages of the protocol."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..db.fleet.records import Agent, Batch, HeldJob
from ..profiler.documents import decode
from ..profiler.energy.windows import EnergySettings
from ..profiler.fleet_protocol import INLINE_BYTES_MAX, Lease, LeasedJob, LeasedWorkload
from ..profiler.protocol import Settings
from ..profiler.records import Json
from ..profiler.weights import Weight


def lease_of(batch: Batch, expires_s: float, quiet_canary_ns: float | None) -> Lease:
    """A batch on its way to a board.

    Raises:
        BadDocument: the campaign in the store has settings that this version does not know.
    """
    energy = batch.settings.get("energy")
    return Lease(
        lease_token=batch.lease_token,
        campaign=batch.campaign,
        runtime=str(batch.settings["runtime"]),
        profile_hash=str(batch.settings["profile_hash"]),
        settings=decode(Settings, batch.settings["protocol"]),
        expires_s=expires_s,
        jobs=tuple(_job(held) for held in batch.jobs),
        quiet_canary_ns=quiet_canary_ns,
        energy=None if energy is None else decode(EnergySettings, energy),
    )


def _job(held: HeldJob) -> LeasedJob:
    job = held.job
    return LeasedJob(
        job_id=job.id,
        purpose=job.purpose,
        label=job.label,
        workload=_workload(held),
        is_last_attempt=job.attempts + 1 >= job.max_attempts,
        alone=held.kills > 0,
    )


def _workload(held: HeldJob) -> LeasedWorkload:
    weights = tuple(decode(Weight, weight) for weight in held.weights)
    known = LeasedWorkload(held.name, held.kind, held.job.graph_hash, weights)
    if is_large(held):
        return replace(known, skeleton_sha256=hashlib.sha256(zlib.decompress(held.skeleton_zlib)).hexdigest())
    return replace(known, skeleton=base64.b64encode(held.skeleton_zlib).decode())


def is_large(held: HeldJob) -> bool:
    """Whether a workload's skeleton is fetched as a blob instead of travelling inside its lease."""
    return len(held.skeleton_zlib) > INLINE_BYTES_MAX


@dataclass(frozen=True)
class DeviceView:
    """A board as people see it.

    Attributes:
        jobs_held: in its hands now.
        accepted, attempts, late, killed: what became of its results.
    """

    name: str
    identity: str
    description: str
    labels: Mapping[str, str]
    state: str
    enrolled_at: str
    last_seen: str | None
    agent_version: str
    clock_offset_s: float | None
    runtimes: Mapping[str, str]
    problems: Mapping[str, str]
    conditions: Mapping[str, Json]
    jobs_held: int
    accepted: int
    attempts: int
    late: int
    killed: int


def device_view(agent: Agent, jobs_held: int, accepted: int, attempts: int, late: int, killed: int) -> DeviceView:
    return DeviceView(
        name=agent.name,
        identity=agent.device_identity,
        description=agent.description,
        labels=agent.labels,
        state=agent.state,
        enrolled_at=agent.enrolled_at,
        last_seen=agent.last_seen,
        agent_version=agent.agent_version,
        clock_offset_s=agent.clock_offset_s,
        runtimes={offer.name: offer.label for offer in agent.usable},
        problems={offer.name: offer.problem for offer in agent.offers if offer.problem},
        conditions=agent.conditions,
        jobs_held=jobs_held,
        accepted=accepted,
        attempts=attempts,
        late=late,
        killed=killed,
    )
