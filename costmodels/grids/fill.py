"""Fill a table: every cell of a grid, predicted and written piece by piece. Memory does not grow with the cells."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...profiler.errors import GateError
from ...profiler.records import RuntimeProfile
from ..compute.in_process import InProcess
from ..compute.pool import Pool, in_order
from ..conformal import conformal_radius
from ..files import drafted
from ..predictor import LatencyPredictor
from .cells import Grid, Ints
from .learning import Learnt, learn
from .pieces import ALPHA, PieceRecipe, PricedPiece, asks, pieces_of
from .pricing import SOURCES
from .table_file import require_writable, table_writer

#: Cells at a time: their keys, parameters and prices take some twenty megabytes.
BATCH = 65_536
#: Cells from which starting other processes pays, which takes seconds: one prices as many in a quarter of a minute.
MUCH = 5_000_000
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
        kernels: that were priced; one that two workers of a pool need counts twice.
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
    pool: Pool | None = None,
    progress: Progress = lambda stage, count: None,
) -> Filled:
    """Price every cell of a grid and write a table: key, parameters, latency_ms, lo_ms, hi_ms, source.

    Args:
        target: ``.parquet`` or ``.csv``.
        seed: of the cells that are learnt from and checked. That is done here.
        pool: where cells are priced; None for here. The file is the same, to the last bit.

    Raises:
        UsageError: another ending.
        MissingPackage: Parquet without pyarrow.
        GateError: no cell has a price; nothing is written.
        ClusterError: workers of the pool were lost; nothing is written.
        OutputError: the target cannot be written; nothing is left under its name.
    """
    require_writable(target)
    ask, begin = asks(profile), time.perf_counter()
    tally = _Tally()
    about = {"edgecost.grid": grid.name, "edgecost.runtime": profile.label}
    # Learning takes a while: a target that cannot be written is found before.
    with drafted(target) as draft, table_writer(target.suffix, draft, about) as write:
        known = tuple(learn(part, ask, seed, lambda note: progress(f"learning {note}", 0)) for part in grid.parts)
        learnt_by = time.perf_counter()
        recipe = PieceRecipe(grid, predictor, known, profile, target.suffix)
        for piece in in_order((pool or InProcess()).map(recipe, pieces_of(grid, BATCH))):
            write(piece.rows)
            tally.add(piece)
            progress("pricing", int(piece.counts.sum()))
        tally.check()
    taken_s = (learnt_by - begin, time.perf_counter() - learnt_by)
    return _filled(target, tally, predictor, known, taken_s)


class _Tally:
    """Cells by source, and the least and largest price."""

    def __init__(self) -> None:
        self.counts: Ints = np.zeros(len(SOURCES), np.int64)
        self.least_ms, self.most_ms = math.inf, -math.inf
        self.asked = self.kernels = 0

    def add(self, piece: PricedPiece) -> None:
        self.counts += piece.counts
        self.least_ms, self.most_ms = min(self.least_ms, piece.least_ms), max(self.most_ms, piece.most_ms)
        self.asked += piece.asked
        self.kernels += piece.kernels

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
        one_by_one=tally.asked,
        kernels=tally.kernels,
        learning_s=taken_s[0],
        filling_s=taken_s[1],
    )
