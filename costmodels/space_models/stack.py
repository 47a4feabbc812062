"""The plain way to borrow from known devices: a non-negative combination of their surfaces.

The hardest simple method to beat where the new device lies among the known ones, and useless where it does not; so it
is one expert among others (``experts.py``). Nothing here knows operators.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from .bayes_lut import check_samples

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Stack:
    """A fitted combination.

    Attributes:
        weights_ms: shape (sources,), milliseconds per unit of each relative surface, none negative.
        loo_ms: shape (samples,), prediction of each sample by a stack of the others.
        deviation: root mean square of the leave-one-out errors, relative to the mean surface at its median scale.
    """

    weights_ms: Floats
    loo_ms: Floats
    deviation: float

    def predict_ms(self, surfaces: Floats) -> Floats:
        """Latency of every architecture, milliseconds; ``surfaces`` has shape (architectures, sources)."""
        guess: Floats = surfaces @ self.weights_ms
        return guess


def fit_stack(surfaces: Floats, rows: npt.ArrayLike, latency_ms: npt.ArrayLike) -> Stack:
    """Non-negative least squares on relative errors (Lawson & Hanson, Solving Least Squares Problems, ch. 23).

    Args:
        surfaces: shape (architectures, sources), relative surfaces of the sources, positive.
        rows: shape (samples,), at least two.
        latency_ms: shape (samples,), positive.

    Raises:
        UsageError: samples that are none.
    """
    chosen, measured = check_samples(rows, latency_ms, len(surfaces))
    design, ones = surfaces[chosen] / measured[:, None], np.ones(len(chosen))
    weights_ms, _ = nnls(design, ones)
    each = [design[k] @ nnls(np.delete(design, k, axis=0), ones[1:])[0] for k in range(len(chosen))]
    loo_ms = np.asarray(each, dtype=np.float64) * measured
    # Not relative to the measured value: a sample that cost almost nothing would be all that counts.
    typical = surfaces[chosen].mean(axis=1)
    typical *= np.median(measured / typical)
    return Stack(weights_ms, loo_ms, float(np.sqrt(np.mean(((loo_ms - measured) / typical) ** 2))))
