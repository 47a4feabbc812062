"""LightGBM trained on sums: trees correct the price of each kernel, while only whole graphs have a measured latency.

The loss of a graph is ½ (log Σₖ bₖ exp(sₖ) − log y)² with bₖ the roofline's price of kernel k and sₖ the trees' score.
Its gradient in sₖ is r wₖ, where r is the graph's log error and wₖ the kernel's share of the sum. As the second
derivative we use wₖ: by Jensen's inequality Σ wₖ dₖ² bounds (Σ wₖ dₖ)², so a step does not overshoot however many
kernels of a graph fall into one leaf (majorise–minimise, Hunter & Lange, The American Statistician 58, 2004). What this
leaves out, r times the spread of d within the graph, is at most r Σ wₖ dₖ²: the learning rate holds it for r < 1/rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from .stored_trees import StoredTrees

if TYPE_CHECKING:
    import lightgbm as lgb

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Shares below this would make leaves of almost no weight; their gradient is as small, so nothing is distorted.
SMALLEST_SHARE = 1e-4


@dataclass(frozen=True)
class BoostingSettings:
    """Shallow trees and slow steps: a few hundred graphs are small data."""

    rounds: int = 300
    learning_rate: float = 0.05
    leaves: int = 8
    min_kernels_in_leaf: int = 3
    l2: float = 0.3
    feature_fraction: float = 0.7


def boost(
    features: Floats, base_ms: Floats, graph: Ints, latency_ms: Floats, settings: BoostingSettings, seed: int
) -> lgb.Booster:
    """Train the correction: the predicted price of kernel k is ``base_ms[k] * exp(score[k])``.

    Args:
        features: shape (kernels, features); the first column is the kind, a category.
        base_ms: shape (kernels,), positive, and right on the whole: for an error that all graphs share LightGBM finds
            no split that gains, and stops. ``fit_roofline`` sees to that.
        graph: shape (kernels,), which graph each kernel belongs to, 0 … graphs - 1.
        latency_ms: shape (graphs,), positive.
    """
    import lightgbm as lgb  # a second, which pricing from a saved predictor goes without

    target = np.log(latency_ms)

    def objective(scores: Floats, _: lgb.Dataset) -> tuple[Floats, Floats]:
        price = base_ms * np.exp(scores)
        total = np.bincount(graph, price, minlength=len(target))
        share = price / total[graph]
        return (np.log(total) - target)[graph] * share, np.maximum(share, SMALLEST_SHARE)

    parameters = {
        "objective": objective,
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": settings.min_kernels_in_leaf,
        "min_sum_hessian_in_leaf": 1e-3,
        "lambda_l2": settings.l2,
        "feature_fraction": settings.feature_fraction,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "seed": seed,
        "verbose": -1,
    }
    rows = lgb.Dataset(features, label=np.zeros(len(features)), categorical_feature=[0], free_raw_data=True)
    return lgb.train(parameters, rows, num_boost_round=settings.rounds)


#: As ``boost``, wherever it runs.
Boost: TypeAlias = "Callable[[Floats, Floats, Ints, Floats, BoostingSettings, int], lgb.Booster]"


@dataclass(frozen=True)
class Trainer:
    """What boosts, and of how many kernels at most; None for what one machine trains (``training_size``)."""

    boost: Boost
    kernels_max: int | None


#: In this process.
HERE = Trainer(boost, None)


def tree_scores(trees: lgb.Booster | StoredTrees, features: Floats) -> Floats:
    """The score of each row, shape (rows,), whether the trees were just trained or read from a file."""
    if isinstance(trees, StoredTrees):
        return trees.predict(features)
    return np.asarray(trees.predict(features, num_threads=1), dtype=np.float64)
