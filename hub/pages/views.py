"""What the pages of a fleet show: boards and campaigns. Records, so that a page and JSON say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean

from ...db import Store
from ...db.fleet.records import AgentWork, JobView
from ...db.records import CampaignSummary
from ...profiler.records import Json, Measurement, Status
from ..messages import DeviceView, device_view
from .charts import Chart, course
from .growth import EfficiencyView, Shelf
from .workloads import MeasurementRow, measurement_rows

#: A board that was not heard of for this long is told of.
SILENT_S = 180.0
_JOBS_SHOWN, _NEWEST, _TRACED = 200, 50, 200
#: Each is asked by itself for what its last attempt said.
_FAILED_SHOWN = 50
#: Of a course: a rate from fewer says nothing.
_PACE_MIN = 5


@dataclass(frozen=True)
class BoardRow:
    """One board in the list.

    Attributes:
        is_silent: it should have said something by now.
        temperature_celsius: of its hottest zone at its last word; None where it tells none.
        clock_mhz: mean of its CPUs, likewise.
        rejected_share: of the attempts of all days that were added up; None before any was.
        attempts_each: attempts that each usable measurement took, likewise.
        efficiencies: of each predictor that the hub's machine has for it.
    """

    board: DeviceView
    is_virtual: bool
    is_silent: bool
    temperature_celsius: float | None
    clock_mhz: float | None
    rejected_share: float | None
    attempts_each: float | None
    efficiencies: tuple[EfficiencyView, ...]


@dataclass(frozen=True)
class FleetView:
    """All boards, and when this was."""

    boards: tuple[BoardRow, ...]
    server_time: str
    work: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class BoardView:
    """One board, what it does, and how it was while it measured."""

    row: BoardRow
    jobs: tuple[JobView, ...]
    newest: tuple[MeasurementRow, ...]
    charts: tuple[Chart, ...]


@dataclass(frozen=True)
class CampaignView:
    """A campaign's progress.

    Attributes:
        open_jobs: pending and leased.
        per_minute: results since the first one; None for too few.
        left_s: until the end at that pace, and ``ends_at`` when that is, likewise.
    """

    campaign: CampaignSummary
    open_jobs: int
    per_minute: float | None
    left_s: float | None
    ends_at: str | None
    by_board: Mapping[str, int]
    in_hand: tuple[JobView, ...]
    failed: tuple[JobView, ...]


@dataclass(frozen=True)
class CampaignsView:
    """All campaigns, the newest first."""

    campaigns: tuple[CampaignSummary, ...]


def fleet_view(store: Store, shelf: Shelf) -> FleetView:
    """All boards."""
    server_time = store.fleet.server_time()
    counts = _counts(store)
    work = store.fleet.agents_with_work()
    boards = tuple(_board_row(one, server_time, counts.get(one.agent.device_identity), shelf) for one in work)
    busy = store.fleet.jobs(campaign=None, states=("leased",), after=0, limit=_JOBS_SHOWN)
    return FleetView(boards, server_time, tuple((job.holder or "", job.label) for job in busy))


def board_view(store: Store, name: str, shelf: Shelf) -> BoardView:
    """One board.

    Raises:
        UsageError: there is no such board.
    """
    work = store.fleet.agent(name)
    identity = work.agent.device_identity
    row = _board_row(work, store.fleet.server_time(), _counts(store, identity).get(identity), shelf)
    busy = store.fleet.jobs(campaign=None, states=("leased",), after=0, limit=1000)
    newest = store.browsing.newest(device_identity=identity, limit=_TRACED, with_visits=True)
    return BoardView(
        row,
        tuple(job for job in busy if job.holder == work.agent.name),
        measurement_rows(store, newest[:_NEWEST]),
        tuple(_traces(newest[::-1])),
    )


def campaigns_view(store: Store) -> CampaignsView:
    """All campaigns."""
    return CampaignsView(tuple(reversed(store.campaigns())))


def campaign_view(store: Store, campaign: CampaignSummary) -> CampaignView:
    """One campaign."""
    open_jobs = campaign.jobs["pending"] + campaign.jobs["leased"]
    pace = store.browsing.pace(campaign.id)
    per_minute = pace.per_minute if pace.results >= _PACE_MIN else None
    left_s = None if per_minute is None else open_jobs / per_minute * 60
    ends_at = None
    if left_s is not None and open_jobs:
        now = datetime.fromisoformat(store.fleet.server_time())
        ends_at = (now + timedelta(seconds=left_s)).isoformat(timespec="seconds")
    jobs = store.fleet.jobs
    failed = [
        store.fleet.job(one.id)[0]
        for one in jobs(campaign=campaign.name, states=("failed",), after=0, limit=_FAILED_SHOWN)
    ]
    return CampaignView(
        campaign,
        open_jobs,
        per_minute,
        left_s,
        ends_at,
        store.fleet.accepted_by(campaign.id),
        tuple(jobs(campaign=campaign.name, states=("leased",), after=0, limit=_JOBS_SHOWN)),
        tuple(failed),
    )


@dataclass
class _Counts:
    """Attempts of a board, as far as days were added up."""

    attempts: int = 0
    usable: int = 0
    rejected: int = 0


def _board_row(work: AgentWork, server_time: str, counts: _Counts | None, shelf: Shelf) -> BoardRow:
    agent = work.agent
    view = device_view(agent, work.jobs_held, work.accepted, work.attempts, work.late, work.killed)
    heard = agent.last_seen
    silent_s = (datetime.fromisoformat(server_time) - datetime.fromisoformat(heard)).total_seconds() if heard else 0.0
    return BoardRow(
        view,
        agent.is_virtual,
        agent.state != "retired" and silent_s > SILENT_S,
        max(_numbers(agent.conditions, "temperatures_celsius"), default=None),
        _mean(_numbers(agent.conditions, "clocks_mhz")),
        None if counts is None or not counts.attempts else counts.rejected / counts.attempts,
        None if counts is None or not counts.usable else counts.attempts / counts.usable,
        shelf.efficiencies(agent.device_identity, list(dict.fromkeys(one.profile_hash for one in agent.usable))),
    )


def _counts(store: Store, identity: str | None = None) -> dict[str, _Counts]:
    found: dict[str, _Counts] = {}
    for day in store.daily(device_identity=identity):
        counts = found.setdefault(day.device_identity, _Counts())
        counts.attempts += day.attempts
        counts.usable += day.usable
        counts.rejected += day.rejected
    return found


def _traces(made: Sequence[Measurement]) -> list[Chart]:
    """How hot the board was, and how fast its CPUs, at the end of each measurement that says so."""
    found = []
    for title, unit, name, value in (
        ("temperature of the hottest zone", "°C", "temperatures_celsius", lambda some: max(some)),
        ("mean clock of the CPUs", "MHz", "clocks_mhz", fmean),
        ("canary, the same short work all the time", "µs", "canary_us", fmean),
    ):
        told = [(one.finished_at, _of(one.conditions, name)) for one in made]
        known = [(when, value(numbers)) for when, numbers in told if numbers]
        made_chart = course(f"{title}, newest {len(known)} measurements", unit, *_columns(known))
        found += [made_chart] if made_chart else []
    lost = [(one.finished_at, _lost(one)) for one in made if one.visits]
    if any(share for _, share in lost):
        title = f"visits that did not count (heat, throttling, other work), newest {len(lost)} measurements"
        chart = course(title, "%", *_columns(lost))
        found += [chart] if chart else []
    again = course(
        "graphs measured again, relative to their first time here", "×", *_columns(_again(made)), is_line=False
    )
    return [*found, again] if again else found


def _lost(made: Measurement) -> float:
    """Per cent of the visits; all of those of an attempt that was rejected as a whole."""
    if made.status is Status.REJECTED:
        return 100.0
    return 100.0 * sum(1 for visit in made.visits if visit.reject_reason) / len(made.visits)


def _again(made: Sequence[Measurement]) -> list[tuple[str, float]]:
    """What the device says of itself by saying the same again: above 1 it has become slower, or hotter."""
    first: dict[tuple[str, str], float] = {}
    found = []
    for one in made:
        if one.latency is None:
            continue
        key = (one.graph_hash, one.profile_hash)
        if key in first:
            found.append((one.finished_at, one.latency.median_ms / first[key]))
        first.setdefault(key, one.latency.median_ms)
    return found


def _columns(rows: Sequence[tuple[str, float]]) -> tuple[list[str], list[float]]:
    return [when for when, _ in rows], [value for _, value in rows]


def _of(conditions: Mapping[str, Json], name: str) -> list[float]:
    after = conditions.get("after")
    if name in conditions:
        return _numbers(conditions, name)
    return _numbers(after, name) if isinstance(after, dict) else []


def _numbers(conditions: Mapping[str, Json], name: str) -> list[float]:
    found = conditions.get(name)
    values = found if isinstance(found, list | tuple) else [found]
    return [float(one) for one in values if isinstance(one, int | float) and not isinstance(one, bool)]


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
