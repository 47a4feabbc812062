"""Stores with something in every table, and what is in them as it travels: for tests of export, import and merge."""

from __future__ import annotations

from dataclasses import replace

from edgecost.db import NewJob, Store
from edgecost.db.outgoing import StoreReader
from edgecost.db.portable import CATALOGUE, MEASURED, Row
from edgecost.profiler.records import Measurement, Status
from edgecost.profiler.runtimes import NamedRuntime
from tests.test_db_measurements import DEVICE, ENVIRONMENT, PROFILE, WORKLOAD, measured
from tests.test_db_readings import ENERGY, MEMORY, SENSOR


def furnish(store: Store) -> None:
    """What measurements refer to."""
    store.put_device(DEVICE)
    store.put_environment(ENVIRONMENT)
    store.put_profile(PROFILE)
    store.put_sensor(SENSOR)
    store.put_workload(WORKLOAD)


def attempts(number: int, first: int = 0) -> list[Measurement]:
    """With energy and memory, with neither, and without a latency, in turn."""
    made = []
    for n in range(first, first + number):
        name = f"m{n:04}"
        if n % 3 == 0:
            made.append(measured(name, energy=ENERGY, peak_memory=MEMORY, conditions={"load": [0.5, n]}))
        elif n % 3 == 1:
            made.append(measured(name))
        else:
            failed = measured(name, latency=None, overhead_ms=None, visits=(), message="ä\\N\t\n'\"")
            made.append(replace(failed, status=Status.SEGFAULT))
    return made


def fill(store: Store, number: int, first: int = 0) -> None:
    """Something in every table; the first measurement finished a job and was retracted."""
    furnish(store)
    store.put_named_runtime(NamedRuntime("fast", "four threads", threads=4))
    campaign = store.open_campaign("cells@nano", "ofa", {"large": 1e16})
    prefix = f"{campaign}/cell"
    store.add_jobs(campaign, [NewJob(WORKLOAD.graph_hash, "cell", "c", n, f"{prefix}/{n}") for n in range(3)])
    store.add_jobs(campaign, [NewJob(WORKLOAD.graph_hash, "cell", "c", 9, "a key of its own")])
    (job,) = store.lease_jobs(campaign, "me", 1, 3600)
    for place, attempt in enumerate(attempts(number, first)):
        store.record(attempt, None if place else job.id)
    store.lease_jobs(campaign, "me", 1, 3600)
    if number:
        store.retract(f"m{first:04}", "me", "the fan stood still")


def travelling(store: Store) -> dict[str, list[Row]]:
    """All that a store would give to another."""
    with store._database.snapshot() as connection:
        source = StoreReader(connection)
        found = {portable.name: [row for rows in source.catalogue(portable) for row in rows] for portable in CATALOGUE}
        found |= {portable.name: [] for portable in MEASURED}
        for batch in source.batches():
            for name, rows in batch.items():
                found[name] += rows
    return {name: sorted(rows, key=repr) for name, rows in found.items()}
