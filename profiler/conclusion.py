"""What a list of visits amounts to: the measurement that is stored, and how an attempt that reached its limit ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from .protocol import PROTOCOL, VISITS_MIN, Settings, has_converged, reaches_target
from .records import Json, Measurement, Status, Visit
from .statistics import summarise
from .tasks import Stage, Task


def conclude(
    task: Task,
    stage: Stage,
    visits: Sequence[Visit],
    status: Status,
    message: str,
    *,
    overhead: float | None,
    started_at: str | None,
    session: str,
    finished_at: str | None = None,
    conditions: Mapping[str, Json] | None = None,
) -> Measurement:
    """The measurement that a list of visits amounts to; a status without a latency gets none.

    Args:
        started_at: None where only the end is known (visits found after a crash): then the end stands for both.
        finished_at: None for now.
    """
    finished_at = finished_at or timestamp(datetime.now(timezone.utc))
    keeps_latency = status.has_latency or status is Status.UNSTABLE
    return Measurement(
        measurement_id=task.measurement_id,
        graph_hash=task.workload.graph_hash,
        profile_hash=stage.profile.profile_hash,
        environment_hash=stage.environment.environment_hash,
        device_identity=stage.device_identity,
        session=session,
        protocol=PROTOCOL,
        purpose=task.purpose,
        status=status,
        message=message,
        started_at=started_at or finished_at,
        finished_at=finished_at,
        latency=summarise(visits) if keeps_latency else None,
        overhead_ms=overhead,
        visits=tuple(visits),
        conditions=dict(conditions or {}),
    )


def limit_status(visits: Sequence[Visit], settings: Settings, *, is_last: bool = False) -> tuple[Status, str]:
    """How an attempt that reached its limit of visits or time ends.

    Few visits for want of time may be enough for the interval that was asked for. Few because most were rejected are
    not: what is left is what the machine let through. The last attempt keeps even that, as unstable.
    """
    values = [visit.value_ns for visit in visits if visit.value_ns is not None]
    valid, rejected = len(values), len(visits) - len(values)
    enough = min(VISITS_MIN, settings.visits_min)
    if valid >= enough and (valid >= settings.visits_min or rejected <= valid):
        if reaches_target(values, settings.target):
            return Status.OK, ""
        return Status.UNCONVERGED, f"interval wider than ±{settings.target:.1%} after {len(visits)} visits"
    reasons = sorted({visit.reject_reason for visit in visits if visit.reject_reason})
    cause = f"rejected for {', '.join(reasons)}" if reasons else "the time was up"
    status = Status.UNSTABLE if is_last and valid >= enough else Status.REJECTED
    return status, f"{valid} of {len(visits)} visits valid, {settings.visits_min} are needed; {cause}"


def conclude_recovered(
    task: Task, stage: Stage, visits: Sequence[Visit], settings: Settings, *, overhead: float | None
) -> Measurement:
    """What the visits that a dead process left amount to: a number where there are enough, else an interruption.

    Args:
        overhead: what a companion that was finished in the same session says; None where there is none.
    """
    # A runner that was started again goes on counting rounds: their order is the order of time.
    ordered = sorted(visits, key=lambda visit: visit.ordinal)
    return conclude(
        task,
        stage,
        ordered,
        _recovered_status(ordered, settings),
        "recovered after an interruption",
        overhead=overhead,
        started_at=None,
        session=ordered[-1].session if ordered else "",
    )


def _recovered_status(visits: Sequence[Visit], settings: Settings) -> Status:
    if has_converged(visits, settings):
        return Status.OK
    status, _ = limit_status(visits, settings)
    return status if status.has_latency else Status.INTERRUPTED


def timestamp(moment: datetime) -> str:
    """ISO-8601 in UTC, to the millisecond."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")
