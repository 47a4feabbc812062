"""A store with a campaign for a fleet, and boards that enrol in it: what several tests of the fleet begin with."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from edgecost.db import Store
from edgecost.db.fleet.records import Batch
from edgecost.db.records import NewJob
from edgecost.profiler.documents import document_of
from edgecost.profiler.fleet_protocol import Enrolment, Hello, OfferedRuntime, Result
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.protocol import PRESETS
from edgecost.profiler.records import Device, Environment, Latency, Measurement, RuntimeProfile, Status
from edgecost.profiler.workload import Workload, workload_from_model

PROFILE = RuntimeProfile("onnxruntime", "1.32.0")
ENVIRONMENT = Environment({"kernel": "6.1"})
PROTOCOL = document_of(PRESETS["quick"])


def workload(length: int) -> Workload:
    """A chain of sigmoids over so many elements."""
    graph = GraphBuilder("chain")
    value = graph.activate(graph.input((length,)), "sigmoid")
    return workload_from_model(f"sigmoid_{length}", "operator", graph.model(value))


@dataclass(frozen=True)
class Board:
    """An enrolled board."""

    agent_id: str
    token: str
    device: Device


def hello_of(device: Device, *runtimes: str, boot_id: str = "boot") -> Hello:
    offers = tuple(OfferedRuntime(name, PROFILE.document()) for name in runtimes or ("ort",))
    return Hello(boot_id, "0.1.0", device, "2026-01-01T00:00:00+00:00", offers)


def enrol(store: Store, name: str = "nano-1", *, runtimes: tuple[str, ...] = ("ort",), **labels: str) -> Board:
    """A board that has said hello."""
    device = Device(name, f"device-{name}", f"the board {name}")
    code = store.fleet.make_code(labels or {"pool": "nano"}, by="keeper").code
    made = store.fleet.enrol(Enrolment(code, device, "0.1.0"), "127.0.0.1")
    store.fleet.hello(made.agent_id, hello_of(device, *runtimes), "127.0.0.1")
    return Board(made.agent_id, made.token, device)


def campaign(
    store: Store,
    jobs: int,
    *,
    name: str = "test",
    selector: str | None = "pool=nano",
    runtime: str = "ort",
    priority: int = 0,
) -> list[int]:
    """A campaign with that many jobs, each with a graph of its own; the ids of the jobs."""  # fmt: skip
    settings = {"runtime": runtime, "profile_hash": PROFILE.profile_hash, "protocol": PROTOCOL}
    campaign_id = store.open_campaign(name, "test", settings, selector)
    wanted = [workload(1 + at) for at in range(jobs)]
    for one in wanted:
        store.put_workload(one)
    store.add_jobs(
        campaign_id, [NewJob(one.graph_hash, "cell", one.name, priority, f"{name}/{one.graph_hash}") for one in wanted]
    )
    return [job.id for job in store.fleet.jobs(campaign=name, limit=10_000)]


def result(
    board: Board, batch: Batch, at: int = 0, *, status: Status = Status.OK, name: str = "", killed_by: str = ""
) -> Result:
    """What a board would send for a job of its batch."""
    job = batch.jobs[at].job
    measured = Measurement(
        measurement_id=name or uuid.uuid4().hex,
        graph_hash=job.graph_hash,
        profile_hash=PROFILE.profile_hash,
        environment_hash=ENVIRONMENT.environment_hash,
        device_identity=board.device.identity,
        session="session",
        protocol="edgecost-4",
        purpose=job.purpose,
        status=status,
        message="",
        started_at="2026-01-01T00:00:00+00:00",
        finished_at="2026-01-01T00:00:01+00:00",
        latency=Latency(1.0, 0.9, 1.1, 0.9, 0.95, 1.0, 1.1, 1.2, None, 7, 21) if status.has_latency else None,
        overhead_ms=None,
    )
    return Result(job.id, batch.lease_token, measured, dict(ENVIRONMENT.document), PROFILE.document(), killed_by)
