"""Conformal intervals from held-out errors: how wide a band must be to have covered what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..profiler.errors import UsageError


def conformal_radius(scores: npt.NDArray[np.float64], alpha: float) -> float:
    """Half-width, in log latency, that covers a new graph with probability ``1 - alpha``.

    The ⌈(n + 1)(1 - alpha)⌉-th smallest of n held-out scores (Lei et al., JASA 113, 2018, §2.2). With fewer scores than
    that needs, the interval has no finite bound: infinity is returned.

    Args:
        scores: absolute log errors, ascending, shape (n,).
        alpha: share of graphs that may fall outside, between 0 and 1.

    Raises:
        UsageError: another alpha.
    """
    if not 0 < alpha < 1:
        raise UsageError(f"alpha must lie between 0 and 1, not {alpha}")
    # Less a rounding error: 10 × (1 - 0.7) is a little above 3 in floating point.
    rank = max(1, math.ceil((len(scores) + 1) * (1 - alpha) - 1e-9))
    return float(scores[rank - 1]) if rank <= len(scores) else math.inf


def cross_coverage(scores: npt.NDArray[np.float64], fold: npt.NDArray[np.int64], alpha: float) -> float | None:
    """Coverage of the interval on graphs that took no part in calibrating it: each fold judged by the others' scores.

    Args:
        scores: absolute log errors in the order of the graphs, shape (n,).
        fold: fold of each graph, shape (n,).

    Returns:
        The share of covered graphs; None when no fold's complement is large enough for a finite interval.
    """
    inside = []
    for number in np.unique(fold):
        radius = conformal_radius(np.sort(scores[fold != number]), alpha)
        if math.isfinite(radius):
            inside.extend((scores[fold == number] <= radius).tolist())
    return float(np.mean(inside)) if inside else None


def furthest_errors(
    priced_ms: npt.NDArray[np.float64], sessions_ms: Sequence[Sequence[float]]
) -> npt.NDArray[np.float64]:
    """Absolute log error of each price against the session that is furthest from it, shape (networks,)."""
    pairs = zip(priced_ms.tolist(), sessions_ms, strict=True)
    return np.array([max(abs(math.log(price / one)) for one in sessions) for price, sessions in pairs], np.float64)
