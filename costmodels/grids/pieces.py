"""A grid in pieces that can be priced anywhere: each is a range of cells of one part, and comes back as rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ...profiler.kernels.by_runtime import priced_kernels
from ...profiler.kernels.graph import Kernel
from ...profiler.records import RuntimeProfile
from ..predictor import LatencyPredictor
from ..space import cell_workload
from .cells import Cells, Grid, Ints
from .fields import fields_of
from .learning import Ask, Learnt
from .pricing import SOURCES, CellPrices, GridPricer
from .table_file import Column, Names, Nothing, Packed, Sort, pack

#: Share of cells outside the intervals.
ALPHA = 0.1


@dataclass(frozen=True)
class Piece:
    """The cells of a part with the numbers ``first`` to ``last`` - 1."""

    part: int
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class PricedPiece:
    """What became of a piece.

    Attributes:
        rows: as they are written.
        counts: cells by source, in the order of ``SOURCES``.
        least_ms, most_ms: of the cells that have a price; infinite where none has.
        asked: cells that the optimiser was asked for one by one.
        kernels: that were priced for it, and not known to the worker from pieces before.
    """

    rows: Packed
    counts: Ints
    least_ms: float
    most_ms: float
    asked: int
    kernels: int


def pieces_of(grid: Grid, count: int) -> Iterator[Piece]:
    """All of it in order, so many cells at a time."""
    for number, part in enumerate(grid.parts):
        for first in range(0, part.size, count):
            yield Piece(number, first, min(first + count, part.size))


@dataclass(frozen=True, eq=False)
class PieceRecipe:
    """All that pricing a piece needs.

    Attributes:
        learnt: of each part.
        suffix: of the file that is written.
    """

    grid: Grid
    predictor: LatencyPredictor
    learnt: tuple[Learnt, ...]
    profile: RuntimeProfile
    suffix: str

    def __call__(self) -> PiecePricer:
        return PiecePricer(self)


class PiecePricer:
    """Prices pieces one after the other, and remembers kernels between them.

    Which pieces a worker had is chance, and does not show: a kernel has the same price, to the last bit, in whatever
    rows it is priced.
    """

    def __init__(self, recipe: PieceRecipe) -> None:
        self._recipe = recipe
        self._ask = asks(recipe.profile)
        self._sorts = parameters(recipe.grid)
        self._pricers: dict[int, GridPricer] = {}

    def __call__(self, piece: Piece) -> PricedPiece:
        pricer = self._pricer(piece.part)
        asked, kernels = pricer.asked, pricer.kernels
        cells = self._recipe.grid.parts[piece.part].cells(np.arange(piece.first, piece.last))
        prices = pricer.price(cells)
        has_price = prices.source != SOURCES.index("unsupported")
        return PricedPiece(
            rows=pack(self._recipe.suffix, columns(self._sorts, cells, prices)),
            counts=np.bincount(prices.source, minlength=len(SOURCES)),
            least_ms=float(np.min(prices.latency_ms, initial=math.inf, where=has_price)),
            most_ms=float(np.max(prices.latency_ms, initial=-math.inf, where=has_price)),
            asked=pricer.asked - asked,
            kernels=pricer.kernels - kernels,
        )

    def _pricer(self, part: int) -> GridPricer:
        if part not in self._pricers:
            recipe = self._recipe
            self._pricers[part] = GridPricer(
                recipe.predictor, recipe.learnt[part], recipe.grid.parts[part].limits, self._ask, ALPHA
            )
        return self._pricers[part]


def asks(profile: RuntimeProfile) -> Ask:
    """The optimiser of a runtime, as the oracle of ``learn``."""

    def ask(cells: Cells, place: int) -> tuple[Kernel, ...]:
        workload = cell_workload(cells.cell(place))
        return () if workload is None else priced_kernels(workload, profile).kernels

    return ask


def parameters(grid: Grid) -> dict[str, Sort]:
    """The columns of a table that are fields of blocks, and what they hold: all that a part of the grid has."""
    found: dict[str, Sort] = {}
    for part in grid.parts:
        fields = fields_of(part.block)
        found |= dict.fromkeys((*fields.inputs, *fields.numbers), "number")
        found |= dict.fromkeys(fields.texts, "text")
        # Whether the input is added follows from the other fields, but is what a reader wants to know.
        found |= dict.fromkeys((*fields.flags, *(["adds"] if "shortcut" in fields.flags else [])), "flag")
    return found


def columns(sorts: Mapping[str, Sort], cells: Cells, prices: CellPrices) -> dict[str, Column]:
    """The table of some cells; of fields that their block does not have there is nothing."""
    return {
        "key": cells.keys(),
        "block": Names(np.zeros(cells.count, np.int64), (cells.block,)),
        **{name: _column(name, sort, cells) for name, sort in sorts.items()},
        "latency_ms": prices.latency_ms,
        "lo_ms": prices.lo_ms,
        "hi_ms": prices.hi_ms,
        "source": Names(prices.source, SOURCES),
    }


def _column(name: str, sort: Sort, cells: Cells) -> Column:
    if name == "adds" and "shortcut" in cells.columns:
        return cells.adds
    if name not in cells.columns:
        return Nothing(sort, cells.count)
    values = cells.columns[name]
    if sort == "text":
        return Names(values, cells.texts[name])
    return values == 1 if sort == "flag" else values
