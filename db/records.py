"""The records of the store itself: campaigns, jobs, spooled visits, counts. Frozen; no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..profiler.records import Visit


@dataclass(frozen=True)
class NewJob:
    """A measurement to be made.

    Attributes:
        purpose: as in ``Measurement``: ``cell``, ``panel``, ``network``, ``kernel``, ``probe`` or ``profile``.
        label: for people, or the key of the LUT cell that it fills.
        priority: higher goes first.
        dedupe_key: two jobs with the same key are one job, in the whole store.
        device_identity: the one device of a fleet that it is for; None for any that the campaign's selector matches.
    """

    graph_hash: str
    purpose: str
    label: str
    priority: int
    dedupe_key: str
    device_identity: str | None = None


@dataclass(frozen=True)
class Job:
    """A job in somebody's hands. ``attempts`` counts the failed ones before this; ``lease_token`` names this lease.

    After ``max_attempts`` failed ones it is given up.
    """

    id: int
    graph_hash: str
    purpose: str
    label: str
    attempts: int
    max_attempts: int
    lease_token: str | None


@dataclass(frozen=True)
class SpooledVisit:
    """A visit put aside before its measurement is complete, so that a power cut costs one visit, not the session."""

    job_id: int
    measurement_id: str
    visit: Visit


@dataclass(frozen=True)
class Interrupted:
    """What a dead owner left behind: the visits of one measurement, in the order of session and ordinal."""

    job: Job
    measurement_id: str
    visits: tuple[Visit, ...] = field(repr=False)


@dataclass(frozen=True)
class CampaignSummary:
    """A campaign and how many of its jobs stand in each state; every state is named, also those with 0 jobs."""

    id: int
    name: str
    space: str
    created_at: str
    jobs: Mapping[str, int]


@dataclass(frozen=True)
class StoreCounts:
    """Rows by table, size and schema. ``size_bytes`` is the SQLite file with its log, or the PostgreSQL database."""

    devices: int
    environments: int
    profiles: int
    workloads: int
    campaigns: int
    jobs: int
    measurements: int
    annotations: int
    spooled_visits: int
    size_bytes: int
    schema_revision: str
    dialect: str


@dataclass(frozen=True)
class Exported:
    """What was written: the folder, its size, rows by table."""

    folder: Path
    size_bytes: int
    schema_revision: str
    rows: Mapping[str, int]


@dataclass(frozen=True)
class TakenOver:
    """What became of the measurements of an export or of another store.

    Attributes:
        new: added.
        known: there already, with the same contents; left as they are.
        refused: identities under which the store has other contents; nothing of them was taken.
        rows: rows that were added, by table.
    """

    new: int
    known: int
    refused: tuple[str, ...]
    rows: Mapping[str, int]


@dataclass(frozen=True)
class DailyRollup:
    """What was measured on one day on a device with a profile for one purpose.

    Attributes:
        day: of the beginning, in UTC: ``2026-11-27``.
        attempts: all of them; usable, rejected and failed together.
        usable: with numbers that may be used, also where they were retracted later.
        rejected: disturbed, or unstable to the last.
        failed: the rest: crashed, out of memory, unsupported, cut off.
        visits: all that were made, the rejected among them.
    """

    day: str
    device_identity: str
    profile_hash: str
    purpose: str
    attempts: int
    usable: int
    rejected: int
    failed: int
    visits: int
    rejected_visits: int


@dataclass(frozen=True)
class Maintained:
    """What maintenance did.

    Attributes:
        is_leader: False: another process was at it, and nothing was done.
        days: of a device and a profile, that were added up anew.
        rows: roll-ups that were written.
        months: partitions of raw samples that were made; SQLite has none.
        outside_months: raw samples that stand in no month: older than the months, or of a clock that is off.
    """

    is_leader: bool
    days: int = 0
    rows: int = 0
    months: int = 0
    outside_months: int = 0
