"""Intervals of a space's model: how far predictions were off on rows that had not been seen, turned into bounds.

Two ways. Conformal: the same relative band for all architectures, from the quantiles of held-out log errors (Vovk,
Annals of Mathematics and AI 74, 2015; the two tails apart). Quantile: LightGBM learns where errors are large, and what
it claims is widened until held-out rows are covered (CQR; Romano, Patterson & Candès, NeurIPS 2019). Raw quantiles
cover ten points too little and are never shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...profiler.errors import UsageError
from .residual import TreeSettings, train_trees, tree_score
from .ridge import folds_of

if TYPE_CHECKING:
    import lightgbm as lgb

Floats = npt.NDArray[np.float64]

#: Fewest held-out rows from which a bound is made: below, average coverage is right but one device's is not.
CALIBRATION_MIN = 50
#: Small trees without a penalty: shrunk quantiles hide from quiet rows how quiet they are.
_QUANTILE = TreeSettings("quantile", rounds=120, learning_rate=0.1, leaves=4, l2=0.0)


@dataclass(frozen=True, eq=False)
class Band:
    """Bounds in log latency, relative to the prediction, learnt by trees and widened by ``margin`` on both sides.

    Attributes:
        alpha: share of architectures that may fall outside.
        low, high: boosters of the lower and the upper bound.
    """

    alpha: float
    low: lgb.Booster
    high: lgb.Booster
    margin: float

    def bounds(self, features: Floats) -> Floats:
        """Shape (rows, 2). Where the quantiles cross, both are their mean."""
        low, high = tree_score(self.low, features), tree_score(self.high, features)
        middle = (low + high) / 2
        return np.column_stack([np.minimum(low, middle) - self.margin, np.maximum(high, middle) + self.margin])


def conformal_bounds(scores: Floats, alpha: float) -> tuple[float, float]:
    """Lower and upper bound in log latency, relative to the prediction, that cover with probability ``1 - alpha``.

    Each tail holds ``alpha / 2``: of n scores the ⌊(n + 1)α/2⌋-th smallest and the ⌈(n + 1)(1 - α/2)⌉-th. A tail for
    which there are too few scores has no finite bound.

    Args:
        scores: log(measured / predicted) of held-out rows, ascending, shape (n,).

    Raises:
        UsageError: alpha does not lie between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise UsageError(f"alpha must lie between 0 and 1, not {alpha}")
    count = len(scores)
    # Rounding errors must not cost a rank.
    below = math.floor((count + 1) * alpha / 2 + 1e-9)
    above = math.ceil((count + 1) * (1 - alpha / 2) - 1e-9)
    low = float(scores[below - 1]) if below >= 1 else -math.inf
    high = float(scores[above - 1]) if above <= count else math.inf
    return low, high


def fit_bands(features: Floats, scores: Floats, alphas: Sequence[float], *, folds: int, seed: int) -> tuple[Band, ...]:
    """Learn bounds for each of the shares asked for.

    The margin comes from cross-fitted quantiles: each row is judged by boosters of the other folds.

    Args:
        features: shape (rows, columns).
        scores: log(measured / predicted) of held-out rows, shape (rows,).
        alphas: shares of architectures that may fall outside, each between 0 and 1.

    Raises:
        UsageError: too few rows, or another alpha.
    """
    check_calibration(len(scores))
    if not all(0 < alpha < 1 for alpha in alphas):
        raise UsageError(f"alpha must lie between 0 and 1, not {', '.join(map(str, alphas))}")
    fold = folds_of(len(scores), folds, seed)
    return tuple(_fit_band(features, scores, alpha, fold, seed) for alpha in alphas)


def check_calibration(rows: int) -> None:
    """Raise UsageError where there are too few held-out rows for any interval."""
    if rows < CALIBRATION_MIN:
        raise UsageError(
            f"{rows} measured architectures are too few for an interval; {CALIBRATION_MIN} is the least",
            remedy="measure more, or use the model for few samples, which takes other devices into account",
        )


def _fit_band(features: Floats, scores: Floats, alpha: float, fold: npt.NDArray[np.int64], seed: int) -> Band:
    lower, upper = (
        replace(_QUANTILE, quantile=quantile, min_rows_in_leaf=max(5, len(scores) // 30))
        for quantile in (alpha / 2, 1 - alpha / 2)
    )
    claimed = np.empty((len(scores), 2))
    for number in np.unique(fold):
        inside, outside = fold != number, fold == number
        for side, setting in enumerate((lower, upper)):
            booster = train_trees(features[inside], scores[inside], setting, seed)
            claimed[outside, side] = tree_score(booster, features[outside])
    claimed.sort(axis=1)
    short = np.sort(np.maximum(claimed[:, 0] - scores, scores - claimed[:, 1]))
    rank = math.ceil((len(short) + 1) * (1 - alpha) - 1e-9)
    margin = float(short[rank - 1]) if rank <= len(short) else math.inf
    low, high = (train_trees(features, scores, setting, seed) for setting in (lower, upper))
    return Band(alpha, low, high, margin)
