"""Statistics of latency samples: median with an order-statistic interval, spread, percentiles. numpy only.

Nothing here rejects a value: rejection is by cause (``protocol.py``), never by size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .records import Latency, Visit


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Distribution-free interval of the median from interpolated order statistics (Hettmansperger & Sheather 1986).

    A pair of ranks (k, n + 1 - k) covers the median with ``1 - 2 P(Bin(n, ½) < k)`` (David & Nagaraja, Order
    Statistics, §7.1), in steps that are coarse for few values: eight values have pairs of 99 and of 93 %, none of 95 %.
    The interval stands between the narrowest pair that reaches ``confidence`` and the next one inside it, at the place
    that their paper gives ("Confidence intervals based on interpolated order statistics", Statistics & Probability
    Letters 4). With fewer than 6 values no pair reaches 95 % and the whole range is returned.

    Raises:
        ValueError: no values.
    """
    ordered = sorted(values)
    n = len(ordered)
    if n == 0:
        raise ValueError("the interval of no values")
    rank, outer, inner = _ranks(n, confidence)
    if rank == 0:
        return ordered[0], ordered[-1]
    low, high = rank - 1, n - rank
    if high - low < 2:
        # There is no pair inside the two middle values.
        return ordered[low], ordered[high]
    surplus = (outer - confidence) / (outer - inner)
    inward = (n - rank) * surplus / (rank + (n - 2 * rank) * surplus)
    return _between(ordered[low], ordered[low + 1], inward), _between(ordered[high], ordered[high - 1], inward)


def _ranks(n: int, confidence: float) -> tuple[int, float, float]:
    """The largest k whose pair of ranks still covers, its coverage and that of k + 1; k = 0 if none covers."""
    # Whole numbers: ½ to the power of n underflows long before n stops being a sensible number of values.
    tail, rank, outer, inner = 0, 0, 1.0, 1.0
    while rank < (n + 1) // 2:
        tail += math.comb(n, rank)
        inner = 1.0 - 2 * tail / 2**n
        if inner < confidence:
            break
        rank, outer = rank + 1, inner
    return rank, outer, inner


def _between(start: float, end: float, share: float) -> float:
    """The point at ``share`` of the way, never outside the two by a rounding error."""
    low, high = min(start, end), max(start, end)
    return min(max(start + (end - start) * share, low), high)


def summarise(visits: Sequence[Visit]) -> Latency | None:
    """The statistic of record over the valid visits; None when there is none."""
    valid = [visit for visit in visits if visit.value_ns is not None]
    if not valid:
        return None
    values = np.array([visit.value_ns for visit in valid], dtype=np.float64) / 1e6
    runs = np.concatenate([np.asarray(visit.wall_ns, dtype=np.float64) for visit in valid]) / 1e6
    lo, hi = median_interval(values.tolist())
    median = float(np.median(values))
    return Latency(
        median_ms=median,
        lo_ms=lo,
        hi_ms=hi,
        min_ms=float(values.min()),
        quartile_ms=float(np.quantile(values, 0.25)),
        mean_ms=float(values.mean()),
        p90_ms=float(np.quantile(runs, 0.90)),
        p99_ms=float(np.quantile(runs, 0.99)),
        mad_ms=float(np.median(np.abs(values - median))) if len(values) > 1 else None,
        visits=len(valid),
        runs=len(runs),
    )
