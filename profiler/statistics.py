"""Statistics of latency samples: median with an order-statistic interval, spread, percentiles. Standard library only.

Nothing here rejects a value: rejection is by cause (``protocol.py``), never by size. Python's own ``statistics`` is
left alone for the half megabyte of fractions and decimals that it brings: boards with little memory load this file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

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


def median(values: Iterable[float]) -> float:
    """The middle value, or the mean of the two in the middle.

    Raises:
        ValueError: no values.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("the median of no values")
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of them lie, linear between neighbours: definition 7 of Hyndman & Fan (1996).

    It is numpy's default, and equal to its to the last bit: stored numbers came from there before boards had to do
    without it.

    Raises:
        ValueError: no values.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("the quantile of no values")
    place = (len(ordered) - 1) * share
    below = math.floor(place)
    if below >= len(ordered) - 1:
        return float(ordered[-1])
    start, end, inward = ordered[below], ordered[below + 1], place - below
    # From the nearer of the two, so that a rounding error grows with the distance from it.
    value = start + (end - start) * inward if inward < 0.5 else end - (end - start) * (1 - inward)
    return float(value)


def summarise(visits: Sequence[Visit]) -> Latency | None:
    """The statistic of record over the valid visits; None when there is none."""
    valid = [visit for visit in visits if visit.value_ns is not None]
    if not valid:
        return None
    values = [visit.value_ns / 1e6 for visit in visits if visit.value_ns is not None]
    runs = sorted(wall_ns / 1e6 for visit in valid for wall_ns in visit.wall_ns)
    lo, hi = median_interval(values)
    middle = median(values)
    return Latency(
        median_ms=middle,
        lo_ms=lo,
        hi_ms=hi,
        min_ms=min(values),
        quartile_ms=quantile(values, 0.25),
        mean_ms=math.fsum(values) / len(values),
        p90_ms=quantile(runs, 0.90),
        p99_ms=quantile(runs, 0.99),
        mad_ms=median(abs(value - middle) for value in values) if len(values) > 1 else None,
        visits=len(valid),
        runs=len(runs),
    )
