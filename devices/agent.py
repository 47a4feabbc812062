"""The one loop that works off measuring jobs, in process or on a board. Standard library only.

It takes jobs from a ``JobSource``, measures them in groups and hands every result back. It knows no database and no
network: those are job sources.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..profiler.bench import Bench
from ..profiler.measure import measure_group
from ..profiler.measurement_id import new_measurement_id
from ..profiler.protocol import Settings
from ..profiler.records import Measurement, RuntimeProfile, Status, Visit
from ..profiler.tasks import GroupTimes, Stage, Task
from ..profiler.workload import Workload
from .virtual.door import open_bench


@dataclass(frozen=True)
class MeasuringJob:
    """One job in this agent's hands.

    Attributes:
        measurement_id: of the attempt that is about to be made.
    """

    job_id: int
    purpose: str
    label: str
    workload: Workload
    lease_token: str | None = None
    is_last_attempt: bool = False
    measurement_id: str = field(default_factory=new_measurement_id)


class JobSource(Protocol):
    """Where jobs come from and results go. Every call may raise an ``EdgecostError``, which ends the loop."""

    def lease(self, limit: int) -> Sequence[MeasuringJob]:
        """Up to ``limit`` jobs, none when all is done."""

    def visited(self, visits: Sequence[tuple[MeasuringJob, str, Visit]]) -> None:
        """Keep visits (job, measurement id, visit) so that they survive a power cut."""

    def record(self, job: MeasuringJob, measurement: Measurement) -> None:
        """Keep a result; called once per attempt."""


@dataclass
class WorkReport:
    """What a loop did. ``times`` adds up over groups."""

    measured: int = 0
    by_status: dict[Status, int] = field(default_factory=dict)
    times: GroupTimes = field(default_factory=GroupTimes)
    out_of_budget: bool = False


def work_off(
    source: JobSource,
    set_stage: Callable[[], Stage],
    settings: Settings,
    *,
    profile: RuntimeProfile,
    budget_s: float | None = None,
    bench: Bench | None = None,
) -> WorkReport:
    """Measure until the source has no more jobs, or the budget is spent.

    The budget is looked at between groups, and the size of a group shrinks with what is left of it.

    Args:
        set_stage: called before each group, since the machine may have changed since the last one.
        bench: what measures, and is ended afterwards; None for the profile's own.

    Raises:
        RunnerError: the runner cannot be started.
    """
    report = WorkReport()
    with bench or open_bench(profile) as measuring:
        _work_off(source, set_stage, settings, budget_s, measuring, report)
    return report


def _work_off(
    source: JobSource,
    set_stage: Callable[[], Stage],
    settings: Settings,
    budget_s: float | None,
    bench: Bench,
    report: WorkReport,
) -> None:
    begin = time.monotonic()
    while True:
        spent = time.monotonic() - begin
        limit = _group_size(report, spent, budget_s, settings.group_size)
        if limit == 0:
            report.out_of_budget = True
            return
        jobs = source.lease(limit)
        if not jobs:
            return
        listener = _Relay(source, jobs, report)
        times = measure_group(list(listener.job_of), set_stage(), settings, listener, bench)
        report.times.total_s += time.monotonic() - begin - spent
        report.times.warmup_s += times.warmup_s
        report.times.measuring_s += times.measuring_s


def _group_size(report: WorkReport, spent_s: float, budget_s: float | None, most: int) -> int:
    """How many jobs fit into what is left of the budget, by the pace so far; ``most`` at once."""
    if budget_s is None:
        return most
    left = budget_s - spent_s
    if left <= 0:
        return 0
    if not report.measured:
        return max(1, most // 4)
    return min(most, int(left * report.measured / spent_s))


class _Relay:
    """Turns what happens in a group into calls of the job source."""

    def __init__(self, source: JobSource, jobs: Sequence[MeasuringJob], report: WorkReport) -> None:
        self.source = source
        self.report = report
        self.job_of = {Task(job.workload, job.purpose, job.measurement_id, job.is_last_attempt): job for job in jobs}

    def visited(self, visits: Sequence[tuple[Task, Visit]]) -> None:
        self.source.visited([(self.job_of[task], task.measurement_id, visit) for task, visit in visits])

    def finished(self, task: Task, measurement: Measurement) -> None:
        self.source.record(self.job_of[task], measurement)
        self.report.measured += 1
        status = measurement.status
        self.report.by_status[status] = self.report.by_status.get(status, 0) + 1
