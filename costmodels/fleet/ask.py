"""Query or measure: what a graph costs on a device of the store, from the store if it was measured there, else by its
board, which is asked to, and else by prediction. The answer says which.

The idea of one question with these three answers is NNLQP's (Liu et al., "NNLQP: A Multi-Platform Neural Network
Latency Query and Prediction System with An Evolving Database", ICPP 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

from ...db import Store
from ...db.records import NewJob
from ...profiler.documents import document_of
from ...profiler.errors import UsageError
from ...profiler.protocol import Settings
from ...profiler.records import Device, Json, Measurement, RuntimeProfile
from ...profiler.runtimes import BUILT_IN
from ...profiler.workload import Workload
from ..dataset import NETWORK_PURPOSES
from ..planned_campaign import Narrator
from .fleet_campaign import follow
from .pool import DEFAULT_RUNTIME, Pool, choose_pool

#: Somebody waits for the answer: before every campaign.
PRIORITY = 1000
#: Purposes under which a graph is measured as it stands, whole or not.
_AS_IT_STANDS = (*NETWORK_PURPOSES, "cell", "support", "panel", "kernel")
_CAMPAIGN = "asked"


@dataclass(frozen=True)
class Target:
    """A device that is asked about.

    Attributes:
        pool: its board, where one is enrolled and takes work; None else, for the reason in ``why_not``.
    """

    device: Device
    profile: RuntimeProfile
    pool: Pool | None
    why_not: str = ""


@dataclass(frozen=True)
class Answer:
    """What is known of a graph on a device.

    Attributes:
        source: ``store`` or ``board``; ``prediction`` where nobody measured it, for the reason in ``why``.
        measurement: None for a prediction, which is the caller's to make.
    """

    source: str
    measurement: Measurement | None
    why: str = ""


def find_target(store: Store, name: str, runtime: str | None) -> Target:
    """The device of this name: a board of the fleet, or one that was measured and is not enrolled.

    Args:
        runtime: its name on the board; None for ``ort``.

    Raises:
        UsageError: no device has this name, or it was never measured with this runtime.
    """
    boards = {agent.name for agent in store.fleet.agents()}
    if name in boards:
        try:
            pool = choose_pool(store, name, runtime)
        except UsageError as error:
            known = _measured_before(store, name, runtime)
            if known is None:
                raise
            return Target(*known, None, error.message)
        return Target(pool.boards[0], pool.profile, pool)
    known = _measured_before(store, name, runtime)
    if known is None:
        devices = sorted(boards | {device.name for device in store.devices()})
        raise UsageError(
            f"there is no device {name!r} with that runtime; there are {', '.join(devices) or 'none'}",
            remedy="edgecost devices list",
        )
    return Target(*known, None, f"{name} is not enrolled: it cannot be asked to measure")


def _measured_before(store: Store, name: str, runtime: str | None) -> tuple[Device, RuntimeProfile] | None:
    """A device by name with the profile of its newest measurement under the runtime."""
    named = BUILT_IN.get(runtime or DEFAULT_RUNTIME)
    if named is None:
        return None  # what a board's own name stood for is not known without the board
    for device in store.devices():
        if device.name != name:
            continue
        for profile_hash in reversed(store.profiles_of(device.identity)):
            profile = store.profile(profile_hash)
            if profile is not None and (profile.runtime, profile.provider) == (
                named.runtime,
                named.provider,
            ):
                return device, profile
    return None


def ask(
    store: Store,
    target: Target,
    workload: Workload,
    narrator: Narrator,
    *,
    measure: bool,
    wait_s: float,
) -> Answer:
    """The newest measurement of a graph on the device, made now if need be and allowed.

    Args:
        measure: lease it to the board if it was not measured.
        wait_s: how long to wait for the board.
    """
    found = _stored(store, target, workload)
    if found is not None:
        return Answer("store", found)
    if not measure:
        return Answer("prediction", None, "it was not measured there; --measure asks the board to")
    if target.pool is None:
        return Answer("prediction", None, target.why_not)
    campaign_id = _lease_out(store, target.pool, workload)
    counts = follow(store, target.pool, campaign_id, narrator, f"waiting for {target.device.name}", budget_s=wait_s)
    found = _stored(store, target, workload)
    if found is not None:
        return Answer("board", found)
    if counts["failed"]:
        (job,) = store.fleet.jobs(campaign=str(campaign_id), limit=1)
        view, _ = store.fleet.job(job.id)
        return Answer("prediction", None, f"{target.device.name} could not measure it: {view.message or view.reason}")
    return Answer("prediction", None, f"{target.device.name} did not answer within {wait_s:g} s; the job stays open")


def _stored(store: Store, target: Target, workload: Workload) -> Measurement | None:
    found = store.measurements(
        device_identity=target.device.identity,
        profile_hash=target.profile.profile_hash,
        graph_hashes=[workload.graph_hash],
        purposes=_AS_IT_STANDS,
    )
    return found[-1] if found else None


def _lease_out(store: Store, pool: Pool, workload: Workload) -> int:
    """A campaign of one job, the same one however often the same is asked; one that failed before is tried again."""
    profile_hash = pool.profile.profile_hash
    name = f"{_CAMPAIGN}/{workload.graph_hash[:16]}@{pool.selector}/{profile_hash[:8]}"
    document: dict[str, Json] = {
        "runtime": pool.runtime,
        "profile_hash": profile_hash,
        "protocol": document_of(Settings()),
    }
    campaign_id = store.open_campaign(name, _CAMPAIGN, document, pool.selector)
    store.put_workload(workload)
    job = NewJob(workload.graph_hash, "network", workload.name, PRIORITY, f"{campaign_id}/{workload.graph_hash}")
    store.add_jobs(campaign_id, [job])
    (there,) = store.fleet.jobs(campaign=name, limit=1)
    # What brought two boards down is not tried again because somebody is curious.
    if there.state == "failed" and there.reason != "quarantined":
        store.fleet.retry(job_ids=[there.id])
    return campaign_id
