"""Prices of many kernels at once, by a trained predictor: ``LatencyPredictor.price`` of each alone, as arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..conformal import conformal_radius
from ..features import FEATURES, WORK
from ..predictor import MEASURED_RADIUS, LatencyPredictor
from ..trees.boosting import tree_scores
from .features import feature_rows, work_rows
from .kinds import kinds_of_rows
from .rows import KernelRows

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class RowPrices:
    """Of each kernel, shape (rows,).

    Attributes:
        latency_ms: NaN without a price.
        reach: half the width of its interval, in logarithms; infinite where there is none, NaN without a price.
        is_outside: physics extrapolates: a feature lies outside what was measured of the kind.
    """

    latency_ms: Floats
    reach: Floats
    is_outside: Flags


class RowPricer:
    """Prices rows by one predictor, which is fitted, and not fitted again while this is in use.

    Args:
        alpha: as ``LatencyPredictor.price`` takes it.
    """

    def __init__(self, predictor: LatencyPredictor, alpha: float = 0.1) -> None:
        self.predictor = predictor
        self._radius = conformal_radius(predictor.scores_, alpha)
        usual = conformal_radius(predictor.scores_, 0.1)
        self._measured = MEASURED_RADIUS / usual if math.isfinite(usual) and usual > 0 else 1.0
        self._known = frozenset(predictor.kinds_)
        self._place = {kind: place for place, kind in enumerate(predictor.kinds_)}
        self._columns = [FEATURES.index(name) for name in predictor.features_]
        self._terms = [WORK.index(name) for name in predictor.roofline_.terms]

    def price(self, rows: KernelRows) -> RowPrices:
        """Each kernel alone."""
        kinds, place = kinds_of_rows(rows, self._known)
        is_priced = np.array([kind in self.predictor.ranges_ for kind in kinds], bool)[place]
        latency, reach = np.full(rows.count, math.nan), np.full(rows.count, math.nan)
        outside = np.zeros(rows.count, bool)
        if is_priced.any():
            chosen = rows if is_priced.all() else rows.take(is_priced)
            names = [kinds[one] or "" for one in place[is_priced].tolist()]
            latency[is_priced], reach[is_priced], outside[is_priced] = self._price_known(chosen, names)
        return RowPrices(latency, reach, outside)

    def _price_known(self, rows: KernelRows, names: list[str]) -> tuple[Floats, Floats, Flags]:
        predictor = self.predictor
        kinds = np.array([self._place[name] for name in names], np.float64)
        features = np.column_stack([kinds, feature_rows(rows)[:, self._columns]])
        work = work_rows(rows, predictor.core_cache_bytes_)[:, self._terms]
        latency = predictor.roofline_.price(names, work) * np.exp(tree_scores(predictor.booster_, features))
        spread = predictor.spread_.of(features)
        outside = np.zeros(rows.count, bool)
        for name in set(names):
            low, high = predictor.ranges_[name]
            own = kinds == self._place[name]
            inside = (features[own, 1:] >= low) & (features[own, 1:] <= high)
            outside[own] = ~inside.all(axis=1)
        if predictor.known_ms_:
            alone = np.array([predictor.known_ms_.get(one, math.nan) for one in rows.hashes()])
            measured = ~np.isnan(alone)
            latency = np.where(measured, alone, latency)
            spread = np.where(measured, np.minimum(spread, self._measured), spread)
            outside &= ~measured
        return latency, self._radius * spread, outside
