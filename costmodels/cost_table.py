"""What the choices of a space cost: a table for each set of choices that cells depend on, adding up to architectures.

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
        tables: for each factor of the space, in order, the costs of its combinations.
        constant: what a whole network costs beside its cells.
    """

    space: Space
    tables: tuple[Floats, ...]
    constant: float

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
        return cls.from_costs(space, cost, source.offset_ms)

    @classmethod
    def from_costs(cls, space: Space, cost: Mapping[str, float], constant: float = 0.0) -> CostTable:
        """Of a number for each measurable cell of the space by its key, and one for a whole network."""
        costs = np.array([cost[cell.key] for cell in space.measurable], dtype=np.float64)
        return cls(space, tuple(factor.table(costs) for factor in space.factors), constant)

    @property
    def costs(self) -> Floats:
        """One row for each position, one column for each candidate, NaN behind the last one of a position.

        Raises:
            UsageError: the space has cells that depend on several choices.
        """
        self.space.require_chain("a table of positions by candidates")
        widest = max((len(position.names) for position in self.space.positions), default=0)
        costs = np.full((len(self.space.positions), widest), np.nan)
        for factor, table in zip(self.space.factors, self.tables, strict=True):
            if factor.scope:
                costs[factor.scope[0], : len(table) - 1] = table[:-1]
        return costs

    @property
    def fixed(self) -> float:
        """What every architecture costs."""
        shared = [float(t[0]) for factor, t in zip(self.space.factors, self.tables, strict=True) if not factor.scope]
        return self.constant + sum(shared)

    def price(self, archs: Numeric) -> Floats:
        """Checked architectures, int16 (n, positions), to costs (n,)."""
        total = np.full(len(archs), self.constant)
        for factor, table in zip(self.space.factors, self.tables, strict=True):
            total += table[factor.entry(archs)]
        return total
