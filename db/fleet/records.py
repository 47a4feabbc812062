"""The records of a fleet as the store knows it. Frozen; no behaviour beyond looking things up in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...profiler.records import VIRTUAL, Json
from ..records import Job


@dataclass(frozen=True)
class Offer:
    """A runtime that a board has, by the name that its keeper gave it; ``profile_hash`` is empty where it is broken."""

    name: str
    profile_hash: str
    label: str
    problem: str


@dataclass(frozen=True)
class Agent:
    """One enrolled board.

    Attributes:
        state: ``active``, ``draining`` or ``retired``.
        last_seen: None before its first word.
        clock_offset_s: how far its clock was ahead of the store's at its last start.
    """

    agent_id: str
    device_identity: str
    name: str
    description: str
    labels: Mapping[str, str]
    state: str
    enrolled_at: str
    last_seen: str | None
    last_address: str
    agent_version: str
    boot_id: str | None
    clock_offset_s: float | None
    offers: tuple[Offer, ...]
    host: Mapping[str, Json] = field(repr=False, hash=False)
    conditions: Mapping[str, Json] = field(repr=False, hash=False)

    @property
    def usable(self) -> tuple[Offer, ...]:
        return tuple(offer for offer in self.offers if offer.profile_hash)

    @property
    def is_virtual(self) -> bool:
        """Whether it plays a device: its numbers are no board's. It says so itself."""
        return self.description.startswith(f"{VIRTUAL}: ")

    def all_labels(self) -> dict[str, list[str]]:
        """Its own labels and those that every board has by itself, as a selector reads them."""
        found = {key: [value] for key, value in self.labels.items()}
        return {
            **found,
            "name": [self.name],
            "device": [self.device_identity],
            "runtime": [offer.name for offer in self.usable],
            "virtual": ["yes" if self.is_virtual else "no"],
        }


@dataclass(frozen=True)
class AgentWork:
    """What a board has done and is doing."""

    agent: Agent
    jobs_held: int
    accepted: int
    attempts: int
    late: int
    killed: int


@dataclass(frozen=True)
class NewCode:
    """A one-time enrolment code; ``code`` is said once."""

    code: str
    expires_at: str


@dataclass(frozen=True)
class Person:
    """Who showed an access token."""

    name: str
    role: str


@dataclass(frozen=True)
class HeldJob:
    """A job in an agent's hands, with its workload as the store keeps it.

    Attributes:
        kills: boards that died with it in hand.
    """

    job: Job
    kills: int
    name: str
    kind: str
    skeleton_zlib: bytes = field(repr=False)
    weights: tuple[Mapping[str, Json], ...] = field(repr=False)


@dataclass(frozen=True)
class Batch:
    """Jobs of one campaign under one lease.

    Attributes:
        settings: of the campaign: ``runtime``, ``profile_hash`` and ``protocol``.
    """

    lease_token: str
    campaign: str
    settings: Mapping[str, Json]
    jobs: tuple[HeldJob, ...]


@dataclass(frozen=True)
class Verdict:
    """What became of a result. ``is_new`` is False when the same result had been recorded before."""

    measurement_id: str
    verdict: str
    job_state: str
    is_new: bool


@dataclass(frozen=True)
class JobView:
    """A job as people see it: what it measures, how far it is, who has it and since when it runs out."""

    id: int
    campaign: str
    label: str
    purpose: str
    graph_hash: str
    state: str
    reason: str | None
    attempts: int
    max_attempts: int
    kills: int
    holder: str | None
    lease_until: str | None
    message: str


@dataclass(frozen=True)
class AuditEntry:
    """Something that somebody did."""

    at: str
    actor: str
    address: str
    action: str
    subject: str
    detail: Mapping[str, Json] = field(hash=False)
