"""Fill a table: every cell of a grid, predicted and written batch by batch. Memory does not grow with the cells."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...profiler.errors import GateError
from ...profiler.kernels.by_runtime import priced_kernels
from ...profiler.kernels.graph import Kernel
from ...profiler.records import RuntimeProfile
from ..conformal import conformal_radius
from ..files import drafted
from ..predictor import LatencyPredictor
from ..space import cell_workload
from .cells import Cells, Grid, Ints
from .fields import fields_of
from .learning import Ask, Learnt, learn
from .pricing import SOURCES, CellPrices, GridPricer
from .table_file import Column, Names, Nothing, Sort, require_writable, table_writer

#: Cells at a time: their keys, parameters and prices take some twenty megabytes.
BATCH = 65_536
#: Share of cells outside the intervals.
ALPHA = 0.1
#: Called with what is being done, and how many more cells are done.
Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Filled:
    """What was written.

    Attributes:
        sources: cells by source (``pricing.SOURCES``).
        least_ms, most_ms: of the cells that have a price.
        no_interval: why lo_ms and hi_ms are empty; None where they are not.
        families: blocks of the same operators that the grid has.
        learnt_from, checked: cells that the runtime optimised to learn their kernels, and to check what was learnt.
        unsure: sorts of cells for which the check failed, or that are too few to be checked.
        one_by_one: cells that the runtime optimised because of that.
        kernels: distinct kernels that were priced.
        learning_s, filling_s: wall clock of learning and checking, and of pricing and writing.
    """

    file: Path
    cells: int
    sources: dict[str, int]
    least_ms: float
    most_ms: float
    no_interval: str | None
    families: int
    learnt_from: int
    checked: int
    unsure: int
    one_by_one: int
    kernels: int
    learning_s: float
    filling_s: float


def fill_grid(
    grid: Grid,
    predictor: LatencyPredictor,
    profile: RuntimeProfile,
    target: Path,
    *,
    seed: int = 0,
    progress: Progress = lambda stage, count: None,
) -> Filled:
    """Price every cell of a grid and write a table: key, parameters, latency_ms, lo_ms, hi_ms, source.

    Args:
        target: ``.parquet`` or ``.csv``.
        seed: of the cells that are learnt from and checked.

    Raises:
        UsageError: another ending.
        MissingPackage: Parquet without pyarrow.
        GateError: no cell has a price; nothing is written.
        OutputError: the target cannot be written; nothing is left under its name.
    """
    require_writable(target)
    ask, begin = asks(profile), time.perf_counter()
    sorts, tally = parameters(grid), _Tally()
    about = {"edgecost.grid": grid.name, "edgecost.runtime": profile.label}
    # Learning takes a while: a target that cannot be written is found before.
    with drafted(target) as draft, table_writer(target.suffix, draft, about) as write:
        known = [learn(part, ask, seed, lambda note: progress(f"learning {note}", 0)) for part in grid.parts]
        pairs = list(zip(known, grid.parts, strict=True))
        pricers = [GridPricer(predictor, learnt, part.limits, ask, ALPHA) for learnt, part in pairs]
        learnt_by = time.perf_counter()
        for cells, pricer in _batches(grid, pricers):
            prices = pricer.price(cells)
            write(columns(sorts, cells, prices))
            tally.add(prices)
            progress("pricing", cells.count)
        tally.check()
    taken_s = (learnt_by - begin, time.perf_counter() - learnt_by)
    return _filled(target, tally, predictor, known, pricers, taken_s)


class _Tally:
    """Cells by source, and the least and largest price."""

    def __init__(self) -> None:
        self.counts: Ints = np.zeros(len(SOURCES), np.int64)
        self.least_ms, self.most_ms = math.inf, -math.inf

    def add(self, prices: CellPrices) -> None:
        self.counts += np.bincount(prices.source, minlength=len(SOURCES))
        has_price = prices.source != SOURCES.index("unsupported")
        self.least_ms = float(np.min(prices.latency_ms, initial=self.least_ms, where=has_price))
        self.most_ms = float(np.max(prices.latency_ms, initial=self.most_ms, where=has_price))

    def check(self) -> None:
        """Raises GateError where no cell has a price."""
        if not math.isfinite(self.least_ms):
            raise GateError(
                f"none of the {self.counts.sum():,} cells has a price: each has a kernel of a kind that was never"
                " measured",
                remedy="measure more, and train again: edgecost campaign kernels, edgecost train",
            )


def _filled(
    target: Path,
    tally: _Tally,
    predictor: LatencyPredictor,
    known: Sequence[Learnt],
    pricers: Sequence[GridPricer],
    taken_s: tuple[float, float],
) -> Filled:
    is_bounded = math.isfinite(conformal_radius(predictor.scores_, ALPHA))
    return Filled(
        file=target,
        cells=int(tally.counts.sum()),
        sources=dict(zip(SOURCES, tally.counts.tolist(), strict=True)),
        least_ms=tally.least_ms,
        most_ms=tally.most_ms,
        no_interval=None if is_bounded else "the predictor held out too few graphs for an interval",
        families=sum(len(learnt.families) for learnt in known),
        learnt_from=sum(learnt.learnt_from for learnt in known),
        checked=sum(learnt.checked for learnt in known),
        unsure=sum(learnt.unsure for learnt in known),
        one_by_one=sum(pricer.asked for pricer in pricers),
        kernels=sum(pricer.kernels for pricer in pricers),
        learning_s=taken_s[0],
        filling_s=taken_s[1],
    )


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


def _batches(grid: Grid, pricers: Sequence[GridPricer]) -> Iterator[tuple[Cells, GridPricer]]:
    for part, pricer in zip(grid.parts, pricers, strict=True):
        for cells in part.batches(BATCH):
            yield cells, pricer
