"""Planned workloads measured on this machine: what a campaign of any origin does once it knows what it wants."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ..db import Store
from ..devices.agent import MeasuringJob, WorkReport
from ..devices.host import memory_limit_bytes
from ..profiler.protocol import Settings
from ..profiler.records import Json, Measurement
from .campaign import Planned, plan, run_campaign
from .local_setting import LocalSetting


class Narrator(Protocol):
    """Is told what happens, for people."""

    def stage(self, title: str, total: int | None = None) -> None:
        """A stage begins; ``total`` steps, None when unknown."""

    def step(self, note: str) -> None:
        """One step of the stage is done."""

    def note(self, text: str) -> None:
        """Something worth a line."""


@dataclass(frozen=True)
class CampaignOutcome:
    """One run of a campaign, and the campaign's jobs after it.

    Attributes:
        anchors: what the anchors said before it (``cards.session_anchors``); None where none were measured.
    """

    report: WorkReport
    done: int
    failed: int
    left: int
    anchors: Mapping[str, Json] | None = None

    def document(self) -> dict[str, Json]:
        """As JSON."""
        return {
            "measured": self.report.measured,
            "by_status": {status.value: count for status, count in self.report.by_status.items()},
            "total_s": self.report.times.total_s,
            "outside_share": self.report.times.outside_share,
            "out_of_budget": self.report.out_of_budget,
            "jobs_done": self.done,
            "jobs_failed": self.failed,
            "jobs_left": self.left,
            "anchors": None if self.anchors is None else dict(self.anchors),
        }


def measure_planned(
    store: Store,
    setting: LocalSetting,
    name: str,
    origin: str,
    wanted: list[Planned],
    narrator: Narrator,
    title: str,
    *,
    budget_s: float | None = None,
    limit: int | None = None,
    settings: Settings | None = None,
) -> CampaignOutcome:
    """Plan workloads under a campaign's name and work off what is open, telling the narrator.

    Args:
        origin: the space, or whatever else the workloads come from.
    """
    campaign_id = plan(store, setting, name, origin, wanted)
    before = _jobs(store, campaign_id)
    open_jobs = before["pending"] + before["leased"]
    reused = max(0, len(wanted) - open_jobs - before["failed"])
    if reused:
        narrator.note(f"{reused} of {len(wanted)} workloads already measured, reused")
    if before["failed"]:
        narrator.note(f"{before['failed']} workloads failed before: see `edgecost db info --failures`")
    narrator.stage(title, open_jobs if limit is None else min(limit, open_jobs))

    def progress(job: MeasuringJob, measurement: Measurement) -> None:
        narrator.step(f"{job.label}: {measurement.status.value}")

    settings = replace(settings or Settings(), memory_limit_bytes=memory_limit_bytes(setting.facts))
    report = run_campaign(store, setting, campaign_id, settings, budget_s=budget_s, limit=limit, progress=progress)
    after = _jobs(store, campaign_id)
    return CampaignOutcome(report, after["done"], after["failed"], after["pending"] + after["leased"])


def is_anything_open(store: Store, setting: LocalSetting, name: str, origin: str, wanted: Sequence[Planned]) -> bool:
    """Whether ``measure_planned`` would measure anything."""
    jobs = _jobs(store, plan(store, setting, name, origin, wanted))
    return jobs["pending"] + jobs["leased"] > 0


def what_is_left(budget_s: float | None, begin: float) -> float | None:
    """Of the time to measure in, when the session's anchors began at ``begin``, by the monotonic clock in seconds."""
    return None if budget_s is None else max(0.0, budget_s - (time.monotonic() - begin))


def _jobs(store: Store, campaign_id: int) -> dict[str, int]:
    return dict(next(campaign.jobs for campaign in store.campaigns() if campaign.id == campaign_id))
