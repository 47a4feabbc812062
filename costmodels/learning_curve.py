"""Sample-efficiency of a predictor: how its error falls with the number of graphs that it was trained on.

The same settings on fewer of the same graphs, judged on others (Viering & Loog, The Shape of Learning Curves: A Review,
IEEE TPAMI 45, 2023). The largest point is the cross-validation that a training makes anyway; nothing is claimed beyond.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..profiler.kernels.graph import Kernel
from .cards.growth import LearningPoint
from .predictor import GRAPHS_MIN, LatencyPredictor
from .training_size import FOLDED_KERNELS_MAX, is_large
from .validation import accuracy

Floats = npt.NDArray[np.float64]
Graph = Sequence[Kernel]

#: Smaller points than the whole, each half of the next: together they cost less than one training more.
_HALVINGS = 3
#: Graphs that judge a point at most: of 2,000 a share is known to 1 point.
_JUDGED_MAX = 2000


def learning_curve(
    predictor: LatencyPredictor, graphs: Sequence[Graph], latency_ms: Floats
) -> tuple[LearningPoint, ...]:
    """Points by ascending number of graphs, the last of them as the cross-validation has it.

    Of more kernels than are trained in folds the curve ends at as many as are.

    Args:
        predictor: fitted on these graphs; none of them is a whole network.
        latency_ms: shape (graphs,).
    """
    order = np.random.default_rng([predictor.random_state, 1]).permutation(len(graphs))
    kernels = [len(graph) for graph in graphs]
    largest = round(len(graphs) * (1 - 1 / predictor.folds))
    if is_large(kernels):
        within = np.cumsum([kernels[place] for place in order.tolist()])
        largest = 2 * min(largest, int(np.searchsorted(within, FOLDED_KERNELS_MAX, side="right")))
    points = []
    for halving in range(_HALVINGS, 0, -1):
        size = round(largest / 2**halving)
        if size < GRAPHS_MIN:
            continue
        shown, others = order[:size].tolist(), order[size:][:_JUDGED_MAX].tolist()
        model = predictor.of_these([graphs[place] for place in shown], latency_ms[shown])
        prices = model.price([graphs[place] for place in others])
        guess = np.array([np.nan if price.is_lower_bound else price.total_ms for price in prices], np.float64)
        points.append(_point(size, guess, latency_ms[others]))
    if not is_large(kernels):
        points.append(_point(largest, predictor.held_out_ms_, latency_ms))
    return tuple(point for point in points if point is not None)


def _point(size: int, guess_ms: Floats, measured_ms: Floats) -> LearningPoint | None:
    found = accuracy(guess_ms, measured_ms)
    return None if found is None else LearningPoint(size, int(np.isnan(guess_ms).sum()), found)
