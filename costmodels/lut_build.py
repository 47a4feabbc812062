"""Build the LUT of a space: measured cells where the store has them, predicted ones elsewhere, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from ..db import Store
from ..profiler.errors import GateError
from ..profiler.installed import edgecost_version
from ..profiler.kernels.by_runtime import priced_kernels
from ..profiler.records import SIMULATOR, VIRTUAL, Device, Json, RuntimeProfile
from .dataset import Sample, load_samples
from .grids.listed import can_be_listed, price_listed
from .lut import Lut, LutCell
from .lut_others import Known, Others, known_of, with_energy_and_memory
from .predictor import LatencyPredictor
from .space import Space
from .spaces.cell import Cell
from .training import ALPHA
from .validation import repeatability_radius


def build_lut(
    store: Store,
    space: Space,
    device: Device,
    profile: RuntimeProfile,
    environment_hash: str,
    predictor: LatencyPredictor | None,
    others: Others | None = None,
) -> Lut:
    """Every cell of a space on one device and profile.

    A measured cell's interval is the wider of its sessions' own 95 % interval and the repeatability radius (the
    difference between processes that 90 % of the panel stay within); a predicted cell's is the predictor's 90 %
    interval.

    Args:
        predictor: None leaves out cells that were not measured, which ends in ``GateError`` if there are any.
        others: what predicts the energy and the peak memory of cells where they were not measured.

    Raises:
        GateError: a cell was neither measured nor can be predicted; all such cells are listed.
    """
    samples = load_samples(store, device.identity, profile)
    known = known_of(store, device.identity, profile)
    return build_from_samples(space, device, profile, environment_hash, predictor, samples, known, others)


def build_from_samples(
    space: Space,
    device: Device,
    profile: RuntimeProfile,
    environment_hash: str,
    predictor: LatencyPredictor | None,
    samples: Sequence[Sample],
    known: Known,
    others: Others | None = None,
) -> Lut:
    """The same from what is already read, of one device or of several that are taken for one."""
    workloads = {cell.key: workload for cell in space.measurable if (workload := space.workload(cell)) is not None}
    hashes = {workload.graph_hash for workload in workloads.values()}
    measured = {sample.workload.graph_hash: sample for sample in samples if sample.workload.graph_hash in hashes}
    radius = repeatability_radius(samples)
    make_cell = _simulated_cell if profile.runtime == SIMULATOR else _measured_cell
    rows = {
        key: make_cell(key, measured[workload.graph_hash], radius)
        for key, workload in workloads.items()
        if workload.graph_hash in measured
    }
    left = [cell for cell in space.measurable if cell.key not in rows]
    if left:
        rows |= _predicted_cells(space, left, profile, predictor)
    provenance = lut_provenance(space, device, profile, environment_hash, radius, len(samples))
    cells, told = with_energy_and_memory(
        [rows[cell.key] for cell in space.measurable], workloads, profile, known, others or Others()
    )
    return Lut.from_cells(cells, {**provenance, **told})


def _measured_cell(key: str, sample: Sample, radius: float | None) -> LutCell:
    margin = radius or 0.0
    return LutCell(
        key=key,
        latency_ms=sample.latency_ms,
        lo_ms=min(sample.lo_ms, sample.latency_ms / (1 + margin)),
        hi_ms=max(sample.hi_ms, sample.latency_ms * (1 + margin)),
        n=sample.visits,
        source="measured",
    )


def _simulated_cell(key: str, sample: Sample, _: float | None) -> LutCell:
    """What a simulator said: it was not visited, and says nothing of how far it may be off."""
    return LutCell(key=key, latency_ms=sample.latency_ms, lo_ms=None, hi_ms=None, n=0, source="simulated")


def _predicted_cells(
    space: Space, left: Sequence[Cell], profile: RuntimeProfile, predictor: LatencyPredictor | None
) -> Mapping[str, LutCell]:
    if predictor is None:
        raise _incomplete(space, left, "not measured, and no predictor was given", "train one: edgecost train")
    by_block: dict[str, list[Cell]] = {}
    for cell in left:
        by_block.setdefault(cell.spec.block, []).append(cell)
    rows: dict[str, LutCell | None] = {}
    for cells in by_block.values():
        price = _together if can_be_listed(cells) else _one_by_one
        rows |= price(space, cells, profile, predictor)
    if unknown := [cell for cell in left if rows[cell.key] is None]:
        raise _incomplete(
            space,
            unknown,
            "neither measured nor predictable: no kernel of their kind was measured",
            f"measure more: edgecost campaign run --space {space.name}",
        )
    return {key: row for key, row in rows.items() if row is not None}


def _one_by_one(
    space: Space, cells: Sequence[Cell], profile: RuntimeProfile, predictor: LatencyPredictor
) -> dict[str, LutCell | None]:
    """The optimiser is asked for the kernels of each; None where a kernel has no price."""
    graphs = [
        priced_kernels(workload, profile).kernels for cell in cells if (workload := space.workload(cell)) is not None
    ]
    prices = zip(cells, predictor.price(graphs, alpha=ALPHA), strict=True)
    return {
        cell.key: None
        if price.is_lower_bound
        else LutCell(cell.key, price.total_ms, price.lo_ms, price.hi_ms, 0, "predicted")
        for cell, price in prices
    }


def _together(
    space: Space, cells: Sequence[Cell], profile: RuntimeProfile, predictor: LatencyPredictor
) -> dict[str, LutCell | None]:
    """The same numbers, from kernels that are learnt from some of the cells and checked on others."""
    found = price_listed(cells, predictor, profile)
    columns = zip(cells, *(one.tolist() for one in (found.latency_ms, found.lo_ms, found.hi_ms)), strict=True)
    return {
        cell.key: None
        if math.isnan(latency_ms)
        else LutCell(cell.key, latency_ms, _known(lo_ms), _known(hi_ms), 0, "predicted")
        for cell, latency_ms, lo_ms, hi_ms in columns
    }


def _known(bound_ms: float) -> float | None:
    return None if math.isnan(bound_ms) else bound_ms


def _incomplete(space: Space, cells: Sequence[Cell], why: str, remedy: str) -> GateError:
    listed = "\n".join(f"  {cell.key}" for cell in cells)
    return GateError(
        f"{len(cells)} of {len(space.measurable)} cells of {space.name} are {why}:\n{listed}", remedy=remedy
    )


def lut_provenance(
    space: Space,
    device: Device,
    profile: RuntimeProfile,
    environment_hash: str,
    radius: float | None,
    graphs: int,
) -> dict[str, Json]:
    """What a LUT's numbers stand on."""
    interval = "measured: 95 % of the median within the sessions"
    if profile.runtime == SIMULATOR:
        interval = "simulated: none"
    elif radius is not None:
        interval += f", at least ±{radius * 100:.2f} %, which 90 % of cells repeat within in another process"
    if profile.runtime == VIRTUAL:
        interval = f"of a virtual device, no board; {interval}"
    return {
        "space": space.name,
        "resolution": space.resolution,
        "width": space.width,
        "device": device.name,
        "device_identity": device.identity,
        "device_description": device.description,
        "profile_label": profile.label,
        "profile_hash": profile.profile_hash,
        "precision": profile.precision,
        "batch": 1,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "edgecost_version": edgecost_version(),
        "environment_hash": environment_hash,
        "interval": f"{interval}; predicted: conformal, {(1 - ALPHA) * 100:.0f} % of held-out graphs",
        "repeatability_radius": radius if radius is None or math.isfinite(radius) else None,
        "graphs_measured": graphs,
        "call_overhead": "none is simulated" if profile.runtime == SIMULATOR else "taken off each cell",
    }
