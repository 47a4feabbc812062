"""Which layers of an architecture its latency comes from, and which swaps inside the space meet a limit.

Without accuracies nobody knows what a swap costs a network's quality, so the work that is lost stands for it: of all
architectures below the limit the one is taken that keeps the most multiply-accumulates, by an exact walk over the
positions in steps of a fraction of the limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..profiler.errors import GateError
from .cell_macs import cell_macs
from .lut import Lut
from .space import Space
from .spaces.cell import Cell
from .spaces.coding import Numeric

#: Latencies are rounded up to this share of the limit, so that what meets it in steps meets it in milliseconds too.
_STEPS = 20_000
_NONE = -1


@dataclass(frozen=True)
class LayerCost:
    """One layer of an architecture: ``share`` is of the corrected total without the constant."""

    place: str
    cell: str
    latency_ms: float
    share: float
    macs: int


@dataclass(frozen=True)
class Swap:
    """One position that changes. ``after`` is None where the layer is left out."""

    place: str
    before: str | None
    after: str | None
    saved_ms: float
    lost_macs: int


@dataclass(frozen=True)
class Advice:
    """What to do about a network that is too slow.

    Attributes:
        layers: in the order of the network.
        swaps: nothing where the network meets the limit as it is; otherwise those of ``arch``.
        arch: int16 (positions,), the advised architecture.
    """

    latency_ms: float
    limit_ms: float
    layers: tuple[LayerCost, ...]
    swaps: tuple[Swap, ...]
    arch: Numeric
    advised_ms: float
    macs: int
    advised_macs: int


def advise(lut: Lut, space: Space, arch: Numeric, limit_ms: float) -> Advice:
    """The layers of an architecture, and the change that meets the limit with the least work lost.

    Args:
        arch: int16 (positions,).
        limit_ms: of the corrected latency.

    Raises:
        GateError: no architecture of the space is that fast, or the table lacks cells.
        UsageError: cells of the space depend on several choices.
    """
    space.require_chain("advice")
    lut.require(space)
    macs = cell_macs(space)
    now_ms = float(lut.price(arch[None, :], space=space)[0])
    advised = arch if now_ms <= limit_ms else _most_work(lut, space, arch, limit_ms, macs)
    swaps = _swaps(lut, space, arch, advised, macs)
    works = [sum(macs[cell.key] for cell in space.cells_of(one)) for one in (arch, advised)]
    return Advice(
        latency_ms=now_ms,
        limit_ms=limit_ms,
        layers=_layers(lut, space, arch, macs),
        swaps=swaps,
        arch=advised,
        advised_ms=float(lut.price(advised[None, :], space=space)[0]),
        macs=works[0],
        advised_macs=works[1],
    )


def _cost_ms(lut: Lut, cell: Cell | None) -> float:
    return 0.0 if cell is None or cell.absent else lut.query(cell.key).latency_ms * lut.scale


def _layers(lut: Lut, space: Space, arch: Numeric, macs: dict[str, int]) -> tuple[LayerCost, ...]:
    labels = iter(position.label for position, index in zip(space.positions, arch, strict=True) if index >= 0)
    rows = [
        (cell.layer if cell.kind == "fixed" else next(labels), cell, _cost_ms(lut, cell))
        for cell in space.cells_of(arch)
    ]
    total = sum(cost for _, _, cost in rows)
    return tuple(LayerCost(place, cell.key, cost, cost / total, macs[cell.key]) for place, cell, cost in rows)


def _swaps(lut: Lut, space: Space, before: Numeric, after: Numeric, macs: dict[str, int]) -> tuple[Swap, ...]:
    swaps = []
    for position, old, new in zip(space.positions, before.tolist(), after.tolist(), strict=True):
        if old == new:
            continue
        cells = [None if index < 0 else position.cells[index] for index in (old, new)]
        names = [None if index < 0 else position.names[index] for index in (old, new)]
        costs = [_cost_ms(lut, cell) for cell in cells]
        works = [0 if cell is None else macs[cell.key] for cell in cells]
        swaps.append(Swap(position.label, names[0], names[1], costs[0] - costs[1], works[0] - works[1]))
    return tuple(sorted(swaps, key=lambda swap: -swap.saved_ms))


def _most_work(lut: Lut, space: Space, arch: Numeric, limit_ms: float, macs: dict[str, int]) -> Numeric:
    """The architecture below the limit with the most work; of equals the one with the fewest swaps from ``arch``."""
    fastest = _fastest(lut, space)
    least_ms = float(lut.price(fastest[None, :], space=space)[0])
    if least_ms > limit_ms:
        raise GateError(
            f"no architecture of {space.name} meets {limit_ms:g} ms: its fastest takes {least_ms:.4g} ms",
            remedy="Raise the limit, or take a smaller resolution, width or space.",
        )
    step_ms = limit_ms / _STEPS
    shared_ms = sum(_cost_ms(lut, cell) for cell in space.fixed) + lut.offset_ms
    table = _Table(int((limit_ms - shared_ms) / step_ms))
    for stage in space.stages:
        table.begin_stage()
        for place in range(stage.start, stage.stop):
            ways = [
                (index, math.ceil(_cost_ms(lut, cell) / step_ms), _worth(macs[cell.key], index == arch[place]))
                for index, cell in enumerate(space.positions[place].cells)
            ]
            table.add(ways, may_end=place - stage.start in stage.depths, kept=bool(arch[place] < 0))
    found = table.best()
    # Where only the fastest few fit, rounding up may leave none of them.
    return fastest if found is None else np.array(found, dtype=np.int16)


def _worth(macs: int, is_kept: bool) -> float:
    """Work in MACs; what stays as it was is worth a part of one, so that a swap that gains nothing is not made."""
    return macs + (1 / 1024 if is_kept else 0.0)


def _fastest(lut: Lut, space: Space) -> Numeric:
    arch = np.full(len(space.positions), _NONE, dtype=np.int16)
    for stage in space.stages:
        for place in range(stage.start, stage.start + min(stage.depths)):
            arch[place] = np.argmin([_cost_ms(lut, cell) for cell in space.positions[place].cells])
    return arch


class _Table:
    """Best work by the steps used, in two states: the stage goes on, or it was ended (row 1)."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.worth: npt.NDArray[np.float64] = np.full((2, room + 1), -np.inf)
        self.worth[0, 0] = 0.0
        self.chosen: list[npt.NDArray[np.int16]] = []
        self.came_from: list[npt.NDArray[np.int64]] = []

    def begin_stage(self) -> None:
        """A stage begins active, whichever way the last one ended; the backward walk finds the state by worth."""
        ended = self.worth[1] > self.worth[0]
        self.chosen.append(np.where(ended, 1, 0).astype(np.int16)[None, :])
        self.came_from.append(np.empty((0, 0), dtype=np.int64))
        self.worth = np.stack([np.maximum(self.worth[0], self.worth[1]), np.full(self.room + 1, -np.inf)])

    def add(self, ways: list[tuple[int, int, float]], *, may_end: bool, kept: bool) -> None:
        """One position. ``ways``: candidate, steps, worth; ``kept``: whether it is inactive in the architecture."""
        worth = np.full_like(self.worth, -np.inf)
        chosen = np.full(self.worth.shape, _NONE, dtype=np.int16)
        came_from = np.zeros(self.worth.shape, dtype=np.int64)
        for index, steps, value in ways:
            if steps > self.room:
                continue
            moved = np.full(self.room + 1, -np.inf)
            moved[steps:] = self.worth[0, : self.room + 1 - steps] + value
            better = moved > worth[0]
            worth[0, better], chosen[0, better], came_from[0, better] = moved[better], index, steps
        ended = np.maximum(self.worth[1], self.worth[0]) if may_end else self.worth[1]
        worth[1] = ended + (_worth(0, True) if kept else 0.0)
        came_from[1] = np.where(self.worth[0] > self.worth[1], 0, 1) if may_end else 1
        self.worth = worth
        self.chosen.append(chosen)
        self.came_from.append(came_from)

    def best(self) -> list[int] | None:
        """The indices of the best way; None where nothing fits."""
        state, used = np.unravel_index(int(np.argmax(self.worth)), self.worth.shape)
        if self.worth[state, used] == -np.inf:
            return None
        arch: list[int] = []
        for chosen, came_from in zip(reversed(self.chosen), reversed(self.came_from), strict=True):
            if not came_from.size:
                state = chosen[0, used]
            elif state == 0:
                arch.append(int(chosen[0, used]))
                used -= came_from[0, used]
            else:
                arch.append(_NONE)
                state = came_from[1, used]
        return arch[::-1]
