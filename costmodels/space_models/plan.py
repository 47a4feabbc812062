"""Which architectures to measure on a new device, chosen before anything is measured on it.

Two or fewer sources say too little about what will vary, so the plan spreads over predicted latency; with three or more
it is D-optimal under the fleet's prior, greedily (Nemhauser, Wolsey & Fisher, Mathematical Programming 14, 1978: within
1 - 1/e of the best). Never over degenerate networks, and never over the tails of predicted latency: there the prior's
extremes collapse a D-optimal plan onto oddities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...profiler.errors import UsageError
from .fleet import Fleet
from .prior_design import Branch

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: From this many sources on a D-optimal plan is better than a stratified one.
SOURCES_FOR_OPTIMAL = 3
#: The band of predicted latency that a plan keeps to.
BAND = (0.1, 0.9)
#: Candidates of a D-optimal plan: more cost time and bring nothing new.
_CANDIDATES = 2000


@dataclass(frozen=True, eq=False)
class Plan:
    """Architectures to measure, in order: any beginning of a D-optimal plan is a plan.

    Attributes:
        rows: shape (budget,), all different, none degenerate.
        strategy: ``d-optimal`` or ``stratified``.
    """

    rows: Ints
    strategy: str


def plan_samples(
    fleet: Fleet,
    branches: Sequence[Branch],
    budget: int,
    *,
    pool: npt.ArrayLike | None = None,
    strategy: str | None = None,
    seed: int = 0,
) -> Plan:
    """Choose ``budget`` architectures.

    Args:
        branches: the fleet's prior beliefs (``experts.prepare``).
        pool: rows that may be measured; all of the space where none are given.
        strategy: ``d-optimal`` or ``stratified``; by the number of sources where none is given.
        seed: of the choice within strata; a D-optimal plan has no chance in it.

    Raises:
        UsageError: a budget below 1 or above what the pool holds, an unknown strategy, ``d-optimal`` without a source.
    """
    guess = predicted_latency(fleet)
    candidates = _band(fleet, guess, pool)
    if not 1 <= budget <= len(candidates):
        raise UsageError(
            f"a plan of {budget} samples cannot be made from {len(candidates)} architectures",
            remedy="ask for at least one sample, or widen the pool",
        )
    chosen = strategy or ("d-optimal" if len(fleet.sources) >= SOURCES_FOR_OPTIMAL else "stratified")
    if chosen == "stratified":
        return Plan(_stratified(candidates, guess, budget, seed), chosen)
    if chosen != "d-optimal" or not fleet.sources:
        raise UsageError(f"no {chosen!r} plan can be made", remedy="stratified, or d-optimal with at least one source")
    return Plan(_d_optimal(branches, _thinned(candidates, guess, budget), budget), chosen)


def predicted_latency(fleet: Fleet) -> Floats:
    """What orders architectures before any measurement, shape (architectures,), without a unit.

    The mean of the sources' relative surfaces; without sources the sum of the standardised work terms.
    """
    if fleet.sources:
        return np.asarray(fleet.relative().mean(axis=1), dtype=np.float64)
    work = fleet.encoding.block("physical").values
    spread = work[fleet.typical].std(axis=0)
    total: Floats = (work[:, spread > 0] / spread[spread > 0]).sum(axis=1)
    return total


def _band(fleet: Fleet, guess: Floats, pool: npt.ArrayLike | None) -> Ints:
    rows = np.arange(fleet.encoding.size) if pool is None else np.unique(np.asarray(pool, dtype=np.int64))
    rows = rows[fleet.typical[rows]]
    if not len(rows):
        raise UsageError("every architecture of the pool is degenerate: there is nothing to measure")
    low, high = np.quantile(guess[rows], BAND)
    inside: Ints = rows[(guess[rows] >= low) & (guess[rows] <= high)]
    return inside


def _thinned(candidates: Ints, guess: Floats, budget: int) -> Ints:
    """Evenly over predicted latency, no more than are useful."""
    keep = max(_CANDIDATES, budget)
    if len(candidates) <= keep:
        return candidates
    ordered = candidates[np.argsort(guess[candidates], kind="stable")]
    return ordered[np.linspace(0, len(ordered) - 1, keep).round().astype(np.int64)]


def _stratified(candidates: Ints, guess: Floats, budget: int, seed: int) -> Ints:
    ordered = candidates[np.argsort(guess[candidates], kind="stable")]
    generator = np.random.default_rng(seed)
    return np.array([generator.choice(stratum) for stratum in np.array_split(ordered, budget)], dtype=np.int64)


def _d_optimal(branches: Sequence[Branch], candidates: Ints, budget: int) -> Ints:
    """Each next architecture is the one whose latency the plan so far leaves most uncertain, relative to its noise.

    That is the greedy step for the determinant of the samples' covariance: a pivoted Cholesky factorisation.
    """
    features, noise = _prior_features(branches, candidates)
    left = np.sum(features**2, axis=1)
    factors = np.zeros((len(candidates), 0))
    chosen: list[int] = []
    for _ in range(budget):
        allowed = np.where(np.isin(np.arange(len(candidates)), chosen), -np.inf, left)
        pick = int(np.argmax(allowed))
        chosen.append(pick)
        column = features @ features[pick] - factors @ factors[pick]
        column /= np.sqrt(max(left[pick], 0.0) + noise)
        left = left - column**2
        factors = np.column_stack([factors, column])
    return candidates[chosen]


def _prior_features(branches: Sequence[Branch], candidates: Ints) -> tuple[Floats, float]:
    """Columns whose inner products are the prior covariance of relative latencies, and the variance of their noise.

    Of the families ``mean`` and ``none`` by their prior shares: the twins' differences are the sources' deviations of
    ``mean`` already.
    """
    used = [branch for branch in branches if branch.name in ("mean", "none")]
    shares = np.exp([branch.log_prior for branch in used])
    shares /= shares.sum()
    parts, noise = [], 0.0
    for share, branch in zip(shares, used, strict=True):
        weight = np.exp(branch.lattice.log_prior)
        noise += float(share * (weight.sum(axis=0) @ branch.lattice.noise_variances))
        variance = weight.sum(axis=1) @ branch.lattice.variances
        for group, each in zip(branch.design.groups, variance, strict=True):
            parts.append(group.values[candidates] * np.sqrt(share * each))
    return np.hstack(parts), noise
