"""Campaigns on this machine: plan the jobs of a space, work them off through the store, pick up what a crash left.

The loop itself is ``devices.agent.work_off``; this file is the ``JobSource`` that stands on the local store.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..db import Store
from ..db.records import Interrupted, NewJob, SpooledVisit
from ..devices.agent import MeasuringJob, WorkReport, work_off
from ..profiler.conclusion import conclude_recovered
from ..profiler.errors import StoreError
from ..profiler.protocol import Settings
from ..profiler.records import Measurement, Visit
from ..profiler.tasks import Task
from ..profiler.workload import Workload
from .local_setting import LocalSetting

#: A lease outlives the slowest group; an owner on this machine that died is noticed at once, by its process.
LEASE_S = 1800.0

#: Called after each result, with the job it belongs to.
Progress = Callable[[MeasuringJob, Measurement], None]


@dataclass(frozen=True)
class Planned:
    """A workload that a campaign wants measured.

    Attributes:
        round: 0 wants one usable measurement of this workload and purpose in the store, 1 wants two, and so on.
    """

    workload: Workload
    purpose: str
    label: str
    priority: int = 0
    round: int = 0


def plan(store: Store, setting: LocalSetting, name: str, space: str, wanted: Sequence[Planned]) -> int:
    """Write into the store as jobs what is wanted and was not measured yet, by whatever campaign.

    Jobs of this campaign that are there already stay as they are, also failed ones. The campaign is this device's and
    profile's own: under one name, two machines on one store do not take each other's jobs.

    Returns:
        The campaign's id.
    """
    setting.store_in(store)
    device, profile = setting.device.identity, setting.profile.profile_hash
    campaign_id = store.open_campaign(
        f"{name}@{device[:8]}/{profile[:8]}", space, {"device_identity": device, "profile_hash": profile}
    )
    made = store.measurements(device_identity=device, profile_hash=profile, usable_only=False)
    latencies = Counter((m.graph_hash, m.purpose) for m in made if m.status.has_latency and m.latency is not None)
    usable = Counter(
        (m.graph_hash, m.purpose) for m in store.measurements(device_identity=device, profile_hash=profile)
    )
    jobs = []
    for planned in wanted:
        key = (planned.workload.graph_hash, planned.purpose)
        if usable[key] <= planned.round:
            store.put_workload(planned.workload)
            # The number of retracted measurements is in the key: what was retracted is a new job, not the old one.
            jobs.append(_new_job(planned, campaign_id, retracted=latencies[key] - usable[key]))
    store.add_jobs(campaign_id, jobs)
    return campaign_id


def _new_job(planned: Planned, campaign_id: int, *, retracted: int) -> NewJob:
    graph_hash = planned.workload.graph_hash
    return NewJob(
        graph_hash=graph_hash,
        purpose=planned.purpose,
        label=planned.label,
        priority=planned.priority,
        dedupe_key=f"{campaign_id}/{planned.purpose}/{planned.round}.{retracted}/{graph_hash}",
    )


def run_campaign(
    store: Store,
    setting: LocalSetting,
    campaign_id: int,
    settings: Settings,
    *,
    budget_s: float | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> WorkReport:
    """Work off a campaign's open jobs on this machine; first record what an interrupted run left behind.

    Args:
        limit: jobs to measure at most.

    Raises:
        KeyboardInterrupt: passed on after the leases are given back; visits made so far stay in the store.
    """
    source = StoreSource(store, setting, campaign_id, settings, limit=limit, progress=progress)
    source.recover()
    try:
        return work_off(source, partial(setting.stage_now, store), settings, profile=setting.profile, budget_s=budget_s)
    finally:
        # A store that failed fails again here, but the first cause is to be told; a dead owner's leases are found.
        with suppress(StoreError):
            store.release_leases(source.owner)


class StoreSource:
    """Jobs from the local store, results back into it."""

    def __init__(
        self,
        store: Store,
        setting: LocalSetting,
        campaign_id: int,
        settings: Settings,
        *,
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{_start_ticks(os.getpid())}:{uuid.uuid4().hex[:8]}"
        self._store = store
        self._setting = setting
        self._campaign_id = campaign_id
        self._settings = settings
        self._left = limit
        self._progress = progress

    def recover(self) -> list[Measurement]:
        """Turn the visits that dead processes left into measurements: usable ones where there are enough."""
        found = self._store.recover_spool(self._campaign_id, is_alive=owner_is_alive)
        if not found:
            return []
        # What was finished in the same runner says under which conditions, and at what cost of a call, it ran.
        finished = self._store.measurements(device_identity=self._setting.device.identity, usable_only=False)
        companions = {measurement.session: measurement for measurement in finished}
        return [measurement for left in found if (measurement := self._recover_one(left, companions)) is not None]

    def _recover_one(self, left: Interrupted, companions: Mapping[str, Measurement]) -> Measurement | None:
        workload = self._store.workload(left.job.graph_hash)
        if workload is None:
            return None
        task = Task(workload, left.job.purpose, left.measurement_id)
        companion = companions.get(max(left.visits, key=lambda visit: visit.ordinal).session)
        measurement = conclude_recovered(
            task,
            self._setting.stage,
            left.visits,
            self._settings,
            overhead=None if companion is None else companion.overhead_ms,
        )
        if companion is not None:
            measurement = replace(measurement, environment_hash=companion.environment_hash)
        self._store.record(measurement, left.job.id, lease_token=left.job.lease_token)
        return measurement

    def lease(self, limit: int) -> Sequence[MeasuringJob]:
        if self._left is not None:
            limit = min(limit, self._left)
        if limit <= 0:
            return []
        leased = self._store.lease_jobs(self._campaign_id, self.owner, limit, LEASE_S)
        if self._left is not None:
            self._left -= len(leased)
        jobs = []
        for job in leased:
            workload = self._store.workload(job.graph_hash)
            if workload is not None:
                is_last = job.attempts + 1 >= job.max_attempts
                jobs.append(MeasuringJob(job.id, job.purpose, job.label, workload, job.lease_token, is_last))
        return jobs

    def visited(self, visits: Sequence[tuple[MeasuringJob, str, Visit]]) -> None:
        self._store.spool_visits([SpooledVisit(job.job_id, name, visit) for job, name, visit in visits])

    def record(self, job: MeasuringJob, measurement: Measurement) -> None:
        self._store.record(measurement, job.job_id, lease_token=job.lease_token)
        if self._progress is not None:
            self._progress(job, measurement)


def owner_is_alive(owner: str) -> bool:
    """Whether the process that holds a lease still runs. Those on other machines are taken to: their lease ends."""
    parts = owner.rsplit(":", 3)
    if len(parts) < 4 or parts[0] != socket.gethostname() or not parts[1].isdecimal():
        return True
    return _start_ticks(int(parts[1])) == parts[2]


def _start_ticks(pid: int) -> str:
    """When a process started, in clock ticks since boot, so that a re-used process number is not taken for it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "gone"
    fields = stat.rsplit(")", 1)[1].split()
    # A zombie holds its number only until its parent has asked how it ended.
    return "gone" if fields[0] in "ZX" else fields[19]
