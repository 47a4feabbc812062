"""Leases and results per second at the store's door: SQLite and PostgreSQL side by side, with full durability.

A cycle is what one job costs the store: a lease, and a result recorded with the job's end in one transaction. Worker
processes do nothing else; no HTTP, no measuring. The processor time of workers stands beside: machines are shared.

Run it:  python benchmarks/fleet_cycles.py
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
import uuid
from pathlib import Path

from bulk_load import postgresql

from edgecost.db import Store
from edgecost.db.fleet.records import Batch
from edgecost.db.records import NewJob
from edgecost.profiler.documents import document_of
from edgecost.profiler.fleet_protocol import Enrolment, Hello, OfferedRuntime, Result
from edgecost.profiler.protocol import KERNELS
from edgecost.profiler.records import Device, Environment, Latency, Measurement, RuntimeProfile, Status, Visit
from edgecost.profiler.workload import Workload

PROFILE, ENVIRONMENT = RuntimeProfile("onnxruntime", "1.32.0"), Environment({"kernel": "6.18"})
VISITS = tuple(Visit(n, "s", (2_000_000 + n, 2_000_100, 2_000_200), (), (9, 9), 0, "", 2e6) for n in range(1, 21))
WORKLOADS = [Workload(f"w{n}", "operator", f"{n:064x}", b"skeleton" * 40) for n in range(50)]
LEASE_S = 3600.0
#: Workers x jobs in a lease.
WAYS = ("1x1", "2x1", "4x1", "2x10")


def furnish(url: str, boards: int, jobs: int) -> list[tuple[str, str]]:
    """A campaign, and boards that may work on it: ids of agents and devices."""
    with Store(url) as store:
        for workload in WORKLOADS:
            store.put_workload(workload)
        settings = {"runtime": "ort", "profile_hash": PROFILE.profile_hash, "protocol": document_of(KERNELS)}
        campaign = store.open_campaign(uuid.uuid4().hex, "cycles", settings, "pool=cycles")
        keys = [uuid.uuid4().hex for _ in range(jobs)]
        store.add_jobs(
            campaign, [NewJob(WORKLOADS[n % 50].graph_hash, "cell", f"j{n}", 0, key) for n, key in enumerate(keys)]
        )
        found = []
        for _ in range(boards):
            device = Device(uuid.uuid4().hex, uuid.uuid4().hex, "")
            code = store.fleet.make_code({"pool": "cycles"}).code
            made = store.fleet.enrol(Enrolment(code, device, "1"), "")
            offer = OfferedRuntime("ort", PROFILE.document())
            store.fleet.hello(made.agent_id, Hello("boot", "1", device, "", (offer,)), "")
            found.append((made.agent_id, device.identity))
        return found


def result(batch: Batch, at: int, identity: str) -> Result:
    job = batch.jobs[at].job
    moment = "2026-11-27T10:00:00.000+00:00"
    made = Measurement(
        measurement_id=uuid.uuid4().hex, graph_hash=job.graph_hash, profile_hash=PROFILE.profile_hash,
        environment_hash=ENVIRONMENT.environment_hash, device_identity=identity, session=batch.lease_token,
        protocol="edgecost-4", purpose=job.purpose, status=Status.OK, message="", started_at=moment,
        finished_at=moment, latency=Latency(2.0, 1.9, 2.1, 1.8, 1.95, 2.0, 2.2, 2.3, 0.01, 20, 60), overhead_ms=0.003,
        visits=VISITS, conditions={"canary_us": 9.0},
    )  # fmt: skip
    return Result(job.id, batch.lease_token, made, dict(ENVIRONMENT.document), PROFILE.document())


def work(url: str, agent_id: str, identity: str, limit: int, ready: object, told: object) -> None:
    """One worker: cycles until there are no more jobs; tells how many, and its processor time."""
    with Store(url) as store:
        store.fleet.server_time()
        ready.wait()  # type: ignore[attr-defined]
        done, begin = 0, time.process_time()
        while (batch := store.fleet.lease(agent_id, limit, LEASE_S)) is not None:
            for at in range(len(batch.jobs)):
                assert store.fleet.accept(agent_id, result(batch, at, identity)).verdict == "accepted"
                done += 1
        told.put((done, time.process_time() - begin, time.perf_counter()))  # type: ignore[attr-defined]


def cycles(url: str, workers: int, limit: int, jobs: int) -> dict[str, float]:
    """Cycles per second of all workers together, from the moment at which all of them are ready."""
    boards = furnish(url, workers, jobs)
    context = multiprocessing.get_context("spawn")
    ready, told = context.Barrier(workers + 1), context.Queue()
    processes = [context.Process(target=work, args=(url, *board, limit, ready, told)) for board in boards]
    for process in processes:
        process.start()
    ready.wait(120)
    begin = time.perf_counter()
    found = [told.get(timeout=600) for _ in processes]
    for process in processes:
        process.join()
    total = sum(done for done, _, _ in found)
    assert total == jobs, (total, jobs)
    seconds = max(end for _, _, end in found) - begin
    return {"cycles/s": total / seconds, "worker ms/cycle": sum(cpu for _, cpu, _ in found) / total * 1e3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--postgresql", metavar="URL", help="A server that may be filled; default: one of our own.")
    parser.add_argument("--way", action="append", help="Workers x jobs in a lease; default: " + ", ".join(WAYS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder, postgresql(options.postgresql) as new_url:
        sqlite, server = f"sqlite:///{Path(folder)}/cycles.sqlite", new_url()
        for way in options.way or WAYS:
            workers, limit = map(int, way.split("x"))
            for engine, url in (("SQLite", sqlite), ("PostgreSQL", server)):
                name = f"{engine}, {workers} workers, {limit} in a lease"
                found[name] = cycles(url, workers, limit, options.jobs)
                if not options.json:
                    one = found[name]
                    print(f"{name:40s} {one['cycles/s']:7.0f} cycles/s  {one['worker ms/cycle']:6.2f} ms of processor")
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
