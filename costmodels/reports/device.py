"""What a report of a device tells: what was measured on it and how often in vain, and whether it is what it was.

``device_page.py`` lays it out.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...db import Store
from ...db.fleet.records import Agent
from ...db.tallies import Outcomes, ReadingTally, SessionLevel
from ...profiler.records import VIRTUAL, Device, Json, Status
from ..cards.anchors import PURPOSE
from ..drift import SESSIONS_MIN
from ..named_device import find_device
from .texts import share

_NEWEST = 30
_SESSIONS = 200
_USABLE = frozenset(status.value for status in Status if status.has_latency)
_REJECTED = frozenset((Status.REJECTED.value, Status.UNSTABLE.value))


@dataclass(frozen=True)
class ProfileRow:
    """What was measured under one runtime profile.

    Attributes:
        usable: attempts whose numbers may be used: of a status that has some, and not retracted.
    """

    profile_hash: str
    label: str
    attempts: int
    usable: int
    first_at: str
    last_at: str


@dataclass(frozen=True)
class NewestRow:
    """One of the newest measurements; latency raw, nothing subtracted."""

    measurement_id: str
    workload: str
    profile_hash: str
    profile: str
    purpose: str
    status: str
    message: str
    latency_ms: float | None
    lo_ms: float | None
    hi_ms: float | None
    energy_mj: float | None
    peak_memory_bytes: int | None
    device_memory_bytes: int | None
    finished_at: str


@dataclass(frozen=True)
class CanaryCourse:
    """The machine's own speed over the sessions under one profile.

    Attributes:
        usual_us: median of all sessions but the newest; None for too few.
        change: of the newest against that, likewise: 0.1 is slower by 10 %.
    """

    profile: str
    sessions: tuple[SessionLevel, ...]
    usual_us: float | None
    change: float | None

    @property
    def known_us(self) -> list[float]:
        return [one.canary_us for one in self.sessions if one.canary_us is not None]


@dataclass(frozen=True)
class AnchorSession:
    """Anchors of one session against what each of them took when it was measured first: a median, and of how many."""

    session: str
    started_at: str
    change: float
    anchors: int


@dataclass(frozen=True)
class AnchorCourse:
    """Anchors under one profile, session by session, oldest first."""

    profile: str
    sessions: tuple[AnchorSession, ...]


@dataclass(frozen=True)
class Meter:
    """A power sensor by which energies were measured."""

    sensor_hash: str
    document: Mapping[str, Json]


@dataclass(frozen=True)
class DeviceReport:
    """All that is told of a device.

    Attributes:
        agent: the board of a fleet that it is; None for none.
        rejected_share: attempts that the guards rejected or that never became steady; None without any attempt.
        retracted: measurements that somebody said are not to be used.
    """

    device: Device
    agent: Agent | None
    is_virtual: bool
    attempts: int
    by_status: Mapping[str, int]
    by_purpose: Mapping[str, int]
    rejected_share: float | None
    retracted: int
    profiles: tuple[ProfileRow, ...]
    newest: tuple[NewestRow, ...]
    canaries: tuple[CanaryCourse, ...]
    anchors: tuple[AnchorCourse, ...]
    readings: tuple[ReadingTally, ...]
    meters: tuple[Meter, ...]


def read_device(store: Store, name: str) -> DeviceReport:
    """Read what the report tells.

    Raises:
        UsageError: there is no such device, or several.
    """
    device = find_device(store, name)
    outcomes = store.tallies.outcomes(device.identity)
    profiles = _profiles(store, device, outcomes)
    labels = {row.profile_hash: row.label for row in profiles}
    by_status, by_purpose = _summed(outcomes, "status"), _summed(outcomes, "purpose")
    attempts = sum(by_status.values())
    readings = tuple(store.tallies.readings(device.identity))
    sensors = sorted({one.sensor_hash for one in readings if one.sensor_hash is not None})
    found = [(name, store.sensor(name)) for name in sensors]
    anchors = [anchor_course(store, device.identity, row.profile_hash, row.label) for row in profiles]
    runtimes = {profile.runtime for one in labels if (profile := store.profile(one)) is not None}
    return DeviceReport(
        device=device,
        agent=next((one for one in store.fleet.agents() if one.device_identity == device.identity), None),
        is_virtual=VIRTUAL in runtimes,
        attempts=attempts,
        by_status=by_status,
        by_purpose=by_purpose,
        rejected_share=share(sum(n for status, n in by_status.items() if status in _REJECTED), attempts),
        retracted=sum(one.retracted for one in outcomes),
        profiles=profiles,
        newest=_newest(store, device, labels),
        canaries=tuple(canary_course(store, device.identity, row.profile_hash, row.label) for row in profiles),
        anchors=tuple(course for course in anchors if course is not None),
        readings=readings,
        meters=tuple(Meter(name, sensor.document) for name, sensor in found if sensor is not None),
    )


def _summed(outcomes: Sequence[Outcomes], key: str) -> dict[str, int]:
    """Attempts by a field, the commonest first."""
    counts: Counter[str] = Counter()
    for one in outcomes:
        counts[getattr(one, key)] += one.attempts
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _profiles(store: Store, device: Device, outcomes: Sequence[Outcomes]) -> tuple[ProfileRow, ...]:
    """The one that was measured last stands first."""
    rows = []
    for profile_hash in sorted({one.profile_hash for one in outcomes}):
        mine = [one for one in outcomes if one.profile_hash == profile_hash]
        profile = store.profile(profile_hash)
        rows.append(
            ProfileRow(
                profile_hash,
                profile_hash[:12] if profile is None else profile.label,
                sum(one.attempts for one in mine),
                sum(one.attempts - one.retracted for one in mine if one.status in _USABLE),
                min(one.first_at for one in mine),
                max(one.last_at for one in mine),
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.last_at, row.profile_hash), reverse=True))


def _newest(store: Store, device: Device, labels: Mapping[str, str]) -> tuple[NewestRow, ...]:
    found = store.browsing.newest(device_identity=device.identity, limit=_NEWEST)
    names = store.browsing.names([one.graph_hash for one in found])
    return tuple(
        NewestRow(
            measurement_id=one.measurement_id,
            workload=names.get(one.graph_hash, one.graph_hash[:12]),
            profile_hash=one.profile_hash,
            profile=labels.get(one.profile_hash, one.profile_hash[:12]),
            purpose=one.purpose,
            status=one.status.value,
            message=one.message.partition("\n")[0],
            latency_ms=None if one.latency is None else one.latency.median_ms,
            lo_ms=None if one.latency is None else one.latency.lo_ms,
            hi_ms=None if one.latency is None else one.latency.hi_ms,
            energy_mj=None if one.energy is None else one.energy.gross_median_mj,
            peak_memory_bytes=None if one.peak_memory is None else one.peak_memory.peak_bytes,
            device_memory_bytes=None if one.peak_memory is None else one.peak_memory.device_bytes,
            finished_at=one.finished_at,
        )
        for one in found
    )


def canary_course(store: Store, device_identity: str, profile_hash: str, label: str) -> CanaryCourse:
    """The machine's own speed in its newest sessions under a profile, which is called ``label``."""
    sessions = tuple(store.tallies.sessions(device_identity, profile_hash, _SESSIONS))
    known = [one.canary_us for one in sessions if one.canary_us is not None]
    if len(known) <= SESSIONS_MIN:
        return CanaryCourse(label, sessions, None, None)
    usual = statistics.median(known[:-1])
    return CanaryCourse(label, sessions, usual, known[-1] / usual - 1.0)


def anchor_course(store: Store, device_identity: str, profile_hash: str, label: str) -> AnchorCourse | None:
    """Anchors session by session; None where none were measured again."""
    where = {"device_identity": device_identity, "profile_hash": profile_hash}
    again = store.measurements(**where, purposes=(PURPOSE,))  # type: ignore[arg-type]  # names of its arguments
    graphs = {one.graph_hash for one in again}
    first: dict[str, float] = {}
    for one in store.measurements(**where, graph_hashes=graphs):  # type: ignore[arg-type]
        if one.purpose != PURPOSE and one.net_ms is not None:
            first.setdefault(one.graph_hash, one.net_ms)
    changes: dict[str, list[float]] = {}
    begun: dict[str, str] = {}
    for one in again:
        if one.graph_hash in first and one.net_ms is not None:
            begun.setdefault(one.session, one.started_at)
            changes.setdefault(one.session, []).append(one.net_ms / first[one.graph_hash] - 1.0)
    found = [AnchorSession(name, begun[name], statistics.median(some), len(some)) for name, some in changes.items()]
    if not found:
        return None
    return AnchorCourse(label, tuple(sorted(found, key=lambda one: (one.started_at, one.session))))
