"""How much of a large store trains a predictor, and what judges it.

A few hundred trees of sixteen leaves learn no more from a million rows than from a hundred thousand (decision 0018). So
what is left over need not train: it judges, and then no folds have to be trained either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

#: Kernels up to which folds are trained: six models of 20,000 take some 20 s.
FOLDED_KERNELS_MAX = 20_000
#: Kernels that train one model beyond that.
TRAINED_KERNELS_MAX = 100_000
#: Kernels that judge it. Of 20,000 scores the 90th percentile is known to 0.2 points of coverage.
JUDGED_KERNELS_MAX = 20_000
#: Share of the graphs that judge, where both limits leave some over.
JUDGED_SHARE = 0.2
#: Of each kind so many kernels train before chance decides: a kind that is rare must not be lost among a million.
KIND_KERNELS_MIN = 200


@dataclass(frozen=True, eq=False)
class Split:
    """Positions of the graphs that train and of those that judge; no graph is in both, and some may be in neither."""

    trained: Ints
    judged: Ints


def is_large(sizes: Sequence[int]) -> bool:
    """Whether graphs of so many kernels are to be split once instead of being folded."""
    return sum(sizes) > FOLDED_KERNELS_MAX


def split_large(kinds: Sequence[Sequence[str]], seed: int, kernels_max: int | None = None) -> Split:
    """Whole graphs for training and for judging, drawn by chance.

    A graph that holds a kind of which no other graph trains does not judge: it could not be priced.

    Args:
        kinds: of the kernels of each graph, at least one graph.
        kernels_max: that train; None for ``TRAINED_KERNELS_MAX``.
    """
    order = np.random.default_rng(seed).permutation(len(kinds)).tolist()
    known = {kind: place for place, kind in enumerate(sorted({kind for graph in kinds for kind in graph}))}
    judged = _first(order[: int(len(order) * JUDGED_SHARE)], kinds, JUDGED_KERNELS_MAX)
    rest = order[len(judged) :]
    seen = np.zeros(len(known), dtype=np.int64)
    wanted: list[int] = []
    others: list[int] = []
    for graph in rest:
        places = [known[kind] for kind in kinds[graph]]
        (wanted if np.any(seen[places] < KIND_KERNELS_MIN) else others).append(graph)
        np.add.at(seen, places, 1)
    left = (TRAINED_KERNELS_MAX if kernels_max is None else kernels_max) - sum(len(kinds[graph]) for graph in wanted)
    trained = wanted + _first(others, kinds, max(0, left))
    trainable = {kind for graph in trained for kind in kinds[graph]}
    judging = [graph for graph in judged if trainable.issuperset(kinds[graph])]
    return Split(np.array(trained, dtype=np.int64), np.array(judging, dtype=np.int64))


def _first(graphs: Sequence[int], kinds: Sequence[Sequence[str]], kernels_max: int) -> list[int]:
    """The first graphs with so many kernels."""
    sizes = np.cumsum([len(kinds[graph]) for graph in graphs])
    return list(graphs[: int(np.searchsorted(sizes, kernels_max, side="right"))])
