"""``edgecost agent``: enrol this board at a hub, and measure what the hub asks for."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import DEFAULT_RUNTIME, BudgetType, json_option
from .output import print_json, print_table

if TYPE_CHECKING:
    from ..devices.agent_home import AgentHome
    from ..devices.spool import SpoolCounts
    from ..profiler.runtimes import NamedRuntime

home_option = click.option(
    "--home",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="EDGECOST_AGENT_HOME",
    show_envvar=True,
    help="The agent's folder.  [default: in your state directory]",
)


@click.group()
def agent() -> None:
    """This board in a fleet: it asks its hub for work, and opens no port."""


@agent.command(epilog="Example:  edgecost agent enroll https://hub.example:8440 7KQ4-M2XD")
@click.argument("hub_url")
@click.argument("code")
@click.option("--name", default="", help="Another name than the machine's: a device of its own, beside others on it.")
@home_option
@click.option(
    "--ca",
    "ca_file",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    default=None,
    help="PEM file of the authority that signed the hub's certificate.",
)
@click.option(
    "--runtime",
    "runtime_names",
    multiple=True,
    metavar="NAME",
    help=f"Runtime to offer; repeat for several.  [default: {DEFAULT_RUNTIME}]",
)
@click.option("--allow-plain-http", is_flag=True, help="Send the token in the clear, inside a network of your own.")
@json_option
def enroll(
    hub_url: str,
    code: str,
    name: str,
    folder: Path | None,
    ca_file: str | None,
    runtime_names: tuple[str, ...],
    allow_plain_http: bool,
    as_json: bool,
) -> None:
    """Enrol this board at the hub HUB_URL with the one-time CODE that its keeper was given.

    Enrolling again after the board was retired keeps what is still to be sent.
    """
    from ..devices.enrolling import enrol
    from ..devices.hub_connection import Place

    home = _home(folder)
    runtimes = tuple(_named(one) for one in runtime_names or (DEFAULT_RUNTIME,))
    made = enrol(home, Place(hub_url.rstrip("/"), ca_file or "", allow_plain_http), code, runtimes, name=name)
    if as_json:
        told = {"name": made.name, "agent_id": made.agent_id, "hub": made.hub_url, "device": made.device.identity}
        print_json({**told, "home": str(home.folder)})
        return
    click.echo(f"This board is {made.name} at {made.hub_url}. Its token is in {home.folder}.")
    click.echo(f"Next: edgecost agent run{'' if folder is None else f' --home {shlex.quote(str(folder))}'}")


@agent.command(epilog="Example:  edgecost agent run --until-idle 10m")
@home_option
@click.option("--until-idle", "until_idle_s", type=BudgetType(), help="End when there was no work for this time.")
@click.option("--cpu", "cpus", type=click.IntRange(min=0), multiple=True, help="Pin runners to this CPU; repeatable.")
@click.option("--meter", metavar="NAME", default="", help="Power meter, see `edgecost doctor`.  [default: the board's]")
@click.option(
    "--control", default="", metavar="NAME", help="Apply a control profile meanwhile, see `edgecost control list`."
)
def run(folder: Path | None, until_idle_s: float | None, cpus: tuple[int, ...], meter: str, control: str) -> None:
    """Measure what the hub asks for, until told to end (SIGTERM, Ctrl-C).

    Results are kept in the agent's folder until the hub has them: a hub that is away is waited for, and after a power
    cut the next start goes on.
    """
    from ..devices.agent_loop import Manner
    from ..profiler.errors import UsageError
    from ..profiler.runtimes import allowed_cpus
    from .agent_process import command, with_one_arena

    missing = sorted(set(cpus) - set(allowed_cpus()))
    if missing:
        raise UsageError(f"CPU {missing[0]} is not among those that this process may use: {allowed_cpus()}")
    manner = Manner(until_idle_s, tuple(sorted(set(cpus))), meter=meter, control=control)
    started = command(_home(folder).folder, manner)
    os.execve(started[0], started, with_one_arena(os.environ))


@agent.command(epilog="Example:  edgecost agent status")
@home_option
@json_option
def status(folder: Path | None, as_json: bool) -> None:
    """What this board's agent holds and has sent, when its hub was last heard, and which runtimes it can use."""
    from ..devices.offers import Offers

    home = _home(folder)
    membership = home.read()
    offers = Offers(membership.runtimes).look()
    counts = _counts(home)
    heard = _last_contact(home)
    if as_json:
        print_json(
            {
                "name": membership.name,
                "agent_id": membership.agent_id,
                "hub": membership.hub_url,
                "device": membership.device.identity,
                "running": home.is_running(),
                "last_contact": heard,
                "spool": None if counts is None else {**vars(counts), "receipts": dict(counts.receipts)},
                "runtimes": [
                    {"name": one.name, "usable": one.profile is not None, "problem": one.problem or None}
                    for one in offers
                ],
            }
        )
        return
    state = "runs" if home.is_running() else "does not run"
    click.echo(f"{membership.name} at {membership.hub_url} {state}; the hub was heard {heard or 'never'}.")
    if counts is not None:
        click.echo(
            f"In hand: {counts.leases} leases with {counts.attempts_begun} attempts begun. To be sent: {counts.waiting}"
            f" results; refused: {counts.refused}. Sent: {sum(counts.receipts.values())}."
        )
    rows = [[one.name, one.problem or "yes"] for one in offers]
    print_table("Runtimes that it offers", ["name", "usable"], rows, left=2)


@agent.command(epilog="Example:  edgecost agent systemd > /etc/systemd/system/edgecost-agent.service")
def systemd() -> None:
    """Print a systemd unit that runs the agent as a user without rights."""
    from ..devices.systemd_unit import agent_unit, own_command

    click.echo(agent_unit(own_command()), nl=False)


def _home(folder: Path | None) -> AgentHome:
    from ..devices.agent_home import AgentHome

    if folder is None:
        from platformdirs import user_state_dir

        folder = Path(user_state_dir("edgecost", appauthor=False), "agent")
    return AgentHome(folder.expanduser().absolute())


def _named(name: str) -> NamedRuntime:
    from ..profiler.runtimes import BUILT_IN

    if name in BUILT_IN:
        return BUILT_IN[name]
    from ..costmodels.named_runtimes import find_runtime  # a runtime of one's own stands in the store

    return find_runtime(name)


def _counts(home: AgentHome) -> SpoolCounts | None:
    from ..devices.spool import Spool

    if not home.spool_path.exists():
        return None
    spool = Spool(home.spool_path)
    try:
        return spool.counts()
    finally:
        spool.close()


def _last_contact(home: AgentHome) -> str | None:
    from datetime import datetime, timezone

    try:
        seconds = home.contact_path.stat().st_mtime
    except FileNotFoundError:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
