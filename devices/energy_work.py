"""Works off jobs that want an energy: one after the other, beside a meter. Standard library only."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..profiler.bench import Bench
from ..profiler.conclusion import conclude
from ..profiler.energy.meter import Meter
from ..profiler.energy.windows import EnergySettings
from ..profiler.protocol import Settings
from ..profiler.readings import Energy, Reading
from ..profiler.records import RuntimeProfile, Status
from ..profiler.tasks import Stage, Task
from .agent import JobSource, WorkReport
from .virtual.door import energy_bench


@dataclass(frozen=True)
class EnergyWork:
    """Measures as ``agent.work_off`` does, energies in place of latencies."""

    meter: Meter
    energy: EnergySettings

    def __call__(
        self,
        source: JobSource,
        set_stage: Callable[[], Stage],
        settings: Settings,
        *,
        profile: RuntimeProfile,
        bench: Bench,
    ) -> WorkReport:
        """Measure until the source has no more jobs.

        Raises:
            RunnerError: the runner cannot be started.
        """
        del profile  # the bench is its bench
        report = WorkReport()
        with bench:
            measuring = energy_bench(settings, bench, self.meter, self.energy)
            while jobs := source.lease(1):
                for job in jobs:
                    task = Task(job.workload, job.purpose, job.measurement_id, job.is_last_attempt)
                    measurement = measuring.measure(task, set_stage())
                    source.record(job, measurement)
                    report.measured += 1
                    report.by_status[measurement.status] = report.by_status.get(measurement.status, 0) + 1
        return report


@dataclass(frozen=True)
class NoEnergyWork:
    """Answers jobs that want an energy where none can be measured, by saying so: handed on they would come back."""

    reading: Reading
    why: str

    def __call__(
        self,
        source: JobSource,
        set_stage: Callable[[], Stage],
        settings: Settings,
        *,
        profile: RuntimeProfile,
        bench: Bench,
    ) -> WorkReport:
        """Answer until the source has no more jobs."""
        del settings, profile
        report = WorkReport()
        with bench:
            while jobs := source.lease(1):
                for job in jobs:
                    task = Task(job.workload, job.purpose, job.measurement_id)
                    made = conclude(
                        task, set_stage(), [], Status.OK, "", overhead=None, started_at=None, session=uuid.uuid4().hex
                    )
                    source.record(job, replace(made, energy=Energy(self.reading, message=self.why)))
                    report.measured += 1
        return report
