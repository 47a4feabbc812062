"""The ratio of two latencies with an interval that knows that visits of one process err together.

Cluster bootstrap: sessions are drawn first, then visits within them (Field & Welsh, Bootstrapping clustered data,
J. R. Stat. Soc. B 69, 2007). Nothing here knows the store.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Draws of each side per stream. Two streams make 2,000 ratios: the 2.5 % ends then rest on 50 of them.
DRAWS = 1000
#: Fewer processes than this do not show what another process would give: a median of two has no middle.
SESSIONS_MIN = 3
#: Fewer visits than this have no spread worth an interval.
VISITS_MIN = 3
CONFIDENCE = 0.95
#: The repeatability radius is the 90 % point of the difference of two sessions, whose deviation is √2 that of one; of a
#: normal deviate 90 % stay within 1.645 deviations.
_RADIUS_IN_DEVIATIONS = 1.645 * math.sqrt(2.0)


@dataclass(frozen=True)
class SideSample:
    """One workload on one side.

    Attributes:
        sessions_ms: values of the visits of each session (runner process), all above 0, in a fixed order.
        radius: relative difference between two sessions that 90 % of this device's workloads stay within; None when
            nothing was repeated there.
    """

    sessions_ms: tuple[tuple[float, ...], ...]
    radius: float | None = None

    @property
    def latency_ms(self) -> float:
        """Median over the sessions of the median over the visits."""
        return statistics.median(statistics.median(values) for values in self.sessions_ms)

    @property
    def visits(self) -> int:
        return sum(len(values) for values in self.sessions_ms)

    @property
    def spread(self) -> str:
        """What the interval of this side covers; empty when there is too little for one."""
        if len(self.sessions_ms) >= SESSIONS_MIN:
            return "across sessions"
        if self.radius is not None:
            return "within the session, widened by the device's repeatability"
        return "within the session" if min(map(len, self.sessions_ms)) >= VISITS_MIN else ""


@dataclass(frozen=True)
class Ratio:
    """B over A. ``log_draws`` has shape (2 · DRAWS,); it and the interval are None when a side has too few values."""

    ratio: float
    lo: float | None
    hi: float | None
    log_draws: Floats | None


def ratio_of(a: SideSample, b: SideSample, *, seed: int = 0, key: str = "") -> Ratio:
    """The ratio B / A of the latencies with its 95 % percentile interval; exchanging A and B gives its reciprocal.

    Each side is drawn from two streams of chance and each draw used against the other stream, so that no side has
    a stream of its own: that makes the exchange exact, and the interval of equal sides symmetric about 1.

    Args:
        key: tells workloads apart: visits are drawn anew for each key, sessions and the noise between sessions are
            not, because all workloads of one process err together.
    """
    ratio = b.latency_ms / a.latency_ms
    if not a.spread or not b.spread:
        return Ratio(ratio, None, None, None)
    (a0, a1), (b0, b1) = ([_log_draws(side, seed, stream, key) for stream in (0, 1)] for side in (a, b))
    draws = np.concatenate([b1 - a0, b0 - a1])
    return Ratio(ratio, *interval_of(draws), draws)


def interval_of(log_draws: Floats) -> tuple[float, float]:
    """The middle 95 % of draws of a logarithm, as numbers."""
    tail = (1.0 - CONFIDENCE) / 2
    lo, hi = np.exp(np.quantile(log_draws, [tail, 1.0 - tail]))
    return float(lo), float(hi)


def _log_draws(side: SideSample, seed: int, stream: int, key: str) -> Floats:
    """Logarithms of latencies that the side might have shown instead, shape (DRAWS,)."""
    word = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    common, own = np.random.default_rng([seed, stream]), np.random.default_rng([seed, stream, word])
    medians = np.stack([_medians(np.array(values, dtype=np.float64), own) for values in side.sessions_ms])
    sessions = len(medians)
    if sessions >= SESSIONS_MIN:
        chosen = common.integers(sessions, size=(DRAWS, sessions))
        # A session that is drawn twice must bring two draws of its visits.
        drawn = medians[chosen, own.integers(DRAWS, size=chosen.shape)]
        return np.log(np.median(drawn, axis=1))
    logs = np.log(np.median(medians, axis=0))
    if side.radius is None:
        return logs
    deviation = side.radius / _RADIUS_IN_DEVIATIONS / math.sqrt(sessions)
    return logs + deviation * common.standard_normal(DRAWS)


def _medians(values: Floats, chance: np.random.Generator) -> Floats:
    """Medians of samples of the values, drawn with replacement, shape (DRAWS,)."""
    drawn: Floats = np.median(values[chance.integers(len(values), size=(DRAWS, len(values)))], axis=1)
    return drawn
