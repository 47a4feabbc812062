"""A lookup table from ten or twenty samples: Bayesian linear regression whose variances are summed out over a lattice.

In units of the samples' own scale the latency of a network is a prior mean, plus groups of columns times unknown costs,
plus noise relative to a given surface:  y / scale = mean(a) + Σ_g B_g(a) θ_g + noise(a) ε,  θ_g ~ N(0, v_g I) and
ε ~ N(0, σ²). For given variances everything is closed form (Bishop, Pattern Recognition and Machine Learning, §3.3–3.5;
leave-one-out: Rasmussen & Williams, Gaussian Processes for Machine Learning, §5.4.2). The variances are not guessed and
not optimised: every point of a small lattice is weighted by its evidence and its prior. Nothing is sampled, so equal
input gives equal output. The average over the lattice is linear in the columns, hence a table that can be exported.

Where designs and the priors of their lattices come from is settled elsewhere (``branches.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...profiler.errors import UsageError
from .prior_design import Branch, Design, Lattice

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Lattice points with less than this share of the best one's posterior weight move no prediction that anybody reads.
_NEGLIGIBLE = 1e-4
#: Lattice points whose learnt prior is below this times the best are left out before anything is computed.
_IMPOSSIBLE = 1e-4
#: With more samples than this, so many of them say first which points are hopeless: the cost of a point is cubic.
_SCREENED_ABOVE, _SCREENING_SAMPLES = 15, 12
#: Hopeless is a posterior weight, by the screening samples, below this share of the best point's.
_HOPELESS = 1e-6
#: A latency is never predicted below this share of the smallest one measured: the linear form knows no floor.
_FLOOR = 0.2


@dataclass(frozen=True, eq=False)
class FittedBranch:
    """What the samples made of a branch.

    Attributes:
        weight: posterior weight of the branch; all branches of a fit sum to one.
        scale_ms: milliseconds per unit of the design.
        costs: shape (columns,), posterior mean of θ in units of ``scale_ms``.
        covariance: shape (columns, columns), its posterior covariance.
        noise_variance: posterior mean of σ².
    """

    name: str
    design: Design
    weight: float
    scale_ms: float
    costs: Floats
    covariance: Floats
    noise_variance: float

    def predict_ms(self) -> Floats:
        """The linear form for every architecture, milliseconds, shape (architectures,); may be negative far outside."""
        design = self.design
        linear: Floats = self.scale_ms * (design.mean + design.noise * design.dot(self.costs))
        return linear

    def variance_ms2(self) -> Floats:
        """Variance of a new measurement of every architecture, squared milliseconds, shape (architectures,)."""
        columns = self.design.matrix()
        known = np.maximum(np.einsum("ac,ac->a", columns @ self.covariance, columns), 0.0)
        variance: Floats = (self.scale_ms * self.design.noise) ** 2 * (known + self.noise_variance)
        return variance

    def column_costs_ms(self) -> dict[str, float]:
        """The table: milliseconds per unit of each original column, by ``group.column``; the mean stands beside it."""
        groups = self.design.groups
        named = [f"{group.name}.{column}" for group in groups for column in group.columns]
        unit = np.repeat([group.unit for group in groups], [len(group.columns) for group in groups])
        return dict(zip(named, (self.scale_ms * self.costs * unit).tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class BayesLut:
    """The average of all branches. Arrays over samples stand in the order of the samples.

    Attributes:
        branches: those with a weight worth computing, heaviest first.
        loo_ms: prediction of each sample from the others, with the weights that the others alone would have given.
        loo_deviation_ms: its standard deviation.
        floor_ms: the least that is predicted.
    """

    branches: tuple[FittedBranch, ...]
    loo_ms: Floats
    loo_deviation_ms: Floats
    floor_ms: float

    def predict_ms(self) -> Floats:
        """Latency of every architecture, milliseconds, shape (architectures,)."""
        return np.maximum(self._mean(), self.floor_ms)

    def deviation_ms(self) -> Floats:
        """Standard deviation of a new measurement of every architecture, within and between branches, milliseconds."""
        mean = self._mean()
        variance = sum(b.weight * (b.variance_ms2() + (b.predict_ms() - mean) ** 2) for b in self.branches)
        return np.sqrt(np.asarray(variance, dtype=np.float64))

    def weight_of(self, prefix: str) -> float:
        """Posterior weight of all branches whose name begins like this."""
        return float(sum(branch.weight for branch in self.branches if branch.name.startswith(prefix)))

    def _mean(self) -> Floats:
        return np.asarray(sum(b.weight * b.predict_ms() for b in self.branches), dtype=np.float64)


def log_evidence(design: Design, lattice: Lattice, rows: Ints, latency_ms: Floats) -> Floats:
    """Log density of the samples in milliseconds at every point of the lattice, shape (points, levels), no prior."""
    return _Spectrum.of(design, lattice, rows, latency_ms).log_evidence()


def fit_bayes_lut(branches: Sequence[Branch], rows: npt.ArrayLike, latency_ms: npt.ArrayLike) -> BayesLut:
    """Weigh every lattice point of every branch by the samples, and average.

    Args:
        branches: at least one, all over the same architectures.
        rows: the architectures that were measured, shape (samples,); one may occur more than once.
        latency_ms: shape (samples,), positive.

    Raises:
        UsageError: no samples, rows outside the design, or latencies that are not positive and finite.
    """
    chosen, measured = check_samples(rows, latency_ms, len(branches[0].design.mean))
    lattices = _screened(branches, chosen, measured)
    spectra = [
        _Spectrum.of(branch.design, lattice, chosen, measured)
        for branch, lattice in zip(branches, lattices, strict=True)
    ]
    scores = [
        spectrum.log_evidence() + lattice.log_prior + branch.log_prior
        for branch, lattice, spectrum in zip(branches, lattices, spectra, strict=True)
    ]
    best = max(float(each.max()) for each in scores)
    solved = [
        _solve(branch, lattice, np.exp(each - best), chosen, measured)
        for branch, lattice, each in zip(branches, lattices, scores, strict=True)
        if each.max() > best + np.log(_NEGLIGIBLE)
    ]
    total = sum(float(part.share.sum()) for part in solved)
    loo_ms, deviation_ms = _leave_one_out(spectra, scores, measured)
    fitted = sorted((_fitted(part, total, chosen) for part in solved), key=lambda branch: -branch.weight)
    floor_ms = _FLOOR * float(measured.min())
    return BayesLut(tuple(fitted), np.maximum(loo_ms, floor_ms), deviation_ms, floor_ms)


def check_samples(rows: npt.ArrayLike, latency_ms: npt.ArrayLike, architectures: int) -> tuple[Ints, Floats]:
    """Samples as arrays.

    Raises:
        UsageError: none, lengths that differ, rows outside 0 … architectures - 1, latencies not positive and finite.
    """
    chosen, measured = np.asarray(rows), np.asarray(latency_ms, dtype=np.float64)
    if not chosen.size:
        raise UsageError("there is nothing to learn from", remedy="measure at least one architecture")
    if chosen.ndim != 1 or chosen.shape != measured.shape or not np.issubdtype(chosen.dtype, np.integer):
        raise UsageError(f"rows of shape {chosen.shape} and latencies of shape {measured.shape} are not samples")
    if chosen.min() < 0 or chosen.max() >= architectures:
        raise UsageError(f"samples must be rows 0 … {architectures - 1} of the space")
    if not np.all(np.isfinite(measured) & (measured > 0)):
        raise UsageError("latencies must be positive and finite", remedy="leave out what could not be measured")
    return chosen.astype(np.int64), measured


@dataclass(frozen=True, eq=False)
class _Spectrum:
    """The samples' covariance at every point of a lattice, diagonalised: all noise levels of a point share the vectors.

    Attributes:
        unit_ms: shape (samples,), milliseconds per unit of the target.
        vectors: shape (points, samples, samples); ``turned``: shape (points, samples), the target in their basis.
        spread: shape (points, levels, samples), eigenvalues with noise.
    """

    unit_ms: Floats
    vectors: Floats
    turned: Floats
    spread: Floats

    @classmethod
    def of(cls, design: Design, lattice: Lattice, rows: Ints, latency_ms: Floats) -> _Spectrum:
        scale_ms = design.scale_ms(rows, latency_ms)
        target = (latency_ms / scale_ms - design.mean[rows]) / design.noise[rows]
        values, vectors = np.linalg.eigh(_kernels(design, lattice.variances, rows))
        turned = np.einsum("pij,i->pj", vectors, target)
        spread = np.maximum(values, 0.0)[:, None, :] + lattice.noise_variances[None, :, None]
        return cls(scale_ms * design.noise[rows], vectors, turned, spread)

    def log_evidence(self) -> Floats:
        """Log density of the samples in milliseconds, shape (points, levels)."""
        fit = np.sum(self.turned[:, None, :] ** 2 / self.spread + np.log(2 * np.pi * self.spread), axis=2)
        density: Floats = -0.5 * fit - float(np.sum(np.log(self.unit_ms)))
        return density

    def leave_one_out(self) -> tuple[Floats, Floats]:
        """Error (measured less predicted) and variance of each sample from the others, in ms and ms².

        Both of shape (points × levels, samples), by the diagonal of the covariance's inverse.
        """
        samples = len(self.unit_ms)
        inverse = np.transpose(1.0 / self.spread, (0, 2, 1))
        curvature = np.transpose(self.vectors**2 @ inverse, (0, 2, 1)).reshape(-1, samples)
        weighted = self.turned[:, :, None] * inverse
        coefficients = np.transpose(self.vectors @ weighted, (0, 2, 1)).reshape(-1, samples)
        return self.unit_ms * coefficients / curvature, self.unit_ms**2 / curvature


def _screened(branches: Sequence[Branch], rows: Ints, latency_ms: Floats) -> list[Lattice]:
    """The lattices without what the prior makes hopeless or, of many samples, a few; no branch is left empty."""
    lattices = [branch.lattice.probable(_IMPOSSIBLE) for branch in branches]
    if len(rows) <= _SCREENED_ABOVE:
        return lattices
    some = np.linspace(0, len(rows) - 1, _SCREENING_SAMPLES).round().astype(np.int64)
    scores = [
        (log_evidence(branch.design, lattice, rows[some], latency_ms[some]) + lattice.log_prior).max(axis=1)
        + branch.log_prior
        for branch, lattice in zip(branches, lattices, strict=True)
    ]
    least = max(float(score.max()) for score in scores) + np.log(_HOPELESS)
    return [
        lattice.where(score >= min(least, float(score.max()))) for lattice, score in zip(lattices, scores, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _Solved:
    """The posterior at every point of a branch that counts.

    Attributes:
        share: shape (points,), posterior weights, up to a factor that all branches have in common.
        variances: shape (points, groups); ``noise_variances``: shape (points,).
        inverse: shape (points, samples, samples), of the samples' covariance in units of the noise surface.
        coefficients: shape (points, samples), the inverse times the target.
    """

    branch: Branch
    scale_ms: float
    share: Floats
    variances: Floats
    noise_variances: Floats
    inverse: Floats
    coefficients: Floats


def _solve(branch: Branch, lattice: Lattice, weights: Floats, rows: Ints, latency_ms: Floats) -> _Solved:
    design = branch.design
    point, level = np.nonzero(weights > _NEGLIGIBLE)
    scale_ms = design.scale_ms(rows, latency_ms)
    target = (latency_ms / scale_ms - design.mean[rows]) / design.noise[rows]
    variances, noise = lattice.variances[point], lattice.noise_variances[level]
    covariance = _kernels(design, variances, rows) + noise[:, None, None] * np.eye(len(rows))
    inverse = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
    return _Solved(branch, scale_ms, weights[point, level], variances, noise, inverse, inverse @ target)


def _fitted(part: _Solved, total: float, rows: Ints) -> FittedBranch:
    """Mean and covariance of the mixture over a branch's points: within the points and between them.

    The gain of group g at a point is v_g Φ_gᵀ, so the sums over points are over (samples, samples) matrices only.
    """
    design, share = part.branch.design, part.share / part.share.sum()
    groups = [group.values[rows] for group in design.groups]
    pulls = share @ (part.variances[:, :, None] * part.coefficients[:, None, :]).reshape(len(share), -1)
    pulls = pulls.reshape(len(groups), len(rows))
    costs = np.concatenate([values.T @ pull for values, pull in zip(groups, pulls, strict=True)])
    second = np.einsum("p,pi,pj->pij", share, part.coefficients, part.coefficients)
    spread = second - share[:, None, None] * part.inverse
    blocks = []
    for g, left in enumerate(groups):
        row = []
        for h, right in enumerate(groups):
            inner = np.tensordot(part.variances[:, g] * part.variances[:, h], spread, axes=1)
            row.append(left.T @ (inner - np.outer(pulls[g], pulls[h])) @ right)
        blocks.append(row)
    prior = np.repeat(share @ part.variances, [values.shape[1] for values in groups])
    return FittedBranch(
        name=part.branch.name,
        design=design,
        weight=float(part.share.sum() / total),
        scale_ms=part.scale_ms,
        costs=costs,
        covariance=np.block(blocks) + np.diag(prior),
        noise_variance=float(share @ part.noise_variances),
    )


def _leave_one_out(spectra: Sequence[_Spectrum], scores: Sequence[Floats], latency_ms: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation of each sample's prediction from the others, milliseconds; exact for given scales.

    A sample that is left out takes its factor out of each point's evidence, too: its own density at that point. So all
    points take part, also those that this very sample makes negligible.
    """
    parts = [spectrum.leave_one_out() for spectrum in spectra]
    error = np.concatenate([part[0] for part in parts])
    variance = np.concatenate([part[1] for part in parts])
    log_share = np.concatenate([each.ravel() for each in scores])
    log_weight = log_share[:, None] + 0.5 * (error**2 / variance + np.log(variance))
    weight = np.exp(log_weight - log_weight.max(axis=0))
    weight /= weight.sum(axis=0)
    guess = latency_ms - error
    mean = np.sum(weight * guess, axis=0)
    return mean, np.sqrt(np.sum(weight * (variance + (guess - mean) ** 2), axis=0))


def _kernels(design: Design, variances: Floats, rows: Ints) -> Floats:
    """Prior covariance of the samples at every point, without noise, shape (points, samples, samples)."""
    grams = np.array([group.values[rows] @ group.values[rows].T for group in design.groups])
    kernels: Floats = np.tensordot(variances, grams, axes=1)
    return kernels
