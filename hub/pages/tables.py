"""Lookup tables as pages: made from the store when somebody looks, and handed out in any format."""

from __future__ import annotations

import io
import math
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ...costmodels.dataset import BLOCK_PURPOSES
from ...costmodels.device_table import device_table
from ...costmodels.fleet.pool import Pool, choose_pool
from ...costmodels.fleet.pool_lut import build_pool_lut, pool_networks
from ...costmodels.lut import Lut, LutCell
from ...costmodels.lut_formats import format_names, lut_format
from ...costmodels.network_scale import MeasuredNetworks, networks_in_store
from ...costmodels.predictor_file import load_predictor
from ...costmodels.predictor_folder import default_predictor
from ...costmodels.space import Space
from ...costmodels.space_file import load_space, plugin_space_names, space_names
from ...db import Store
from ...profiler.errors import UsageError
from ...profiler.records import Device, RuntimeProfile
from .commands import Doer, doer_of

#: In the place of a device's identity.
POOL = "pool"
#: Shades of a heat map.
SHADES = 9
#: Cells that a page shows; larger tables are for files.
_CELLS_MAX = 4000


@dataclass(frozen=True)
class TableRow:
    """A space on a device and runtime that it was measured on, or on a pool of boards.

    Attributes:
        identity: of the device; ``pool`` for a pool, whose selector stands in ``profile_hash``.
    """

    space: str
    device: str
    identity: str
    profile: str
    profile_hash: str


@dataclass(frozen=True)
class TablesView:
    """Tables that can be made."""

    tables: tuple[TableRow, ...]


@dataclass(frozen=True)
class HeatCell:
    """One cell of a table. ``shade`` is from 0, the cheapest, to ``SHADES`` − 1 on a logarithmic scale."""

    key: str
    choice: str
    latency_ms: float
    energy_mj: float | None
    source: str
    shade: int


@dataclass(frozen=True)
class HeatRow:
    """All choices at one place of the space."""

    place: str
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True)
class TableView:
    """A table as a heat map.

    Attributes:
        sources: how many cells by where their latency is from.
        formats: name, and whose code reads it; those that can hold this space.
    """

    row: TableRow
    cells: int
    sources: Mapping[str, int]
    scale: float
    scale_fitted_on: int
    interval: str
    energy: str
    heat: tuple[HeatRow, ...]
    low_ms: float | None
    high_ms: float | None
    formats: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Made:
    """A table with what it was made for; ``pool`` is None for a device."""

    row: TableRow
    table: Lut
    space: Space
    profile: RuntimeProfile
    pool: Pool | None

    def networks(self, store: Store) -> MeasuredNetworks:
        """The whole networks of the space that were measured there."""
        if self.pool is not None:
            return pool_networks(store, self.space, self.pool)
        return networks_in_store(store, self.row.identity, self.profile, self.space)

    def doer(self, store: Store) -> Doer:
        """Who can measure more."""
        if self.pool is not None:
            return Doer(self.row.profile_hash)
        return doer_of(store, self.row.identity, self.profile)


def tables_view(store: Store) -> TablesView:
    """Spaces that a campaign was for, on all that was measured."""
    known = {*space_names(), *plugin_space_names()}
    spaces = sorted({one.space for one in store.campaigns()} & known)
    devices = {one.identity: one for one in store.devices()}
    found = []
    for identity, profile_hash in store.measured_pairs(BLOCK_PURPOSES):
        profile = store.profile(profile_hash)
        if profile is not None:
            found += [_row(space, devices[identity], profile) for space in spaces]
    return TablesView((*_pools(store, spaces), *found))


def table_view(store: Store, space: str, identity: str, profile_hash: str) -> TableView:
    """One table.

    Raises:
        UsageError: there is no such space, device or profile, or the table is too large for a page.
        GateError: a cell was neither measured nor can be predicted.
    """
    found = make_table(store, space, identity, profile_hash)
    row, table, made = found.row, found.table, found.space
    rows = [cell for cell in table.cells if cell.source != "absent"]
    if len(rows) > _CELLS_MAX:
        raise UsageError(f"{len(rows):,} cells are too many for a page", remedy="edgecost lut build, or lut fill")
    known = [cell.latency_ms for cell in rows if cell.latency_ms > 0]
    low, high = (min(known), max(known)) if known else (None, None)
    sources = [cell.source for cell in rows]
    return TableView(
        row=row,
        cells=len(rows),
        sources={source: sources.count(source) for source in sorted(set(sources))},
        scale=table.scale,
        scale_fitted_on=table.scale_fitted_on,
        interval=str(table.provenance.get("interval", "")),
        energy=str(table.provenance.get("energy", "") or _left_out(table)),
        heat=_heat(made, {cell.key: cell for cell in rows}, low, high),
        low_ms=low,
        high_ms=high,
        formats=tuple((name, card.title) for name in format_names() if (card := lut_format(name).card)
                      and (not card.spaces or space in card.spaces)),
    )  # fmt: skip


