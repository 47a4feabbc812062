"""``edgecost jobs``: what a fleet has to measure: listed, one in full, cancelled, tried again."""

from __future__ import annotations

import click

from ..profiler.errors import UsageError
from .hubs import keeper
from .options import db_option, json_option
from .output import milliseconds, print_json, print_table

_STATES = ("pending", "leased", "done", "failed")


@click.group()
def jobs() -> None:
    """The jobs of campaigns."""


@jobs.command("list", epilog="Example:  edgecost jobs list --state failed")
@click.option("--campaign", help="Only this campaign's, by its name or number.")
@click.option("--state", "states", type=click.Choice(_STATES), multiple=True, help="Only in this state.")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Begin after the job of this number.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Jobs to show at most.")
@db_option
@json_option
def list_jobs(
    campaign: str | None, states: tuple[str, ...], after: int, limit: int, db_url: str | None, as_json: bool
) -> None:
    """Jobs in the order in which they were made."""
    from ..db import Store
    from ..profiler.documents import encode

    with Store(db_url) as store:
        found = store.fleet.jobs(campaign=campaign, states=states, after=after, limit=limit)
    if as_json:
        print_json({"jobs": encode(found)})
        return
    rows = [
        [
            str(one.id),
            one.campaign,
            one.label,
            one.state if one.reason is None else f"{one.state}: {one.reason}",
            one.holder or "–",
            f"{one.attempts} of {one.max_attempts}",
            str(one.kills),
        ]
        for one in found
    ]
    print_table("Jobs", ["job", "campaign", "what", "state", "held by", "failed", "deaths"], rows, left=5)
    if len(found) == limit:
        click.echo(f"More:  edgecost jobs list --after {found[-1].id}", err=True)


@jobs.command(epilog="Example:  edgecost jobs show 17")
@click.argument("job_id", type=click.IntRange(min=1))
@db_option
@json_option
def show(job_id: int, db_url: str | None, as_json: bool) -> None:
    """One job, and every result that was sent for it."""
    from ..db import Store
    from ..profiler.documents import encode

    with Store(db_url) as store:
        view, attempts = store.fleet.job(job_id)
    if as_json:
        print_json({"job": encode(view), "attempts": attempts})
        return
    state = view.state if view.reason is None else f"{view.state}: {view.reason}"
    held = f", held by {view.holder} until {view.lease_until[:19]} UTC" if view.holder and view.lease_until else ""
    click.echo(f"Job {view.id} of {view.campaign}: {view.label} ({view.purpose})")
    click.echo(f"{state}{held}; {view.attempts} of {view.max_attempts} attempts failed, {view.kills} boards died of it")
    rows = [
        [
            str(one["received_at"])[:19],
            str(one["by"]) or "here",
            str(one["verdict"]),
            str(one["status"]),
            str(one["message"]).partition("\n")[0][:60],
            milliseconds(latency if isinstance(latency := one["latency_median_ms"], float) else None),
        ]
        for one in attempts
    ]
    if rows:
        print_table("Results", ["received (UTC)", "by", "verdict", "outcome", "message", "median"], rows, left=5)


def _change(verb: str, job_ids: tuple[int, ...], campaign: str | None, db_url: str | None, as_json: bool) -> None:
    from ..db import Store

    if bool(job_ids) == (campaign is not None):
        raise UsageError("name jobs by their numbers, or a whole campaign", remedy=f"edgecost jobs {verb} 17 18")
    with Store(db_url) as store:
        act = store.fleet.cancel if verb == "cancel" else store.fleet.retry
        number = act(job_ids=job_ids, campaign=campaign, by=keeper())
    if as_json:
        print_json({"jobs": number})
    else:
        done = "cancelled" if verb == "cancel" else "free to be measured again"
        click.echo(f"{number} {'job is' if number == 1 else 'jobs are'} {done}.", err=True)


@jobs.command(epilog="Example:  edgecost jobs cancel 17 18    or:  edgecost jobs cancel --campaign NAME")
@click.argument("job_ids", type=click.IntRange(min=1), nargs=-1, metavar="JOB…")
@click.option("--campaign", help="All that is open of this campaign.")
@db_option
@json_option
def cancel(job_ids: tuple[int, ...], campaign: str | None, db_url: str | None, as_json: bool) -> None:
    """Let open jobs not be measured any more. Boards that hold one stop; results on their way are kept."""
    _change("cancel", job_ids, campaign, db_url, as_json)


@jobs.command(epilog="Example:  edgecost jobs retry --campaign NAME")
@click.argument("job_ids", type=click.IntRange(min=1), nargs=-1, metavar="JOB…")
@click.option("--campaign", help="All that failed of this campaign.")
@db_option
@json_option
def retry(job_ids: tuple[int, ...], campaign: str | None, db_url: str | None, as_json: bool) -> None:
    """Give failed jobs, quarantined and cancelled ones too, another full set of attempts."""
    _change("retry", job_ids, campaign, db_url, as_json)
