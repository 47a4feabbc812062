"""``edgecost db``: what a database holds, what went wrong in it, and what keeps it in order."""

from __future__ import annotations

from dataclasses import asdict

import click

from ..profiler.errors import UsageError
from .options import db_option, json_option
from .output import print_json, print_table


@click.group()
def db() -> None:
    """The database of measurements."""


@db.command(epilog="Example:  edgecost db info --failures")
@db_option
@click.option("--failures", is_flag=True, help="List the attempts that gave no latency, newest first.")
@json_option
def info(db_url: str | None, failures: bool, as_json: bool) -> None:
    """Where the database is, what it holds, and how far its campaigns are."""
    from ..db import Store

    with Store(db_url) as store:
        counts, campaigns, devices = store.counts(), store.campaigns(), store.devices()
        attempts = store.measurements(usable_only=False) if failures else []
        url = store.url
    failed = [attempt for attempt in reversed(attempts) if not attempt.status.has_latency]
    if as_json:
        rows = [
            {
                "measurement_id": a.measurement_id,
                "graph_hash": a.graph_hash,
                "purpose": a.purpose,
                "status": a.status.value,
                "message": a.message,
                "finished_at": a.finished_at,
            }
            for a in failed
        ]
        print_json(
            {
                "database": url,
                "counts": asdict(counts),
                "campaigns": [{**asdict(campaign), "jobs": dict(campaign.jobs)} for campaign in campaigns],
                "devices": [asdict(device) for device in devices],
                **({"failures": rows} if failures else {}),
            }
        )
        return
    click.echo(f"{url}  ({counts.dialect}, schema {counts.schema_revision}, {counts.size_bytes / 1e6:.1f} MB)\n")
    shown = {
        name: value
        for name, value in asdict(counts).items()
        if name not in ("size_bytes", "schema_revision", "dialect")
    }
    print_table("Rows", ["table", "rows"], [[name.replace("_", " "), f"{value:,}"] for name, value in shown.items()])
    if devices:
        print_table("Devices", ["name", "description"], [[d.name, d.description] for d in devices], left=2)
    if campaigns:
        states = ["pending", "leased", "done", "failed"]
        rows_ = [[c.name, c.space, *(str(c.jobs[state]) for state in states)] for c in campaigns]
        print_table("Campaigns: jobs by state", ["campaign", "space", *states], rows_, left=2)
    if failures:
        lines = [
            [a.finished_at[:19], a.purpose, a.status.value, a.message.splitlines()[0][:80] if a.message else ""]
            for a in failed
        ]
        print_table(
            f"Attempts without a latency ({len(failed)})", ["finished", "purpose", "outcome", "message"], lines, left=4
        )


@db.command(epilog="Example:  edgecost db maintain --db postgresql://user@host/name")
@db_option
@json_option
def maintain(db_url: str | None, as_json: bool) -> None:
    """Add up what was measured on each day, where measurements came since the last time; make months ahead.

    A month of raw samples is a partition on PostgreSQL, made before it begins. Run it from time to time, from wherever;
    a hub does it every six hours. When two run at once, the second leaves the work to the first.
    """
    from ..db import Store

    if not Store.exists(db_url):
        raise UsageError("There is no database there to maintain.", remedy="Name another one: --db URL")
    with Store(db_url) as store:
        done = store.maintain()
    if as_json:
        print_json(asdict(done))
    elif not done.is_leader:
        click.echo("Another process maintains this database now; nothing was done.")
    else:
        click.echo(f"Days of devices and profiles added up anew: {done.days:,}.")
        if done.months:
            click.echo(f"Months of raw samples made: {done.months}.")
        if done.outside_months:
            click.echo(f"Raw samples that stand in no month: {done.outside_months:,}.")
