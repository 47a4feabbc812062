"""What a report of a campaign tells: how far it is, what failed and why, what was measured and how surely.

``campaign_page.py`` lays it out.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...db import CampaignSummary, Store
from ...db.fleet.records import JobView
from ...db.tallies import CampaignAttempt
from ...profiler.errors import UsageError
from ...profiler.records import Status
from .texts import seconds_between

#: Failed jobs whose reasons are counted; a campaign of which more fail has another problem.
_FAILED_MAX = 10_000
#: Of those, listed by name.
FAILED_SHOWN = 100
_USABLE = frozenset(status.value for status in Status if status.has_latency)
#: Purposes whose jobs are one block or kernel each; their labels begin with what it is.
_BLOCKS = ("cell", "support", "panel", "kernel", "repeated")
_KIND = re.compile(r"[\w.:]+")
#: Relative half widths of an interval that shares are told for.
WIDTHS = (0.01, 0.02, 0.05)


@dataclass(frozen=True)
class FailedJob:
    """A job that nobody tries any more. ``said``: outcome and message of its last attempt; empty without one."""

    job_id: int
    label: str
    purpose: str
    reason: str
    attempts: int
    said: str


@dataclass(frozen=True)
class KindRow:
    """Latencies of the jobs of one kind, one for each: the newest that may be used; raw, nothing subtracted."""

    kind: str
    latencies_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        return float(np.median(self.latencies_ms))


@dataclass(frozen=True)
class DeviceRow:
    """What one device did.

    Attributes:
        measuring_s: from begin to end of each of its sessions, added up; None where a clock went backwards.
        seconds_per_attempt: of that, likewise: graphs take turns in a session, so that one alone has no time.
    """

    device: str
    device_identity: str
    sessions: int
    attempts: int
    usable: int
    measuring_s: float | None

    @property
    def seconds_per_attempt(self) -> float | None:
        return None if self.measuring_s is None else self.measuring_s / self.attempts


@dataclass(frozen=True)
class CampaignReport:
    """All that is told of a campaign.

    Attributes:
        failed: no more than ``FAILED_SHOWN``; ``reasons`` counts all.
        relative_half_widths: of the 95 % interval within the session, of each latency in ``kinds``; what a simulator
            says has none.
        finished_at: of each usable attempt, oldest first.
    """

    campaign: CampaignSummary
    jobs: int
    reasons: Mapping[str, int]
    failed: tuple[FailedJob, ...]
    attempts: int
    by_status: Mapping[str, int]
    kinds: tuple[KindRow, ...]
    relative_half_widths: tuple[float, ...]
    devices: tuple[DeviceRow, ...]
    first_at: str | None
    last_at: str | None
    finished_at: tuple[str, ...]


def find_campaign(store: Store, name: str) -> CampaignSummary:
    """The campaign with a name or an id, or the only one whose name begins so.

    Raises:
        UsageError: there is none, or several begin so.
    """
    campaigns = store.campaigns()
    exact = [one for one in campaigns if one.name == name] or [one for one in campaigns if str(one.id) == name]
    found = exact or [one for one in campaigns if name and one.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"several campaigns begin with {name!r}: {', '.join(one.name for one in found[:5])}",
            remedy="edgecost campaign list",
        )
    raise UsageError(f"there is no campaign {name!r}", remedy="edgecost campaign list, or another database: --db")


def read_campaign(store: Store, name: str) -> CampaignReport:
    """Read what the report tells.

    Raises:
        UsageError: there is no such campaign, or several.
    """
    campaign = find_campaign(store, name)
    attempts = store.tallies.attempts(campaign.id)
    gone = store.fleet.jobs(campaign=campaign.name, states=("failed",), limit=_FAILED_MAX)
    usable = [one for one in attempts if one.status in _USABLE]
    newest = {one.job_id: one for one in usable if one.latency_ms is not None and one.latency_ms > 0}
    return CampaignReport(
        campaign=campaign,
        jobs=sum(campaign.jobs.values()),
        reasons=_counted(one.reason or "unknown" for one in gone),
        failed=_failed(gone[:FAILED_SHOWN], attempts),
        attempts=len(attempts),
        by_status=_counted(one.status for one in attempts),
        kinds=_kinds(list(newest.values())),
        relative_half_widths=tuple(
            width for one in newest.values() if (width := _relative_half_width(one)) is not None
        ),
        devices=_devices(store, attempts),
        first_at=min((one.started_at for one in attempts), default=None),
        last_at=max((one.finished_at for one in attempts), default=None),
        finished_at=tuple(sorted(one.finished_at for one in usable)),
    )


def _counted(names: Iterable[str]) -> dict[str, int]:
    """The commonest first."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _failed(jobs: Sequence[JobView], attempts: Sequence[CampaignAttempt]) -> tuple[FailedJob, ...]:
    last = {one.job_id: one for one in attempts}
    return tuple(
        FailedJob(job.id, job.label, job.purpose, job.reason or "unknown", job.attempts, _said(last.get(job.id)))
        for job in jobs
    )


def _said(attempt: CampaignAttempt | None) -> str:
    if attempt is None:
        return ""
    message = attempt.message.partition("\n")[0]
    return f"{attempt.status}: {message}" if message else attempt.status


def _kinds(attempts: Sequence[CampaignAttempt]) -> tuple[KindRow, ...]:
    """The largest group first."""
    groups: dict[str, list[float]] = defaultdict(list)
    for one in attempts:
        if one.latency_ms is not None:
            groups[kind_of(one.label, one.purpose)].append(one.latency_ms)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(KindRow(kind, tuple(values)) for kind, values in ordered)


def kind_of(label: str, purpose: str) -> str:
    """What a job measures: the block or kernel with which its label begins, or for anything else its purpose."""
    begin = _KIND.match(label) if purpose in _BLOCKS else None
    return begin.group() if begin else purpose


def _relative_half_width(one: CampaignAttempt) -> float | None:
    """None where there is no interval, or one without a width: nothing was measured then."""
    if one.latency_ms is None or one.lo_ms is None or one.hi_ms is None or one.hi_ms <= one.lo_ms:
        return None
    return (one.hi_ms - one.lo_ms) / 2 / one.latency_ms


def _devices(store: Store, attempts: Sequence[CampaignAttempt]) -> tuple[DeviceRow, ...]:
    names = {device.identity: device.name for device in store.devices()}
    mine: dict[str, list[CampaignAttempt]] = defaultdict(list)
    for one in attempts:
        mine[one.device_identity].append(one)
    rows = []
    for identity, made in mine.items():
        sessions: dict[str, list[CampaignAttempt]] = defaultdict(list)
        for one in made:
            sessions[one.session].append(one)
        took = [
            seconds_between(min(one.started_at for one in some), max(one.finished_at for one in some))
            for some in sessions.values()
        ]
        known = [seconds for seconds in took if seconds is not None]
        rows.append(
            DeviceRow(
                device=names.get(identity, identity[:12]),
                device_identity=identity,
                sessions=len(sessions),
                attempts=len(made),
                usable=sum(one.status in _USABLE for one in made),
                measuring_s=sum(known) if len(known) == len(took) else None,
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.attempts, row.device, row.device_identity)))
