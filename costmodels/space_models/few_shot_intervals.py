"""Intervals from few samples: the wider of what the model believes and of what its leave-one-out errors say.

Alone, the model's own deviation is too sure of itself on devices almost without noise, and ten leave-one-out errors are
too few for a tail. From ``CONFORMAL_MIN`` samples the errors speak alone (``intervals.py`` has more for many samples).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from ...profiler.errors import UsageError
from ..conformal import conformal_radius

Floats = npt.NDArray[np.float64]

#: From this many samples the leave-one-out errors alone set the width.
CONFORMAL_MIN = 50


@dataclass(frozen=True)
class Width:
    """How many deviations an interval reaches to each side.

    Attributes:
        deviations: the factor.
        source: ``gaussian``, ``leave-one-out``, or ``gaussian, too few samples for leave-one-out``: then nothing but
            the model's own belief stands behind the interval.
    """

    deviations: float
    source: str


def few_shot_width(latency_ms: Floats, loo_ms: Floats, loo_deviation_ms: Floats, alpha: float) -> Width:
    """The factor for ``1 - alpha``: normalised conformal scores (Lei et al., JASA 113, 2018, §5.2), or the Gaussian's.

    Leave-one-out residuals stand in for held-out ones (Barber et al., Annals of Statistics 49, 2021): a guarantee up to
    how much one sample moves the model, and only for architectures drawn like the samples.

    Args:
        latency_ms, loo_ms, loo_deviation_ms: shape (samples,), measured, predicted from the others, and its deviation.
        alpha: share of networks that may fall outside, between 0 and 1.

    Raises:
        UsageError: another alpha.
    """
    if not 0 < alpha < 1:
        raise UsageError(f"alpha must lie between 0 and 1, not {alpha}")
    gaussian = NormalDist().inv_cdf(1.0 - alpha / 2.0)
    scores = np.sort(np.abs(latency_ms - loo_ms) / loo_deviation_ms)
    conformal = conformal_radius(scores, alpha)
    if not math.isfinite(conformal):
        return Width(gaussian, "gaussian, too few samples for leave-one-out")
    if len(scores) >= CONFORMAL_MIN or conformal > gaussian:
        return Width(conformal, "leave-one-out")
    return Width(gaussian, "gaussian")
