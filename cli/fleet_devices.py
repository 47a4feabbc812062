"""``edgecost devices``: the boards of a fleet: what they are, when they were seen, what they did; and to steer them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from .hubs import keeper
from .options import db_option, json_option
from .output import change, few, interval, print_json, print_table
from .sparkline import course, printed_blocks

if TYPE_CHECKING:
    from ..costmodels.reports.device import AnchorCourse, CanaryCourse
    from ..db import Store
    from ..db.fleet.records import Agent, AgentWork

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400
_US_PER_MS = 1e3


@click.group()
def devices() -> None:
    """The boards of a fleet."""


@devices.command("list", epilog="Example:  edgecost devices list --select pool=nano")
@click.option("--select", "selector", metavar="SELECTOR", help="Only boards that match, like pool=nano,runtime=ort.")
@db_option
@json_option
def list_devices(selector: str | None, db_url: str | None, as_json: bool) -> None:
    """All boards: labels, state, runtimes, when they were seen, and what became of their results."""
    from ..db import Store
    from ..db.fleet.selector import Selector

    chosen = None if selector is None else Selector.parse(selector)
    with Store(db_url) as store:
        found = store.fleet.agents_with_work()
        now = store.fleet.server_time()
    shown = [one for one in found if chosen is None or chosen.matches(one.agent.all_labels())]
    if as_json:
        print_json({"devices": [_document(one) for one in shown]})
        return
    if not shown:
        click.echo("There are no boards yet." if not found else "No board matches.", err=True)
        click.echo("Let one in:  edgecost hub enroll --label pool=nano", err=True)
        return
    rows = [
        [
            one.agent.name,
            ", ".join(f"{key}={value}" for key, value in sorted(one.agent.labels.items())) or "–",
            f"{one.agent.state}, virtual" if one.agent.is_virtual else one.agent.state,
            few([offer.name for offer in one.agent.usable]) or "none",
            ago(one.agent.last_seen, now),
            str(one.jobs_held),
            str(one.accepted),
            str(one.attempts),
            str(one.late),
            str(one.killed),
        ]
        for one in shown
    ]
    columns = ["board", "labels", "state", "runtimes", "seen", "holds", "accepted", "failed", "late", "killed by"]
    print_table("Boards", columns, rows, left=5)


@devices.command(epilog="Example:  edgecost devices show nano-1")
@click.argument("name")
@db_option
@json_option
def show(name: str, db_url: str | None, as_json: bool) -> None:
    """One board, by its name or the beginning of its identity: what it is, and how it was from session to session.

    The canary is the same short work in every session, an anchor a graph that is measured again from time to time: what
    has become slower is too hot, worn or disturbed. `edgecost report device` draws both large.
    """
    from ..db import Store

    with Store(db_url) as store:
        found, now = store.fleet.agent(name), store.fleet.server_time()
        courses = [] if as_json else _courses(store, found.agent)
    if as_json:
        print_json(_document(found))
        return
    agent = found.agent
    rows = [
        ["identity", agent.device_identity],
        ["description", agent.description],
        ["labels", ", ".join(f"{key}={value}" for key, value in sorted(agent.labels.items())) or "none"],
        ["state", agent.state],
        ["enrolled", f"{agent.enrolled_at[:19]} UTC"],
        ["seen", f"{ago(agent.last_seen, now)}, from {agent.last_address or 'nowhere'}"],
        ["edgecost", agent.agent_version],
        ["clock", "unknown" if agent.clock_offset_s is None else f"{agent.clock_offset_s:+.1f} s at its last start"],
        ["holds", f"{found.jobs_held} jobs"],
        ["sent", f"{found.accepted} accepted, {found.attempts} failed, {found.late} late, {found.killed} deaths"],
        *([f"runtime {offer.name}", offer.label or f"not usable: {offer.problem}"] for offer in agent.offers),
        *courses,
        *([key.replace("_", " "), str(value)] for key, value in agent.conditions.items() if value not in (None, [])),
    ]
    print_table(agent.name, ["", ""], rows, left=2)


def _courses(store: Store, agent: Agent) -> list[list[str]]:
    """The board's own speed by runtime, session by session, as rows of a table; none where it was there but once."""
    from ..costmodels.reports.device import anchor_course, canary_course

    rows = []
    for offer in agent.usable:
        where = (agent.device_identity, offer.profile_hash, offer.name)
        canaries = canary_course(store, *where)
        if len(canaries.known_us) > 1:
            rows.append([f"canary, {offer.name}", _canary(canaries)])
        anchors = anchor_course(store, *where)
        if anchors is not None:
            rows.append([f"anchors, {offer.name}", _anchors(anchors)])
    return rows


def _canary(found: CanaryCourse) -> str:
    known_us = found.known_us
    drawn = course([one.canary_us for one in found.sessions], printed_blocks())
    ends = interval(min(known_us) / _US_PER_MS, max(known_us) / _US_PER_MS)
    told = "" if found.change is None else f"; the newest {change(found.change)} against the usual"
    return f"{drawn}  {ends} in {len(found.sessions)} sessions{told}"


def _anchors(found: AnchorCourse) -> str:
    changes = [one.change for one in found.sessions]
    drawn = course(changes, printed_blocks())
    ends = f"{change(min(changes))} … {change(max(changes))}"
    return f"{drawn}  {ends} in {len(changes)} sessions, against the first; the newest {change(changes[-1])}"


def _document(work: AgentWork) -> dict[str, object]:
    from dataclasses import asdict

    agent = asdict(work.agent)
    counted = ("jobs_held", "accepted", "attempts", "late", "killed")
    return {**agent, "is_virtual": work.agent.is_virtual, **{name: getattr(work, name) for name in counted}}


def ago(stamp: str | None, now: str) -> str:
    """How long ago, both by the database's clock; "never" for what never was."""
    if stamp is None:
        return "never"
    seconds = (datetime.fromisoformat(now) - datetime.fromisoformat(stamp)).total_seconds()
    for limit, unit, size in ((2 * _MINUTE_S, "s", 1), (2 * _HOUR_S, "min", _MINUTE_S), (2 * _DAY_S, "h", _HOUR_S)):
        if seconds < limit:
            return f"{max(0.0, seconds) / size:.0f} {unit} ago"
    return f"{seconds / _DAY_S:.0f} days ago"


def _steer(name: str, state: str, db_url: str | None, as_json: bool, told: str) -> None:
    from ..db import Store

    with Store(db_url) as store:
        agent: Agent = store.fleet.set_agent_state(name, state, by=keeper())
    if as_json:
        print_json({"name": agent.name, "state": agent.state})
    else:
        click.echo(f"{agent.name} {told}.", err=True)


@devices.command(epilog="Example:  edgecost devices drain nano-1")
@click.argument("name")
@db_option
@json_option
def drain(name: str, db_url: str | None, as_json: bool) -> None:
    """Let a board finish what it holds and take no more."""
    _steer(name, "draining", db_url, as_json, "finishes what it holds and takes no more")


@devices.command(epilog="Example:  edgecost devices resume nano-1")
@click.argument("name")
@db_option
@json_option
def resume(name: str, db_url: str | None, as_json: bool) -> None:
    """Let a draining board work again."""
    _steer(name, "active", db_url, as_json, "works again")


@devices.command(epilog="Example:  edgecost devices retire nano-1")
@click.argument("name")
@db_option
@json_option
def retire(name: str, db_url: str | None, as_json: bool) -> None:
    """Let a board leave for good: its token opens nothing, its open jobs go to others, its measurements stay."""
    _steer(name, "retired", db_url, as_json, "is retired; its measurements stay")
