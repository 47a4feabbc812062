"""Thousands of networks at once: what they share is priced once, and the rest is sums over an incidence matrix.

The numbers are ``LatencyPredictor.price``'s. What is left out are the kernels of each network and where their prices
come from: a search asks for totals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..profiler.errors import UsageError
from ..profiler.kernels.graph import Kernel
from .composition import OWN, own_bytes
from .conformal import conformal_radius
from .predictor import Graph, LatencyPredictor

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Population:
    """Networks as rows of an incidence matrix over distinct kernels, compressed: network n executes the kernels
    ``executed[starts[n]:starts[n + 1]]``, one entry per execution.

    Attributes:
        kernels: each kernel once.
        starts: shape (networks + 1,), ascending from 0 to the number of executions.
        executed: positions in ``kernels``, shape (executions,).
    """

    kernels: tuple[Kernel, ...]
    starts: Ints
    executed: Ints

    def __post_init__(self) -> None:
        starts, executed = self.starts, self.executed
        if starts.ndim != 1 or not len(starts) or starts[0] != 0 or starts[-1] != len(executed):
            raise UsageError("the starts of a population run from 0 to the number of executed kernels")
        if np.any(np.diff(starts) < 0):
            raise UsageError("the starts of a population never fall")
        if len(executed) and not 0 <= executed.min() <= executed.max() < len(self.kernels):
            raise UsageError(f"a network executes a kernel that is none of the {len(self.kernels)}")

    @classmethod
    def of(cls, graphs: Iterable[Graph]) -> Population:
        """Of networks as ``kernels`` gives them. It is fast where they share the objects, not only equal ones."""
        places: dict[Kernel, int] = {}
        # By address: that spares hashing shapes. The object is kept, so that no other comes to have its address.
        seen: dict[int, tuple[Kernel, int]] = {}
        executed: list[int] = []
        starts = [0]
        for graph in graphs:
            for kernel in graph:
                found = seen.get(id(kernel))
                if found is None:
                    found = seen[id(kernel)] = (kernel, places.setdefault(kernel, len(places)))
                executed.append(found[1])
            starts.append(len(executed))
        return cls(tuple(places), np.array(starts, dtype=np.int64), np.array(executed, dtype=np.int64))

    @property
    def size(self) -> int:
        """Networks."""
        return len(self.starts) - 1

    def sums(self, of_kernel: Floats) -> Floats:
        """Σ over the executed kernels of each network, shape (networks,); ``of_kernel`` has shape (kernels,)."""
        network = np.repeat(np.arange(self.size), np.diff(self.starts))
        # Without any network bincount answers in integers.
        return np.bincount(network, of_kernel[self.executed], minlength=self.size).astype(np.float64)


@dataclass(frozen=True, eq=False)
class PopulationPrice:
    """What each network of a population costs; all of shape (networks,).

    Attributes:
        total_ms: as ``GraphPrice.total_ms``.
        lo_ms, hi_ms: the interval; NaN where there is none: too few held-out graphs, or a lower bound.
        is_lower_bound: a kernel of the network has no price, so the total leaves it out.
    """

    total_ms: Floats
    lo_ms: Floats
    hi_ms: Floats
    is_lower_bound: Flags


class PopulationPricer:
    """Prices populations by one predictor, and every distinct kernel once however many populations it is in.

    Args:
        predictor: fitted, and not fitted again while this is in use.
    """

    def __init__(self, predictor: LatencyPredictor) -> None:
        self.predictor = predictor
        self._known: dict[Kernel, float] = {}
        self._reach_ms: dict[Kernel, float] = {}

    def price(self, population: Population, *, alpha: float = 0.1, network: bool = False) -> PopulationPrice:
        """Totals, intervals and lower bounds.

        Args:
            alpha, network: as ``LatencyPredictor.price`` takes them.

        Raises:
            UsageError: the predictor was not fitted, or ``alpha`` does not lie between 0 and 1.
        """
        if not hasattr(self.predictor, "booster_"):
            raise UsageError("this predictor knows nothing yet", remedy="call fit() first, or load_predictor()")
        latency_ms = self._latencies_ms(population.kernels)
        is_priced = np.isfinite(latency_ms)
        total = population.sums(np.where(is_priced, latency_ms, 0.0))
        if network:
            total = self._composed(population, total, is_priced)
        is_lower_bound = population.sums(np.where(is_priced, 0.0, 1.0)) > 0
        factor = np.where(is_lower_bound, math.nan, np.exp(self._radius(population, total, alpha, network=network)))
        return PopulationPrice(total, total / factor, total * factor, is_lower_bound)

    def _radius(self, population: Population, total_ms: Floats, alpha: float, *, network: bool) -> Floats:
        """Of each interval, in logarithms; NaN where there is none."""
        radius = conformal_radius(self.predictor.network_scores_ if network else self.predictor.scores_, alpha)
        if not math.isfinite(radius):
            return np.full(population.size, math.nan)
        if network:
            return np.full(population.size, radius)
        reaches = np.array([self._reach_ms[kernel] for kernel in population.kernels], dtype=np.float64)
        whole: Floats = population.sums(np.nan_to_num(reaches)) / np.where(total_ms > 0, total_ms, math.nan)
        return radius * whole

    def _latencies_ms(self, kernels: Sequence[Kernel]) -> Floats:
        """Of each kernel alone; NaN where it has no price."""
        new = [kernel for kernel in kernels if kernel not in self._known]
        for kernel, price in zip(new, self.predictor.price([[kernel] for kernel in new]), strict=True):
            self._known[kernel] = math.nan if price.is_lower_bound else price.total_ms
        for kernel, spread in zip(new, self.predictor.spread_of(new).tolist(), strict=True):
            self._reach_ms[kernel] = spread * self._known[kernel]
        return np.array([self._known[kernel] for kernel in kernels], dtype=np.float64)

    def _composed(self, population: Population, sums_ms: Floats, is_priced: Flags) -> Floats:
        """With what the caches do not hold: of all weights a share, the priced kernels' part of which is charged."""
        composition, cache = self.predictor.composition_, self.predictor.core_cache_bytes_
        if composition is None:
            return sums_ms
        own = own_bytes(population.kernels, cache).reshape(-1, len(OWN))
        priced = np.stack([population.sums(np.where(is_priced, column, 0.0)) for column in own.T], axis=1)
        return composition.compose(sums_ms, priced, weights_bytes=population.sums(own[:, 0]))
