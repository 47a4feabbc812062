"""What the pages of workloads and measurements show: a graph wherever it was measured, and one measurement whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...db import Store
from ...db.browsing import WorkloadHead
from ...profiler.records import Json, Measurement, RuntimeProfile
from .asking import DevicePrice, breakdown
from .charts import Chart, Strips, course, strips

#: Rows of a list.
_SHOWN = 200
#: Measurements whose visits are drawn.
_DRAWN = 12


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
    device_memory_bytes: int | None
    finished_at: str


@dataclass(frozen=True)
class WorkloadsView:
    """What a search found; ``is_cut`` where there is more."""

    text: str
    found: tuple[WorkloadHead, ...]
    is_cut: bool


@dataclass(frozen=True)
class WorkloadView:
    """One graph on all devices, the newest first.

    Attributes:
        visits: of the newest measurements, every one that counts.
        breakdown: its price and kernels where it was measured last and there is a predictor; None without one.
    """

    workload: WorkloadHead
    measurements: tuple[MeasurementRow, ...]
    visits: Strips | None
    breakdown: DevicePrice | None


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


def workloads_view(store: Store, text: str) -> WorkloadsView:
    """Workloads by a part of their name."""
    found = store.browsing.workloads(text, _SHOWN + 1)
    return WorkloadsView(text, tuple(found[:_SHOWN]), len(found) > _SHOWN)


def workload_view(store: Store, head: WorkloadHead) -> WorkloadView:
    """One graph."""
    made = store.browsing.newest(graph_hash=head.graph_hash, limit=_SHOWN)
    rows = measurement_rows(store, made)
    pairs = list(dict.fromkeys((one.device_identity, one.profile_hash) for one in made))
    return WorkloadView(head, rows, _visits(store, head, rows), breakdown(store, head.graph_hash, pairs))


def _visits(store: Store, head: WorkloadHead, rows: Sequence[MeasurementRow]) -> Strips | None:
    """Of the newest measurements, in the order of the table."""
    told = {one.measurement_id: one for one in rows}
    drawn = []
    for one in store.browsing.newest(graph_hash=head.graph_hash, limit=_DRAWN, with_visits=True):
        values = [visit.value_ns / 1e6 for visit in one.visits if visit.value_ns]
        row = told.get(one.measurement_id)
        if row is not None:
            label = f"{row.device}, {row.profile}, {row.finished_at[:16].replace('T', ' ')}: {len(values)} visits"
            drawn.append((label, values))
    return strips(f"every visit of {head.name} that counts, and the median of each measurement", "ms", drawn)


def measurement_view(store: Store, measurement_id: str) -> MeasurementView:
    """One measurement.

    Raises:
        UsageError: there is no such measurement.
    """
    made = store.browsing.measurement(measurement_id)
    (row,) = measurement_rows(store, [made])
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


def measurement_rows(store: Store, made: Sequence[Measurement]) -> tuple[MeasurementRow, ...]:
    """With the names of what they are of."""
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
                device_memory_bytes=None if memory is None else memory.device_bytes,
                finished_at=one.finished_at,
            )
        )
    return tuple(found)


def _label(profile: RuntimeProfile | None) -> str:
    return "–" if profile is None else profile.label


def _why(made: Measurement) -> str:
    """What a measurement says in words; an energy or memory without a number says why."""
    if made.energy is not None and not made.energy.status.has_number:
        return f"{made.energy.status.value}: {made.energy.message}"
    return made.message or (made.peak_memory.message if made.peak_memory is not None else "")
