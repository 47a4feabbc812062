"""What an attempt does to its job: the one place where a job ends, on a board or in process, on either engine.

Execution is at least once, the recorded result exactly once: the first attempt with a number is the job's result,
whoever made it; every later one is kept and is late. Each function runs inside the caller's transaction, which also
records the measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, insert, select, update

from ..profiler.records import Status
from . import schema
from .fleet_schema import receipt

#: Boards that a job may bring down before nobody gets it any more.
KILLS_MAX = 2
NO_LEASE = {"lease_owner": None, "lease_token": None, "lease_until": None}


@dataclass(frozen=True)
class Attempt:
    """An attempt at a job that is over.

    Attributes:
        owner: who made it; empty where nobody said.
        lease_token: None may end any open job; else a failure counts only while this lease stands.
        answers: whether it is what the job asked for (``Measurement.answers``).
        killed: whether the board or its agent died of it.
    """

    job_id: int
    measurement_id: str
    status: Status
    answers: bool
    owner: str = ""
    lease_token: str | None = None
    killed: bool = False


def lock_job(connection: Connection, job_id: int) -> RowMapping | None:
    """The job's row, held until the end of the transaction; None when there is no such job."""
    table = schema.job
    return connection.execute(select(table).where(table.c.id == job_id).with_for_update()).mappings().one_or_none()


def close_attempt(connection: Connection, job: RowMapping, attempt: Attempt, received_at: str) -> tuple[str, str]:
    """Move a job on after an attempt and write its receipt; the verdict, and the job's state after it.

    A number finishes the job. Anything else counts as a failed attempt, except an interruption, and gives the job back
    until it has failed too often, so that a late loser leaves the next owner alone.

    Args:
        job: as ``lock_job`` gave it in this transaction.
    """
    verdict, change = _judged(job, attempt)
    if change:
        connection.execute(update(schema.job).where(schema.job.c.id == attempt.job_id).values(**change))
    row = {
        "measurement_id": attempt.measurement_id,
        "job_id": attempt.job_id,
        "owner": attempt.owner,
        "verdict": verdict,
        "job_state": change.get("state", job["state"]),
        "received_at": received_at,
    }
    connection.execute(insert(receipt), row)
    return verdict, str(row["job_state"])


def _judged(job: RowMapping, attempt: Attempt) -> tuple[str, dict[str, object]]:
    """The verdict on an attempt, and what it changes in its job."""
    is_open = job["state"] in ("pending", "leased")
    if attempt.answers:
        # A job that failed is worth its result all the same, unless nobody wants it any more.
        if is_open or (job["state"] == "failed" and job["reason"] != "cancelled"):
            return "accepted", {"state": "done", "reason": None, **NO_LEASE}
        return "late", {}
    is_held = attempt.lease_token is None or attempt.lease_token == job["lease_token"]
    if is_open and is_held:
        return "killed" if attempt.killed else "attempt", _after_failure(job, attempt)
    # The lease ran out, which was counted then. That a board died has not been known until now.
    change: dict[str, object] = {"kills": job["kills"] + 1} if attempt.killed else {}
    if is_open and attempt.killed and job["state"] == "pending" and job["kills"] + 1 >= KILLS_MAX:
        change |= {"state": "failed", "reason": "quarantined"}
    return "killed" if attempt.killed else "late", change


def _after_failure(job: RowMapping, attempt: Attempt) -> dict[str, object]:
    """A job that brought two boards down is given to nobody; any other until it has failed ``max_attempts`` times."""
    counts = attempt.killed or attempt.status is not Status.INTERRUPTED
    attempts, kills = job["attempts"] + counts, job["kills"] + attempt.killed
    change: dict[str, object] = {"attempts": attempts, "kills": kills, **NO_LEASE}
    if kills >= KILLS_MAX:
        return {**change, "state": "failed", "reason": "quarantined"}
    if attempts >= job["max_attempts"]:
        return {**change, "state": "failed", "reason": "exhausted"}
    return {**change, "state": "pending"}
