"""Where two tables of one space disagree: another device, another runtime, another day.

The first answer is one factor, the median ratio of their cells. What differs after it is what a search would decide
differently: cells that are dearer or cheaper than the rest, and networks whose order changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from ..profiler.errors import UsageError
from .lut import Lut
from .space import Space

Floats = npt.NDArray[np.float64]
_NETWORKS = 1000
#: Where provenance says what kind of difference it is.
_SETTING = ("device", "profile_label", "precision", "batch", "created")


@dataclass(frozen=True)
class CellDifference:
    """One cell.

    Attributes:
        ratio: the second latency over the first.
        beyond: the ratio over the tables' common factor.
        intervals_apart: whether the intervals do not touch after the common factor; None where a table has none.
    """

    key: str
    layer: str
    first_ms: float
    second_ms: float
    ratio: float
    beyond: float
    intervals_apart: bool | None


@dataclass(frozen=True)
class LayerDifference:
    """Cells of one layer together: the median of ``beyond``, and how many there are."""

    layer: str
    cells: int
    beyond: float


@dataclass(frozen=True)
class LutDiff:
    """Two tables side by side.

    Attributes:
        factor: median ratio of second to first over the cells that both hold.
        spread: median of |log(beyond)|, as a share.
        cells: the one that is furthest from the factor first.
        rank_cells, rank_networks: Spearman's ρ of cells and of random networks; None where all values are equal, and
            for networks where a table lacks cells.
        network_factor: median ratio of the corrected networks.
        changed: names of provenance that differ, with both values.
    """

    factor: float
    spread: float
    cells: tuple[CellDifference, ...]
    layers: tuple[LayerDifference, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    rank_cells: float | None
    rank_networks: float | None
    network_factor: float | None
    changed: dict[str, tuple[str, str]]


def diff_luts(first: Lut, second: Lut, space: Space, *, seed: int = 0) -> LutDiff:
    """Compare two tables of one space.

    Args:
        seed: of the random networks.

    Raises:
        UsageError: they are of different spaces, resolutions or widths, or share no cell.
    """
    for name in ("space", "resolution", "width"):
        if first.provenance[name] != second.provenance[name]:
            raise UsageError(
                f"the tables have different values of {name}: {first.provenance[name]} and {second.provenance[name]}",
                remedy="Compare two tables of one space, resolution and width.",
            )
    shared = [cell for cell in space.measurable if cell.key in first and cell.key in second]
    if not shared:
        raise UsageError("the tables share no cell of the space", remedy="Give two tables of one space.")
    rows = [(first.query(cell.key), second.query(cell.key)) for cell in shared]
    ratios = np.array([b.latency_ms / a.latency_ms for a, b in rows])
    factor = float(np.median(ratios))
    cells = [
        CellDifference(
            cell.key, cell.layer, a.latency_ms, b.latency_ms, float(ratio), float(ratio / factor),
            _apart(a.lo_ms, a.hi_ms, b.lo_ms, b.hi_ms, factor),
        )
        for cell, (a, b), ratio in zip(shared, rows, ratios, strict=True)
    ]  # fmt: skip
    rank, network_factor = _networks(first, second, space, seed)
    return LutDiff(
        factor=factor,
        spread=float(np.expm1(np.median(np.abs(np.log(ratios / factor))))),
        cells=tuple(sorted(cells, key=lambda cell: -abs(np.log(cell.beyond)))),
        layers=_layers(cells),
        only_first=tuple(key for key in first.keys if key not in second),
        only_second=tuple(key for key in second.keys if key not in first),
        rank_cells=_rank(np.array([a.latency_ms for a, _ in rows]), np.array([b.latency_ms for _, b in rows])),
        rank_networks=rank,
        network_factor=network_factor,
        changed={
            name: (str(first.provenance[name]), str(second.provenance[name]))
            for name in _SETTING
            if first.provenance[name] != second.provenance[name]
        },
    )


def _apart(
    lo_a: float | None, hi_a: float | None, lo_b: float | None, hi_b: float | None, factor: float
) -> bool | None:
    if lo_a is None or hi_a is None or lo_b is None or hi_b is None:
        return None
    return bool(hi_a * factor < lo_b or hi_b < lo_a * factor)


def _layers(cells: list[CellDifference]) -> tuple[LayerDifference, ...]:
    by_layer: dict[str, list[float]] = {}
    for cell in cells:
        by_layer.setdefault(cell.layer, []).append(cell.beyond)
    return tuple(
        LayerDifference(layer, len(ratios), float(np.exp(np.median(np.log(ratios)))))
        for layer, ratios in by_layer.items()
    )


def _networks(first: Lut, second: Lut, space: Space, seed: int) -> tuple[float | None, float | None]:
    if first.missing(space) or second.missing(space):
        return None, None
    archs = space.sample(min(_NETWORKS, space.size), seed)
    left, right = (lut.price(archs, space=space) for lut in (first, second))
    return _rank(left, right), float(np.median(right / left))


def _rank(left: Floats, right: Floats) -> float | None:
    if len(left) < 3 or not np.ptp(left) or not np.ptp(right):
        return None
    return float(spearmanr(left, right).statistic)
