"""What the pages of a fleet show: boards, campaigns, workloads. Records, so that a page and JSON say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean

from ...db import Store
from ...db.browsing import WorkloadHead
from ...db.fleet.records import AgentWork, JobView
from ...db.records import CampaignSummary
from ...profiler.records import Json, Measurement, RuntimeProfile
from ..messages import DeviceView, device_view
from .charts import Chart, course

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
    """

    board: DeviceView
    is_virtual: bool
    is_silent: bool
    temperature_celsius: float | None
    clock_mhz: float | None
    rejected_share: float | None


@dataclass(frozen=True)
class FleetView:
    """All boards, and when this was."""

    boards: tuple[BoardRow, ...]
    server_time: str
    work: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class MeasurementRow:
    """One measurement in a list."""

    measurement_id: str
    graph_hash: str
    name: str
    device: str
    profile: str
    purpose: str
    status: str
    message: str
    latency_ms: float | None
    lo_ms: float | None
    hi_ms: float | None
    energy_mj: float | None
    peak_memory_bytes: int | None
    finished_at: str


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
        left_s: until the end at that pace, likewise.
    """

    campaign: CampaignSummary
    open_jobs: int
    per_minute: float | None
    left_s: float | None
    by_board: Mapping[str, int]
    in_hand: tuple[JobView, ...]
    failed: tuple[JobView, ...]


@dataclass(frozen=True)
class CampaignsView:
    """All campaigns, the newest first."""

    campaigns: tuple[CampaignSummary, ...]


@dataclass(frozen=True)
class WorkloadsView:
    """What a search found; ``is_cut`` where there is more."""

    text: str
    found: tuple[WorkloadHead, ...]
    is_cut: bool


@dataclass(frozen=True)
class WorkloadView:
    """One graph on all devices, the newest first."""

    workload: WorkloadHead
    measurements: tuple[MeasurementRow, ...]


@dataclass(frozen=True)
class MeasurementView:
    """One measurement with its visits.

    Attributes:
        visits: None where the samples of its month are archived and no longer in the store.
        rejected_visits: those that the canary took away; None as ``visits``.
        rails: beside the energy of the whole, by name.
    """

    row: MeasurementRow
    conditions: Mapping[str, Json]
    overhead_ms: float | None
    visits: int | None
    rejected_visits: int | None
    chart: Chart | None
    rails: tuple[RailRow, ...]


@dataclass(frozen=True)
class RailRow:
    """What one rail took in the windows of a measurement."""

    rail: str
    scope: str
    status: str
    gross_mj: float | None
    lo_mj: float | None
    hi_mj: float | None
    net_mj: float | None


def fleet_view(store: Store) -> FleetView:
    """All boards."""
    server_time = store.fleet.server_time()
    shares = _rejected_shares(store)
    work = store.fleet.agents_with_work()
    boards = tuple(_board_row(one, server_time, shares.get(one.agent.device_identity)) for one in work)
    busy = store.fleet.jobs(campaign=None, states=("leased",), after=0, limit=_JOBS_SHOWN)
    return FleetView(boards, server_time, tuple((job.holder or "", job.label) for job in busy))


def board_view(store: Store, name: str) -> BoardView:
    """One board.

    Raises:
        UsageError: there is no such board.
    """
    work = store.fleet.agent(name)
    identity = work.agent.device_identity
    row = _board_row(work, store.fleet.server_time(), _rejected_shares(store, identity).get(identity))
    busy = store.fleet.jobs(campaign=None, states=("leased",), after=0, limit=1000)
    newest = store.browsing.newest(device_identity=identity, limit=_TRACED, with_visits=True)
    return BoardView(
        row,
        tuple(job for job in busy if job.holder == work.agent.name),
        _rows(store, newest[:_NEWEST]),
        tuple(_traces(newest[::-1])),
    )


def campaigns_view(store: Store) -> CampaignsView:
    """All campaigns."""
    return CampaignsView(tuple(reversed(store.campaigns())))


def campaign_view(store: Store, campaign: CampaignSummary) -> CampaignView:
    """One campaign."""
    open_jobs = campaign.jobs["pending"] + campaign.jobs["leased"]
    pace = store.browsing.pace(campaign.id)
    per_minute, left_s = None, None
    if pace.results >= _PACE_MIN and pace.first_at and pace.last_at:
        seconds = (datetime.fromisoformat(pace.last_at) - datetime.fromisoformat(pace.first_at)).total_seconds()
        if seconds > 0:
            per_minute = (pace.results - 1) / seconds * 60
            left_s = open_jobs / per_minute * 60
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
        store.fleet.accepted_by(campaign.id),
        tuple(jobs(campaign=campaign.name, states=("leased",), after=0, limit=_JOBS_SHOWN)),
        tuple(failed),
    )


def workloads_view(store: Store, text: str) -> WorkloadsView:
    """Workloads by a part of their name."""
    found = store.browsing.workloads(text, _JOBS_SHOWN + 1)
    return WorkloadsView(text, tuple(found[:_JOBS_SHOWN]), len(found) > _JOBS_SHOWN)


def workload_view(store: Store, head: WorkloadHead) -> WorkloadView:
    """One graph."""
    return WorkloadView(head, _rows(store, store.browsing.newest(graph_hash=head.graph_hash, limit=_JOBS_SHOWN)))


def measurement_view(store: Store, measurement_id: str) -> MeasurementView:
    """One measurement.

    Raises:
        UsageError: there is no such measurement.
    """
    made = store.browsing.measurement(measurement_id)
    (row,) = _rows(store, [made])
    values = [visit.value_ns / 1e6 for visit in made.visits if visit.value_ns is not None]
    title = f"time of each of {len(values)} visits of {row.name}, in the order in which they were made"
    chart = course(title, "ms", [str(at + 1) for at in range(len(values))], values, is_line=False)
    visits, rejected = (None, None) if made.lacks_samples else (len(made.visits), len(made.visits) - len(values))
    return MeasurementView(
        row, made.conditions, made.overhead_ms, visits, rejected, chart,
        tuple(
            RailRow(
                name, one.scope, one.status.value, one.gross_median_mj, one.gross_lo_mj, one.gross_hi_mj,
                one.net_median_mj,
            )
            for name, one in made.rails.items()
        ),
    )  # fmt: skip


def _board_row(work: AgentWork, server_time: str, rejected: float | None) -> BoardRow:
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
        rejected,
    )


def _rejected_shares(store: Store, identity: str | None = None) -> dict[str, float]:
    attempts: dict[str, list[int]] = {}
    for day in store.daily(device_identity=identity):
        counts = attempts.setdefault(day.device_identity, [0, 0])
        counts[0] += day.rejected
        counts[1] += day.attempts
    return {device: rejected / total for device, (rejected, total) in attempts.items() if total}


def _rows(store: Store, made: Sequence[Measurement]) -> tuple[MeasurementRow, ...]:
    names = store.browsing.names([one.graph_hash for one in made])
    devices = {one.identity: one.name for one in store.devices()}
    profiles = {one: store.profile(one) for one in {each.profile_hash for each in made}}
    found = []
    for one in made:
        latency, energy, memory = one.latency, one.energy, one.peak_memory
        found.append(
            MeasurementRow(
                measurement_id=one.measurement_id,
                graph_hash=one.graph_hash,
                name=names.get(one.graph_hash, one.graph_hash[:12]),
                device=devices.get(one.device_identity, one.device_identity[:12]),
                profile=_label(profiles[one.profile_hash]),
                purpose=one.purpose,
                status=one.status.value,
                message=_why(one),
                latency_ms=None if latency is None else latency.median_ms,
                lo_ms=None if latency is None else latency.lo_ms,
                hi_ms=None if latency is None else latency.hi_ms,
                energy_mj=None if energy is None else energy.gross_median_mj,
                peak_memory_bytes=None if memory is None else memory.peak_bytes,
                finished_at=one.finished_at,
            )
        )
    return tuple(found)


def _label(profile: RuntimeProfile | None) -> str:
    return "–" if profile is None else profile.label


def _why(made: Measurement) -> str:
    """What a measurement says in words; an energy without a number says why."""
    if made.energy is not None and not made.energy.status.has_number:
        return f"{made.energy.status.value}: {made.energy.message}"
    return made.message


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
    again = course(
        "graphs measured again, relative to their first time here", "×", *_columns(_again(made)), is_line=False
    )
    return [*found, again] if again else found


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
