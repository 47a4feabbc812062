"""``edgecost db show``: all that one measurement says."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ..profiler.errors import UsageError
from .energy_output import energy_document, print_energy
from .memory_output import on_device
from .options import db_option, json_option
from .output import interval, megabytes, milliseconds, print_json
from .visit_output import print_visits

if TYPE_CHECKING:
    from ..db import Store
    from ..profiler.records import Measurement


@click.command(epilog="Example:  edgecost db show 0d9c1f… --json")
@click.argument("measurement_id", metavar="MEASUREMENT")
@db_option
@json_option
def show(measurement_id: str, db_url: str | None, as_json: bool) -> None:
    """All that one MEASUREMENT says: latency, energy with its rails, memory, and what it met.

    `profile --energy --json`, `db info --failures --json` and the hub's pages name measurements.
    """
    from ..db import Store

    if not Store.exists(db_url):
        raise UsageError("There is no database there.", remedy="Name another one: --db URL")
    with Store(db_url) as store:
        found = store.browsing.measurement(measurement_id)
        head = _head(store, found)
    if as_json:
        print_json(_document(head, found))
    else:
        _print(head, found)


def _head(store: Store, found: Measurement) -> dict[str, str]:
    """Names of what it refers to by hash."""
    devices = {one.identity: one.description for one in store.devices()}
    profile = store.profile(found.profile_hash)
    return {
        "workload": store.browsing.names([found.graph_hash]).get(found.graph_hash, found.graph_hash),
        "device": devices.get(found.device_identity, found.device_identity),
        "profile": found.profile_hash if profile is None else profile.label,
    }


def _document(head: dict[str, str], found: Measurement) -> dict[str, object]:
    memory = found.peak_memory
    return {
        "measurement_id": found.measurement_id,
        "graph_hash": found.graph_hash,
        **head,
        "purpose": found.purpose,
        "status": found.status.value,
        "message": found.message,
        "started_at": found.started_at,
        "finished_at": found.finished_at,
        "latency": None if found.latency is None else asdict(found.latency),
        "call_overhead_ms": found.overhead_ms,
        "visits": None if found.lacks_samples else len(found.visits),
        "rejected_visits": None if found.lacks_samples else found.rejected_visits,
        "energy": None if found.energy is None else energy_document(found),
        "memory": None if memory is None else {**asdict(memory), "status": memory.status.value},
        "conditions": dict(found.conditions),
    }


def _print(head: dict[str, str], found: Measurement) -> None:
    click.echo(f"{head['workload']} on {head['device']}")
    click.echo(f"with {head['profile']}; {found.purpose}, {found.finished_at[:19]}: {found.status.value}")
    if found.message:
        click.echo(f"  {found.message}")
    latency, memory = found.latency, found.peak_memory
    if latency is not None:
        click.echo(f"  latency {milliseconds(latency.median_ms)} ({interval(latency.lo_ms, latency.hi_ms)}),", nl=False)
        told = "their samples archived" if found.lacks_samples else f"{found.rejected_visits} rejected"
        click.echo(f" {latency.visits} visits, {told}")
        print_visits(found)
    if found.energy is not None:
        print_energy(found)
    if memory is not None:
        told = megabytes(memory.peak_bytes) if memory.status.has_number else f"{memory.status.value}: {memory.message}"
        click.echo(f"  memory  {told}")
        if of_gpu := on_device(found):
            click.echo(f"          {of_gpu}")
