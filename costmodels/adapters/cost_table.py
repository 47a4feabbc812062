"""What the candidates of a space cost by a table, as one array: positions by candidates, with what is always there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ...profiler.errors import GateError, UsageError
from ..lut import Lut
from ..space import Space
from ..spaces.cell import Cell
from ..spaces.coding import Numeric

Metric = Literal["latency", "energy"]
Floats = npt.NDArray[np.float64]
_LISTED = 20


@dataclass(frozen=True, eq=False)
class CostTable:
    """Costs in ms, corrected, or in mJ.

    Attributes:
        costs: (positions, most candidates); 0 for identities, NaN behind a position's last candidate.
        fixed: what every architecture costs, the constant of the correction included.
    """

    space: Space
    metric: Metric
    costs: Floats
    fixed: float

    @classmethod
    def of(cls, lut: Lut, space: Space | None = None, metric: Metric = "latency") -> CostTable:
        """Of a table.

        Args:
            space: needed only where the table's space is not a built-in one.

        Raises:
            GateError: the table lacks cells of the space, or their energy; they are listed.
            UsageError: a metric that does not add up over cells, as peak memory does not.
        """
        if metric not in ("latency", "energy"):
            raise UsageError(
                f"{metric} does not add up over the cells of a network", remedy="Ask for latency or energy."
            )
        space = space or lut.space
        lut.require(space)
        cost = {cell.key: _cost(lut, cell, metric) for cell in space.cells}
        if unknown := [key for key, one in cost.items() if np.isnan(one)]:
            shown = "\n".join(f"  {key}" for key in unknown[:_LISTED])
            raise GateError(
                f"the table does not know the {metric} of {len(unknown)} cells, first:\n{shown}",
                remedy=f"Measure it, or train a predictor of it: edgecost train --metric {metric}",
            )
        widest = max((len(position.cells) for position in space.positions), default=0)
        costs = np.full((len(space.positions), widest), np.nan)
        for place, position in enumerate(space.positions):
            costs[place, : len(position.cells)] = [cost[cell.key] for cell in position.cells]
        constant = lut.offset_ms if metric == "latency" else 0.0
        return cls(space, metric, costs, constant + sum(cost[cell.key] for cell in space.fixed))

    def price(self, archs: Numeric) -> Floats:
        """Checked architectures, int16 (n, positions), to costs (n,)."""
        costs = np.concatenate([self.costs, np.zeros((len(self.costs), 1))], axis=1)  # the last answers for -1
        priced: Floats = self.fixed + costs[np.arange(archs.shape[1]), archs].sum(axis=1)
        return priced


def _cost(lut: Lut, cell: Cell, metric: Metric) -> float:
    if cell.absent:
        return 0.0
    row = lut.query(cell.key)
    if metric == "latency":
        return row.latency_ms * lut.scale
    return float("nan") if row.energy_mj is None else row.energy_mj
