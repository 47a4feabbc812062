"""What the candidates of a space cost, as one array: positions by candidates, with what every architecture costs.

Adapters and searches stand on it where ``Lut.price`` is not enough: gradients, multiply-accumulates, energies. A table
that lacks cells has no such array; ``Lut.price`` prices what it can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..profiler.errors import UsageError
from .energy_table import energy_table
from .lut import Lut
from .space import Space
from .spaces.coding import Numeric

Metric = Literal["latency", "energy"]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CostTable:
    """Costs that add up.

    Attributes:
        costs: (positions, most candidates), NaN behind a position's last candidate.
        fixed: what every architecture costs.
    """

    space: Space
    costs: Floats
    fixed: float

    @classmethod
    def of(cls, lut: Lut, space: Space | None = None, metric: Metric = "latency") -> CostTable:
        """Of a table: corrected latencies in ms, or energies in mJ. An identity costs 0.

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
        source = lut if metric == "latency" else energy_table(lut, space.measurable)
        cost = {cell.key: source.query(cell.key).latency_ms * source.scale for cell in space.measurable}
        absent = dict.fromkeys((cell.key for cell in space.cells if cell.absent), 0.0)
        return cls.from_costs(space, {**cost, **absent}, source.offset_ms)

    @classmethod
    def from_costs(cls, space: Space, cost: Mapping[str, float], constant: float = 0.0) -> CostTable:
        """Of a number for each cell of the space by its key, and one for a whole network."""
        widest = max((len(position.cells) for position in space.positions), default=0)
        costs = np.full((len(space.positions), widest), np.nan)
        for place, position in enumerate(space.positions):
            costs[place, : len(position.cells)] = [cost[cell.key] for cell in position.cells]
        return cls(space, costs, constant + sum(cost[cell.key] for cell in space.fixed))

    def price(self, archs: Numeric) -> Floats:
        """Checked architectures, int16 (n, positions), to costs (n,)."""
        costs = np.concatenate([self.costs, np.zeros((len(self.costs), 1))], axis=1)  # the last answers for -1
        priced: Floats = self.fixed + costs[np.arange(archs.shape[1]), archs].sum(axis=1)
        return priced
