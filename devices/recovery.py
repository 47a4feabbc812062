"""What becomes of the attempts of a process that is gone, or of a group that was cut short. Standard library only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..profiler.conclusion import conclude_recovered
from ..profiler.fleet_protocol import GiveBack, LeasedJob, Result
from ..profiler.records import Environment, Measurement, RuntimeProfile
from ..profiler.tasks import Stage, Task
from ..profiler.workload import Workload
from .lease_source import result_of
from .spool import Begun, Leftover, Spool

_KILLED = {
    "power_loss": "the board was started again during the attempt",
    "agent_died": "the agent ended during the attempt",
}


def read_boot_id(root: Path = Path("/")) -> str:
    """Changes when the machine is started again; empty where it does not tell."""
    try:
        return (root / "proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def recover(spool: Spool, device_identity: str, boot_id: str) -> tuple[list[Result], list[tuple[str, GiveBack]]]:
    """Let every lease of a dead process go.

    Returns:
        The results of its attempts, which are in the spool now: numbers where there were visits enough, else a word of
        how it died. And what is to be given back: what nobody began.
    """
    results, given_back = [], []
    for left in spool.leftovers():
        killed_by = "agent_died" if left.boot_id == boot_id else "power_loss"
        for begun in left.begun:
            result = concluded(left, begun, spool, device_identity)
            if result is None:
                continue
            if not result.measurement.status.has_latency:
                told = replace(result.measurement, message=_KILLED[killed_by])
                result = replace(result, measurement=told, killed_by=killed_by)
            spool.finish(result)
            results.append(result)
        if left.untouched:
            give = GiveBack(left.untouched, "the agent was started again before it began them")
            given_back.append((left.lease.lease_token, give))
        spool.drop(left.lease.lease_token)
    return results, given_back


def concluded(left: Leftover, begun: Begun, spool: Spool, device_identity: str) -> Result | None:
    """What the visits of an attempt amount to; None for an attempt at what the lease does not name."""
    job = next((one for one in left.lease.jobs if one.job_id == begun.job_id), None)
    if job is None:
        return None
    stage = Stage(RuntimeProfile.from_document(left.profile), Environment(left.environment), device_identity)
    measurement = _measurement(job, begun, stage, left, spool)
    return result_of(begun.job_id, left.lease.lease_token, measurement, stage)


def _measurement(job: LeasedJob, begun: Begun, stage: Stage, left: Leftover, spool: Spool) -> Measurement:
    leased = job.workload
    task = Task(Workload(leased.name, leased.kind, leased.graph_hash, b""), job.purpose, begun.measurement_id)
    # What was finished in the same runner says at what cost of a call it ran.
    session = begun.visits[-1].session if begun.visits else None
    overhead = None if session is None else spool.overhead_of(session)
    return conclude_recovered(task, stage, begun.visits, left.lease.settings, overhead=overhead)