def _left_out(table: Lut) -> str:
    why = table.provenance.get("energy_left_out")
    return f"left out, since {why}" if why else ""


def table_files(store: Store, space: str, identity: str, profile_hash: str, format_name: str) -> tuple[str, bytes]:
    """A table in a format: the name of the file, which is a ZIP where there are several, and its contents.

    Raises:
        UsageError, GateError: as ``table_view``, or the format cannot hold the table.
    """
    writer = lut_format(format_name)
    made = make_table(store, space, identity, profile_hash)
    with TemporaryDirectory(prefix="edgecost-") as folder:
        files = writer.write(made.table, made.space, Path(folder))
        if len(files) == 1:
            return files[0].name, files[0].read_bytes()
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, file.relative_to(folder))
        return f"{files[0].stem}.zip", packed.getvalue()


def make_table(store: Store, name: str, identity: str, profile_hash: str) -> Made:
    """The table of a space on a device, or on a pool; raises as ``table_view``."""
    if name not in (*space_names(), *plugin_space_names()):
        raise UsageError(f"there is no space {name}", remedy="edgecost space list")
    space = load_space(name)
    if identity == POOL:
        pool = choose_pool(store, profile_hash)
        row = TableRow(name, pool.device.name, POOL, pool.profile.label, profile_hash)
        return Made(row, build_pool_lut(store, space, pool), space, pool.profile, pool)
    device = next((one for one in store.devices() if one.identity == identity), None)
    profile = store.profile(profile_hash)
    if device is None or profile is None:
        raise UsageError("there is no such device or runtime profile")
    place = default_predictor(identity, profile)
    model = load_predictor(place, metric="latency")[0] if (place / "predictor.json").exists() else None
    environments = store.environments_of(identity, profile_hash)
    environment = environments[0] if len(environments) == 1 else f"{len(environments)} environments"
    table = device_table(store, space, device, profile, environment, model)
    return Made(_row(name, device, profile), table, space, profile, None)


def _pools(store: Store, spaces: Sequence[str]) -> list[TableRow]:
    """Every pool of more than one board that has a name, with each runtime that its boards offer."""
    offered = Counter(
        (f"pool={agent.labels['pool']},runtime={offer.name}", offer.label)
        for agent in store.fleet.agents()
        if agent.state == "active" and "pool" in agent.labels
        for offer in agent.usable
    )
    return [
        TableRow(space, selector, POOL, label, selector)
        for (selector, label), boards in offered.items()
        for space in spaces
        if boards > 1
    ]


def _row(space: str, device: Device, profile: RuntimeProfile) -> TableRow:
    return TableRow(space, device.name, device.identity, profile.label, profile.profile_hash)


def _heat(space: Space, rows: Mapping[str, LutCell], low: float | None, high: float | None) -> tuple[HeatRow, ...]:
    """Cells that stand at one place of a network side by side, the cheapest first."""
    places: dict[str, list[HeatCell]] = {}
    for cell in space.measurable:
        if cell.key not in rows:
            continue
        spec, row = cell.spec, rows[cell.key]
        shapes = " → ".join("×".join(map(str, shape[1:])) for shape in (cell.input_shape, cell.output_shape))
        choice = f"k{spec.kernel}" + (f" e{spec.expand:g}" if spec.expand else "") + (" se" if spec.squeeze else "")
        shade = _shade(row.latency_ms, low, high)
        heat = HeatCell(cell.key, choice, row.latency_ms, row.energy_mj, row.source, shade)
        places.setdefault(f"{spec.block.replace('_', ' ')} {shapes}", []).append(heat)
    return tuple(
        HeatRow(place, tuple(sorted(cells, key=lambda one: one.latency_ms))) for place, cells in places.items()
    )


def _shade(latency_ms: float, low: float | None, high: float | None) -> int:
    if low is None or high is None or latency_ms <= 0 or high <= low:
        return 0
    return min(SHADES - 1, int(math.log(latency_ms / low) / math.log(high / low) * SHADES))
