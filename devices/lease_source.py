"""The jobs of one lease as the ``JobSource`` of the one loop that measures. Standard library only.

Attempts are in the spool before their first run, visits as they are made, and results before anybody is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ..profiler.errors import StoreUnwritable
from ..profiler.fleet_protocol import Result
from ..profiler.records import Json, Measurement, Visit
from ..profiler.tasks import Stage
from .agent import MeasuringJob
from .lease_hold import LeaseHold
from .offers import profile_document
from .outbox import Outbox
from .spool import Begun, Spool
from .told import Told, Weight


class LeaseSource:
    """Hands out a lease's jobs in groups.

    Every call raises ``MeasuringStopped`` when nobody waits for the lease any more, and a ``StoreError`` when the spool
    cannot be used.
    """

    def __init__(
        self,
        hold: LeaseHold,
        jobs: Sequence[MeasuringJob],
        stage_now: Callable[[], Stage],
        spool: Spool,
        outbox: Outbox,
        told: Told,
        sensors: Sequence[Mapping[str, Json]] = (),
    ) -> None:
        self._hold = hold
        self._left = list(jobs)
        self._alone = {job.job_id for job in hold.lease.jobs if job.alone}
        self._stage_now = stage_now
        self._spool = spool
        self._outbox = outbox
        self._told = told
        self._sensors = sensors
        self._job_of: dict[str, int] = {}
        self._stage: Stage | None = None
        self._is_full = False

    def set_stage(self) -> Stage:
        """The stage of the group that was handed out last."""
        assert self._stage is not None
        return self._stage

    def lease(self, limit: int) -> Sequence[MeasuringJob]:
        """The next group. Jobs that a board died with come last, each in a group of its own."""
        self._hold.check()
        self._left = [job for job in self._left if not self._hold.is_lost(job.job_id)]
        together = [job for job in self._left if job.job_id not in self._alone][:limit]
        chosen = together or self._left[:1]
        if not chosen:
            return []
        self._left = [job for job in self._left if job not in chosen]
        stage = self._stage = replace(self._stage_now(), is_unwanted=self._is_unwanted)
        self._job_of.update({job.measurement_id: job.job_id for job in chosen})
        begun = [Begun(job.measurement_id, job.job_id) for job in chosen]
        document = profile_document(stage.profile)
        self._spool.begin(self._hold.lease.lease_token, begun, stage.environment.document, document)
        return chosen

    def visited(self, visits: Sequence[tuple[MeasuringJob, str, Visit]]) -> None:
        self._hold.check()
        self._hold.visited([job.job_id for job, _, _ in visits])
        try:
            self._spool.visited([(name, visit) for _, name, visit in visits])
        except StoreUnwritable as error:
            # They are in memory too, and come with the result; only a power cut would cost them now.
            if not self._is_full:
                self._told(Weight.ERROR, f"visits are not kept on the disk: {error.message}")
            self._is_full = True

    def record(self, job: MeasuringJob, measurement: Measurement) -> None:
        if not measurement.answers:
            # A runner that was killed because nobody waits looks like one that crashed.
            self._hold.check()
        if self._hold.is_lost(job.job_id):
            self._spool.abandon([measurement.measurement_id])
            return
        stage = self.set_stage()
        # First: once it is sent, the hub does not hold the job any more, which would look like a loss.
        self._hold.answered(job.job_id)
        token = self._hold.lease.lease_token
        self._outbox.put(result_of(job.job_id, token, measurement, stage, sensors=self._sensors))
        self._told(Weight.NOTE, f"{job.label or job.workload.name}: {_told_of(measurement)}")

    def _is_unwanted(self, measurement_id: str) -> bool:
        return self._hold.is_lost(self._job_of[measurement_id])


def result_of(
    job_id: int,
    lease_token: str,
    measurement: Measurement,
    stage: Stage,
    killed_by: str = "",
    sensors: Sequence[Mapping[str, Json]] = (),
) -> Result:
    """A measurement with all that it refers to.

    Args:
        sensors: of its energy first, then of its rails'.
    """
    environment, profile = dict(stage.environment.document), profile_document(stage.profile)
    whole = sensors[0] if sensors else None
    return Result(job_id, lease_token, measurement, environment, profile, killed_by, whole, tuple(sensors[1:]))


def _told_of(measurement: Measurement) -> str:
    energy = measurement.energy
    if energy is not None:
        told = energy.message if energy.gross_median_mj is None else f"{energy.gross_median_mj:.4g} mJ"
        return f"{energy.status.value}, {told}"
    if measurement.latency is None:
        return f"{measurement.status.value} {measurement.message}".rstrip()
    return f"{measurement.status.value}, {measurement.latency.median_ms:.3f} ms"
