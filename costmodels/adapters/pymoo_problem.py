"""Architectures of a space as a pymoo problem: latency as an objective or a constraint, a whole population at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ...profiler.errors import MissingPackage
from ..lut import Lut
from ..space import Space
from ..spaces.coding import Numeric

try:
    from pymoo.core.problem import Problem
except ImportError as error:
    raise MissingPackage("pymoo is needed for its problems", remedy="pip install 'edgecost[search]'") from error

Floats = npt.NDArray[np.float64]


class Genes:
    """Architectures as integers that are free of each other: a candidate for each position, a depth for each stage.

    Attributes:
        most: the largest value of each gene, (genes,); the least is 0.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.elastic = [stage for stage in space.stages if stage.elastic]
        candidates = [len(position.names) - 1 for position in space.positions]
        self.most = np.array([*candidates, *(len(stage.depths) - 1 for stage in self.elastic)], dtype=np.int64)

    def archs(self, genes: npt.NDArray[np.int64]) -> Numeric:
        """int16 (n, positions), from (n, genes)."""
        places = len(self.space.positions)
        archs = genes[:, :places].astype(np.int16)
        for stage, chosen in zip(self.elastic, genes[:, places:].T, strict=True):
            depth = np.array(stage.depths)[chosen]
            inactive = np.arange(stage.stop - stage.start) >= depth[:, None]
            archs[:, stage.start : stage.stop][inactive] = -1
        return archs


class LatencyProblem(Problem):  # type: ignore[misc]  # pymoo ships no types
    """Minimise latency in ms and whatever else is given, below a limit where there is one.

    Args:
        lut: prices the architectures, corrected.
        objectives: from int16 (n, positions) to what is to be small as well, (n,) or (n, k).
        count: how many values ``objectives`` gives for an architecture.
        limit_ms: of the latency; None for none.
        space: needed only where the table's space is not a built-in one.
    """

    def __init__(
        self,
        lut: Lut,
        objectives: Callable[[Numeric], Floats],
        *,
        count: int = 1,
        limit_ms: float | None = None,
        space: Space | None = None,
    ) -> None:
        self.lut, self.limit_ms, self.space = lut, limit_ms, space or lut.space
        self.genes, self._objectives = Genes(self.space), objectives
        limits = 0 if limit_ms is None else 1
        most = self.genes.most
        super().__init__(n_var=len(most), n_obj=1 + count, n_ieq_constr=limits, xl=0, xu=most, vtype=int)

    def _evaluate(self, x: npt.NDArray[np.int64], out: dict[str, Floats]) -> None:
        archs = self.genes.archs(x)
        latency_ms = self.lut.price(archs, space=self.space)
        out["F"] = np.column_stack([latency_ms, self._objectives(archs)])
        if self.limit_ms is not None:
            out["G"] = (latency_ms - self.limit_ms)[:, None]
