"""How a new device's kernels differ from a known one's: a factor for all, for each family and kind, and with size.

    log(new / known) = c + family + kind + slope · (log operations, log bytes) + noise

Bayesian linear regression with a normal prior on every term; how far families, kinds and slopes usually move is not
chosen but summed over a small lattice by its evidence (as ``space_models.bayes_lut``; Bishop, Pattern Recognition and
Machine Learning, §3.5). So twenty kernels move what they speak of, and leave the rest at the common factor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from ...profiler.kernels.graph import Kernel
from ..kernel_work import kind_of, work_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Standard deviations of log ratios that are tried: of families, of kinds, of the slope per deviation of size.
FAMILIES, KINDS, SLOPES = (0.0, 0.1, 0.3), (0.0, 0.1, 0.3), (0.0, 0.05, 0.15)
#: Noise of a log ratio: two measurements, and what of the difference follows no rule.
NOISES = (0.02, 0.05, 0.1, 0.2)
#: The common factor itself is free: its median is taken off, and this is what the median may be wrong by.
_LEVEL = 0.3
#: A ratio further from the median than this many of the ratios' own deviations was disturbed, and counts as so far.
_FAR = 4.0
#: The ratios' deviation, from their median absolute deviation, and the least that is taken for it.
_MAD, _LEAST = 1.4826, 0.02
#: Points of the lattice with less weight than this are not asked what they expect.
_NEGLIGIBLE = 1e-3
_MOVES = ("Reorder", "Transpose", "Concat", "Slice", "Split", "Pad", "Reshape", "Flatten", "Gather", "Resize", "Tile")


@dataclass(frozen=True, eq=False)
class Columns:
    """The terms of the regression for some kernels.

    Attributes:
        values: shape (kernels, columns).
        group: shape (columns,), 0 the common factor, 1 families, 2 kinds, 3 slopes.
    """

    values: Floats
    group: Ints

    def take(self, rows: npt.ArrayLike) -> Columns:
        return Columns(self.values[np.asarray(rows)], self.group)


def family_of(kind: str) -> str:
    """Kinds that are likely to change together: convolutions, depthwise ones, products, moves, and maps."""
    if "Conv" in kind:
        return "depthwise" if "depthwise" in kind else "convolution"
    if any(name in kind for name in ("MatMul", "Gemm", "Attention")):
        return "product"
    return "move" if any(name in kind for name in _MOVES) else "map"


def shift_columns(kernels: Sequence[Kernel]) -> Columns:
    """The terms for these kernels, all of which have a price; kinds and sizes are those of this very set."""
    kinds = [kind_of(kernel) or "" for kernel in kernels]
    families = [family_of(kind) for kind in kinds]
    size = np.array([_size(kernel) for kernel in kernels], dtype=np.float64)
    spread = size.std(axis=0)
    size = (size - size.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    names, groups = sorted(set(kinds)), sorted(set(families))
    parts = (
        np.ones((len(kernels), 1)),
        np.array([[family == group for group in groups] for family in families], dtype=np.float64),
        np.array([[kind == name for name in names] for kind in kinds], dtype=np.float64),
        size,
    )
    counts = [part.shape[1] for part in parts]
    return Columns(np.hstack(parts), np.repeat(np.arange(len(parts)), counts))


def _size(kernel: Kernel) -> tuple[float, float]:
    """Log of millions of operations and of megabytes, with a floor of one operation and a tenth of a kilobyte."""
    work = work_of(kernel)
    moved = work.input_megabytes + work.output_megabytes + work.weight_megabytes
    return math.log(work.mega_flops + 1e-6), math.log(moved + 1e-4)


@dataclass(frozen=True, eq=False)
class Shift:
    """What some measured kernels say of all.

    Attributes:
        log_ratio: shape (kernels,), of every kernel of the columns, measured or not.
        loo: shape (measured,), log ratio of each measured kernel from the others.
        log_evidence: of the ratios, for the choice between known devices.
        common: the factor for all, a median.
        weights: of the points of the lattice, shape (points,), by what the ratios say of each.
    """

    log_ratio: Floats
    loo: Floats
    log_evidence: float
    common: float
    weights: Floats


def fit_shift(columns: Columns, rows: npt.ArrayLike, log_ratio: npt.ArrayLike) -> Shift:
    """Learn the shift from measured kernels.

    Args:
        columns: of all kernels.
        rows: shape (measured,), at least two, those that were measured on both devices.
        log_ratio: shape (measured,), log(new / known), finite.
    """
    chosen, ratio = np.asarray(rows, dtype=np.int64), np.asarray(log_ratio, dtype=np.float64)
    common = float(np.median(ratio))
    away = ratio - common
    reach = _FAR * max(_MAD * float(np.median(np.abs(away))), _LEAST)
    target = np.clip(away, -reach, reach)
    known = columns.values[chosen]
    evidence, guesses, left_out = [], [], []
    for variance, noise in _lattice(columns):
        gain = columns.values * variance
        values, vectors = np.linalg.eigh(gain[chosen] @ known.T)
        spread = np.maximum(values, 0.0) + noise**2
        turned = vectors.T @ target
        evidence.append(-0.5 * float(np.sum(turned**2 / spread + np.log(2 * np.pi * spread))))
        inverse = (vectors / spread) @ vectors.T
        pulls = inverse @ target
        guesses.append(gain @ (known.T @ pulls))
        left_out.append(target - pulls / np.diag(inverse))
    weight = np.exp(np.array(evidence) - max(evidence))
    total = float(weight.sum())
    return Shift(
        log_ratio=common + weight @ np.array(guesses) / total,
        loo=common + weight @ np.array(left_out) / total,
        log_evidence=max(evidence) + math.log(total / len(evidence)),
        common=common,
        weights=weight / total,
    )


def expected_deviation(columns: Columns, shift: Shift, rows: npt.ArrayLike) -> float:
    """How far off the shift of a kernel is expected to be, in logarithms, once these rows are measured: the standard
    deviation, noise included, on the average over all kernels and over the lattice as the ratios weigh it.
    """
    known = columns.values[np.asarray(rows, dtype=np.int64)]
    mean = 0.0
    for (variance, noise), weight in zip(_lattice(columns), shift.weights.tolist(), strict=True):
        if weight < _NEGLIGIBLE:
            continue
        gain = columns.values * variance
        factor = np.linalg.cholesky(known * variance @ known.T + noise**2 * np.eye(len(known)))
        told = np.linalg.solve(factor, known @ gain.T)
        left = np.maximum(0.0, np.sum(gain * columns.values, axis=1) - np.sum(told**2, axis=0))
        mean += weight * float(np.mean(np.sqrt(left + noise**2)))
    return mean / float(shift.weights[shift.weights >= _NEGLIGIBLE].sum())


def _lattice(columns: Columns) -> list[tuple[Floats, float]]:
    """Prior variance of each column and the noise, for every point."""
    points = []
    for family, kind, slope, noise in product(FAMILIES, KINDS, SLOPES, NOISES):
        deviations = np.array([_LEVEL, family, kind, slope])
        points.append((deviations[columns.group] ** 2, noise))
    return points


def choose_kernels(columns: Columns, candidates: npt.ArrayLike, budget: int) -> Ints:
    """Kernels to measure, in order: each next one lowers most the summed variance over all kernels that are known.

    Greedy I-optimality under the middle of the lattice (Fedorov, Theory of Optimal Experiments, 1972, ch. 2): kinds
    that many known kernels have come first, whatever their extremes are.

    Args:
        candidates: rows that may be measured.
        budget: at most as many as there are candidates.
    """
    rows = np.asarray(candidates, dtype=np.int64)
    middle = np.array([_LEVEL, FAMILIES[-1], KINDS[1], SLOPES[1]])[columns.group]
    features = columns.values * middle
    noise = NOISES[1] ** 2
    posterior = np.eye(features.shape[1])
    moment = features.T @ features
    chosen: list[int] = []
    for _ in range(min(budget, len(rows))):
        at = features[rows] @ posterior
        variance = np.einsum("kc,kc->k", at, features[rows]) + noise
        gain = np.einsum("kc,cd,kd->k", at, moment, at) / variance
        gain[np.isin(rows, chosen)] = -np.inf
        pick = int(np.argmax(gain))
        chosen.append(int(rows[pick]))
        posterior = posterior - np.outer(at[pick], at[pick]) / variance[pick]
    return np.array(chosen, dtype=np.int64)
