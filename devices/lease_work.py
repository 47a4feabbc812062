"""One lease from its taking to its end: models through the gate, measuring, and every job answered or given back.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from ..profiler.bench import Bench
from ..profiler.conclusion import conclude
from ..profiler.energy.rails import sensors_of
from ..profiler.errors import (
    BadDocument,
    EdgecostError,
    HubError,
    HubRefused,
    HubUnreachable,
    MeterError,
    MissingPackage,
    ModelError,
    NoMeter,
    OutputError,
    RunnerError,
    StoreUnwritable,
    UsageError,
)
from ..profiler.fleet_protocol import LeasedJob
from ..profiler.protocol import Settings
from ..profiler.readings import Reading
from ..profiler.records import VIRTUAL, Json, RuntimeProfile, Status
from ..profiler.tasks import Stage, Task
from ..profiler.workload import Workload
from .agent import JobSource, MeasuringJob, WorkReport, work_off
from .energy_work import EnergyWork, NoEnergyWork
from .guards import BoardWatch
from .host import memory_limit_bytes, read_host
from .host_stage import host_stage
from .lease_hold import LeaseHold, MeasuringStopped, StoppableSupply
from .lease_source import LeaseSource, result_of
from .leased_work import Fetch, gate_limits, workload_of
from .offers import Offers
from .outbox import Outbox
from .recovery import concluded
from .spool import Spool
from .told import Told, Weight
from .virtual.door import meter_of, open_bench, virtual_stage


class Measure(Protocol):
    """What ``agent.work_off`` is to a lease."""

    def __call__(
        self,
        source: JobSource,
        set_stage: Callable[[], Stage],
        settings: Settings,
        *,
        profile: RuntimeProfile,
        bench: Bench,
    ) -> WorkReport: ...


@dataclass(frozen=True)
class Desk:
    """What all leases of an agent share.

    Attributes:
        fetch: fetches a model.
        cpus: those that runners are pinned to; none for the profile's own.
        measure: measures jobs; another one where measuring is not the point.
        meter: name of the power meter for energies; empty for what the board has.
        watch: over the board; None where it has nothing to be watched.
    """

    device_identity: str
    offers: Offers
    spool: Spool
    outbox: Outbox
    fetch: Fetch
    told: Told
    cpus: tuple[int, ...] = ()
    measure: Measure = work_off
    meter: str = ""
    watch: BoardWatch | None = None


@dataclass(frozen=True)
class LeaseEnd:
    """How a lease ended.

    Attributes:
        unanswered: jobs to be given back.
        why: the reason to give; empty when all went well.
        has_changed: whether the board should say anew what it offers.
    """

    unanswered: tuple[int, ...]
    why: str = ""
    has_changed: bool = False


def carry_out(hold: LeaseHold, desk: Desk) -> LeaseEnd:
    """Measure what a lease asks for, until it is done, lost, or the agent ends.

    Raises:
        StoreError: the spool is damaged.
    """
    lease = hold.lease
    why, has_changed = "", False
    try:
        profile = desk.offers.profile(lease.runtime)
        if profile.profile_hash == lease.profile_hash:
            _measure(hold, desk, profile)
        else:
            why, has_changed = f"{lease.runtime} is {profile.label} here now, which is another profile", True
    except MeasuringStopped:
        why = hold.stopped_by
    except (StoreUnwritable, OSError) as error:
        why = error.message if isinstance(error, StoreUnwritable) else f"the machine fails: {error}"
    except (RunnerError, UsageError, MissingPackage) as error:
        why = hold.stopped_by  # a runner that was killed while it started looks like one that cannot
        if not why:
            desk.offers.broke(lease.runtime, f"{error.message} → {error.remedy}" if error.remedy else error.message)
            why, has_changed = f"{lease.runtime} does not run: {error.message}", True
    _conclude(hold, desk)
    left = tuple(sorted(hold.open_jobs))
    if left and not why:
        why = "their models could not be had"
    return LeaseEnd(left, why, has_changed)


def _measure(hold: LeaseHold, desk: Desk, profile: RuntimeProfile) -> None:
    facts = read_host()
    stage_now = partial(_stage_now, hold, desk, profile)
    jobs = _jobs(hold, desk, memory_limit_bytes(facts), stage_now)
    if not jobs:
        return
    settings = hold.lease.settings
    limits = [limit for limit in (settings.memory_limit_bytes, memory_limit_bytes(facts)) if limit is not None]
    settings = replace(settings, memory_limit_bytes=min(limits, default=None))
    measure, sensors = _measuring(hold, desk, profile)
    source = LeaseSource(hold, jobs, stage_now, desk.spool, desk.outbox, desk.told, sensors)
    bench = open_bench(profile)
    supply = StoppableSupply(bench.supply)
    bench = replace(bench, supply=supply)
    hold.watch(supply)
    measure(source, source.set_stage, settings, profile=profile, bench=bench)


def _measuring(hold: LeaseHold, desk: Desk, profile: RuntimeProfile) -> tuple[Measure, list[Mapping[str, Json]]]:
    """What measures the jobs of a lease, and the sensors that it does it with; none for latencies."""
    energy = hold.lease.energy
    if energy is None:
        return desk.measure, []
    try:
        meter = meter_of(profile, desk.meter or None, desk.device_identity)
    except NoMeter as error:
        return NoEnergyWork(Reading.UNSUPPORTED, error.message), []
    except (MeterError, UsageError) as error:
        return NoEnergyWork(Reading.UNAVAILABLE, error.message), []
    return EnergyWork(meter, energy), [sensor.document for sensor in sensors_of(meter)]


def _stage_now(hold: LeaseHold, desk: Desk, profile: RuntimeProfile) -> Stage:
    if profile.runtime == VIRTUAL:
        stage = virtual_stage(profile, desk.device_identity)
    else:
        watch = None if desk.watch is None else desk.watch.checking(hold.check)
        stage = host_stage(profile, desk.device_identity, desk.cpus, watch)
    return replace(stage, quiet_canary_ns=hold.lease.quiet_canary_ns)


def _jobs(
    hold: LeaseHold, desk: Desk, memory_bytes: int | None, stage_now: Callable[[], Stage]
) -> Sequence[MeasuringJob]:
    """The jobs that may be measured. A model that is refused is a result; one that could not be fetched is left out."""
    limits = gate_limits(memory_bytes)
    found, is_away = [], False
    for job in hold.lease.jobs:
        hold.check()
        if is_away and job.workload.skeleton_sha256:
            continue
        try:
            workload = workload_of(job.workload, desk.fetch, limits)
        except (ModelError, BadDocument) as error:
            _refuse(hold, desk, job, stage_now(), error)
        except HubRefused as error:
            if error.status != 404:
                desk.told(Weight.WARNING, f"the model of {job.label} cannot be had: {error.message}")
                continue
            _refuse(hold, desk, job, stage_now(), error)
        except (HubError, OutputError) as error:
            # Asked again for the next one, it would be waited for again.
            is_away = is_away or isinstance(error, HubUnreachable)
            desk.told(Weight.WARNING, f"the model of {job.label} cannot be had: {error.message}")
        else:
            token = hold.lease.lease_token
            found.append(MeasuringJob(job.job_id, job.purpose, job.label, workload, token, job.is_last_attempt))
    return found


def _refuse(hold: LeaseHold, desk: Desk, job: LeasedJob, stage: Stage, error: EdgecostError) -> None:
    """A model that no runtime is handed: that is the result of its job."""
    leased = job.workload
    task = Task(Workload(leased.name, leased.kind, leased.graph_hash, b""), job.purpose)
    measurement = conclude(
        task, stage, (), Status.INVALID_MODEL, error.message, overhead=None, started_at=None, session=""
    )
    desk.told(Weight.WARNING, f"{job.label}: refused, {error.message}")
    hold.answered(job.job_id)
    desk.outbox.put(result_of(job.job_id, hold.lease.lease_token, measurement, stage))


def _conclude(hold: LeaseHold, desk: Desk) -> None:
    """Attempts that were cut short: a result where the visits are enough, else nothing but the visits is kept."""
    for left in desk.spool.leftovers():
        if left.lease.lease_token != hold.lease.lease_token:
            continue
        for begun in left.begun:
            result = None if hold.is_lost(begun.job_id) else concluded(left, begun, desk.spool, desk.device_identity)
            if result is not None and result.measurement.status.has_latency:
                hold.answered(begun.job_id)
                desk.outbox.put(result)
            else:
                _abandon(desk, begun.measurement_id)


def _abandon(desk: Desk, measurement_id: str) -> None:
    try:
        desk.spool.abandon([measurement_id])
    except StoreUnwritable as error:
        desk.told(Weight.ERROR, error.message)
