"""Statistics of latency samples: median with an order-statistic interval, spread, percentiles. numpy only.

Nothing here rejects a value: rejection is by cause (``protocol.py``), never by size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .records import Latency, Visit


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Distribution-free interval of the median from order statistics (David & Nagaraja, Order Statistics, §7.1).

    The ranks are the narrowest pair (k, n + 1 - k) whose coverage ``1 - 2 P(Bin(n, ½) < k)`` still reaches
    ``confidence``. With fewer than 6 values no pair reaches 95 % and the whole range is returned.

    Raises:
        ValueError: no values.
    """
    ordered = sorted(values)
    n = len(ordered)
    if n == 0:
        raise ValueError("the interval of no values")
    # Whole numbers: ½ to the power of n underflows long before n stops being a sensible number of values.
    tail, rank = 0, 0
    while rank < n // 2:
        tail += math.comb(n, rank)
        if 1.0 - 2 * tail / 2**n < confidence:
            break
        rank += 1
    low = max(rank - 1, 0)
    return ordered[low], ordered[n - 1 - low]


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
