"""How far a predictor is off, kernel by kernel: the quantile that its intervals are scaled by.

A matrix product is priced within a few per cent, a rare kind within thirty: one width for both says too much of one and
too little of the other. LightGBM learns a quantile of the held-out errors, and conformal prediction sees to it that the
intervals hold what they promise whatever these trees make of them (Romano, Patterson and Candès, Conformalized Quantile
Regression, NeurIPS 2019; dividing errors by their expected size as Papadopoulos et al. do, JAIR 40, 2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .trees.stored_trees import StoredTrees

if TYPE_CHECKING:
    import lightgbm as lgb

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Held-out graphs below which errors are not told apart: every fold must still tell a common error from a rare one.
GRAPHS_MIN = 100
#: Which quantile of the errors; the radius scales it to whatever is asked for.
_QUANTILE = 0.8
_ROUNDS, _LEARNING_RATE, _LEAVES, _KERNELS_IN_LEAF = 80, 0.06, 6, 20
#: No kernel is said to be priced better than this: two measurements of one differ by as much.
_LEAST = 0.01


@dataclass(frozen=True)
class Spread:
    """Expected size of the log error of each kernel.

    Attributes:
        trees: of the quantile; None where all errors are expected to be of one size.
    """

    trees: lgb.Booster | StoredTrees | None = None

    def of(self, features: Floats) -> Floats:
        """Shape (kernels,); 1 for each where errors are not told apart."""
        if self.trees is None:
            return np.ones(len(features))
        if isinstance(self.trees, StoredTrees):
            return np.maximum(_LEAST, self.trees.predict(features))
        return np.maximum(_LEAST, np.asarray(self.trees.predict(features, num_threads=1), dtype=np.float64))


def tells_apart(errors: Floats) -> bool:
    """Whether there are errors enough to tell kernels apart; NaN counts as none."""
    return bool(np.isfinite(errors).sum() >= GRAPHS_MIN)


def fit_spread(features: Floats, share: Floats, graph: Ints, errors: Floats, seed: int) -> Spread:
    """Learn from held-out errors, of which there are enough (``tells_apart``).

    Args:
        features: shape (kernels, columns); the first column is the kind, a category.
        share: shape (kernels,), of the kernel in the price of its graph.
        graph: shape (kernels,), which graph each kernel belongs to.
        errors: shape (graphs,), absolute log errors; NaN for graphs that nobody judged.
    """
    import lightgbm as lgb

    known = np.isfinite(errors[graph])

    parameters = {
        "objective": "quantile",
        "alpha": _QUANTILE,
        "learning_rate": _LEARNING_RATE,
        "num_leaves": _LEAVES,
        "min_data_in_leaf": _KERNELS_IN_LEAF,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "seed": seed,
        "verbose": -1,
    }
    rows = lgb.Dataset(
        features[known], label=errors[graph][known], weight=np.maximum(share[known], 1e-6), categorical_feature=[0]
    )
    return Spread(lgb.train(parameters, rows, num_boost_round=_ROUNDS))


def spread_of_graphs(spread: Floats, prices: Floats, graph: Ints, graphs: int) -> Floats:
    """Of sums: the mean over the kernels, each by its share of the price, shape (graphs,). As if the errors of a graph
    had one sign: they do where its kernels are of one kind.

    Args:
        spread, prices: of each kernel, shape (kernels,).
    """
    total = np.bincount(graph, prices, minlength=graphs)
    whole: Floats = np.bincount(graph, prices * spread, minlength=graphs) / np.where(total > 0, total, 1.0)
    return np.where(total > 0, whole, 1.0)


def judged_spread(
    features: Floats, prices: Floats, graph: Ints, errors: Floats, fold: Ints, seed: int
) -> Floats:  # fmt: skip
    """The spread of each graph by trees that saw no error of its fold, shape (graphs,): what scores are divided by.

    Args:
        fold: shape (graphs,), as the predictor was cross-validated.
    """
    share = prices / np.bincount(graph, prices, minlength=len(errors))[graph]
    found = np.ones(len(errors))
    for number in _folds(fold):
        others = np.where(fold == number, np.nan, errors)
        spread = fit_spread(features, share, graph, others, seed).of(features)
        inside = fold == number
        found[inside] = spread_of_graphs(spread, prices, graph, len(errors))[inside]
    return found


def _folds(fold: Ints) -> Sequence[int]:
    return [int(number) for number in np.unique(fold) if number >= 0]
