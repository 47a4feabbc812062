"""From parts to whole: one factor between the sum of a LUT and the measured network, and what is left after it.

A block alone finds its weights and activations in the cache; inside a network it does not, and it loses the layout
changes at its borders. On one device, space and runtime that is one factor for all networks, to within the noise of
measuring them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..profiler.errors import UsageError
from .validation import Accuracy, accuracy

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NetworkRow:
    """One network of the judgement. ``role`` is ``fit`` or ``judge``."""

    arch: str
    role: str
    sum_ms: float
    corrected_ms: float
    measured_ms: float

    @property
    def error_percent(self) -> float:
        return (self.corrected_ms / self.measured_ms - 1) * 100


@dataclass(frozen=True)
class ScaleReport:
    """The factor, the networks, and both errors: on those that fitted it and on the others."""

    scale: float
    rows: tuple[NetworkRow, ...]
    uncorrected: Accuracy | None
    fitted: Accuracy | None
    judged: Accuracy | None


def fit_scale(sums_ms: Floats, measured_ms: Floats) -> float:
    """The median of measured over summed latency: one wild network does not move it.

    Raises:
        UsageError: no networks.
    """
    if not len(sums_ms):
        raise UsageError("a factor is fitted on at least one network")
    return float(np.median(measured_ms / sums_ms))


def judge_scale(archs: list[str], sums_ms: Floats, measured_ms: Floats, fit: npt.NDArray[np.bool_]) -> ScaleReport:
    """Fit the factor on some networks and judge it on the others.

    Args:
        fit: which networks fit the factor, shape (networks,).
    """
    scale = fit_scale(sums_ms[fit], measured_ms[fit])
    corrected = scale * sums_ms
    rows = tuple(
        NetworkRow(arch, "fit" if role else "judge", float(total), float(better), float(truth))
        for arch, role, total, better, truth in zip(archs, fit, sums_ms, corrected, measured_ms, strict=True)
    )
    return ScaleReport(
        scale=scale,
        rows=rows,
        uncorrected=accuracy(sums_ms[~fit], measured_ms[~fit]),
        fitted=accuracy(corrected[fit], measured_ms[fit]),
        judged=accuracy(corrected[~fit], measured_ms[~fit]),
    )


def spread(prices_ms: Floats, n: int) -> npt.NDArray[np.int64]:
    """Indices of ``n`` networks, cheapest first, one from the middle of each of ``n`` equal bands of the ranking.

    A ranking needs a range to rank, and a factor should hold over it; the very ends are left to chance.

    Raises:
        UsageError: fewer networks than ``n``, or ``n`` below 1.
    """
    if not 1 <= n <= len(prices_ms):
        raise UsageError(f"{n} networks cannot be chosen from {len(prices_ms)}")
    order = np.argsort(prices_ms, kind="stable")
    return order[((np.arange(n) + 0.5) * len(order) / n).astype(np.int64)]
