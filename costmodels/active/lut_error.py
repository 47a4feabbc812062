"""How wrong a lookup table is expected to be: measured cells, predicted cells, and the architectures made of them.

**The error of a table** is the relative error that the price Σ cells of an architecture stays within with a probability
of 90 %, the architecture drawn at random from the space and the errors as they are expected: against the same table
with every cell measured without error. It is not the error against a whole network end to end (``additivity`` is).

The size of the errors is never taken from the model that prices, but from cells that it had not seen: see ``Evidence``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from ..dataset import Sample

Floats = npt.NDArray[np.float64]

#: Share of architectures, and of the ways the errors may fall, that the estimate covers.
COVERED = 0.9
#: Cells predicted unseen before an estimate is believed: with ten, the size of the errors is known within about 25 %.
EVIDENCE_MIN = 10
#: What is believed of the size of errors before any is seen: as the model of errors has it, as if seen so many times.
_PRIOR_CELLS = 4
#: Standard deviation between processes that is believed before any cell was measured in two, as if seen so many times:
#: of two processes' medians, 90 % differ by 2.7 % at most (``benchmarks/repeatability.py``).
PROCESS_SIGMA, _PRIOR_PAIRS = 0.01, 4
#: Half of a 95 % interval in standard deviations.
_HALF_95 = 1.96
_BISECTIONS = 60


@dataclass(frozen=True)
class Evidence:
    """Errors of predictions whose cells the predicting model had not seen, in units of what was expected of them.

    Attributes:
        held_out: by five models, each without a fifth of the graphs.
        newest: of the cells measured last, by a model that knows all others: predicted, then measured.
    """

    held_out: Floats
    newest: Floats

    @property
    def cells(self) -> int:
        return len(self.held_out)

    def scale(self) -> tuple[float, int]:
        """By how much errors are larger than expected, and from how many cells that is known: the worse of the two."""
        both = ((_scale(errors), len(errors)) for errors in (self.held_out, self.newest))
        return max(both)


@dataclass(frozen=True)
class LutError:
    """An estimate.

    Attributes:
        error: relative error that a price stays within with probability ``COVERED``; None without enough evidence.
        of_noise: the part that would stay if every cell were measured as the measured ones are.
        evidence_cells: cells that were predicted unseen.
        scale: by how much their errors were larger than the model of errors had it.
    """

    error: float | None
    of_noise: float
    evidence_cells: int
    scale: float


def estimate_error(
    shares: Floats, predicted_covariance: Floats, noise: Floats, typical_noise: float, evidence: Evidence | None
) -> LutError:
    """The error of a table.

    Args:
        shares: of each cell in each architecture's latency, shape (architectures, cells).
        predicted_covariance: of the log errors of predicted cells before scaling, shape (cells, cells); 0 for measured
            ones.
        noise: variance of the log error of each measured cell, 0 for predicted ones, shape (cells,).
        typical_noise: the same of a cell that would be measured.
        evidence: None where nothing was predicted unseen. Not needed when every cell is measured.
    """
    measured = noise > 0
    if_all = np.einsum("ac,c->a", shares**2, np.where(measured, noise, typical_noise))
    of_noise = covering_quantile(if_all, math.inf)
    if measured.all():
        return LutError(of_noise, of_noise, 0 if evidence is None else evidence.cells, 1.0)
    if evidence is None:
        return LutError(None, of_noise, 0, 1.0)
    scale, cells = evidence.scale()
    variances = scale**2 * np.einsum("ai,ij,aj->a", shares, predicted_covariance, shares)
    variances = np.maximum(variances, 0.0) + np.einsum("ac,c->a", shares**2, noise)
    error = covering_quantile(variances, cells + _PRIOR_CELLS) if evidence.cells >= EVIDENCE_MIN else None
    return LutError(error, of_noise, evidence.cells, scale)


def covering_quantile(variances: Floats, freedom: float, covered: float = COVERED) -> float:
    """The error that a random architecture's stays within with probability ``covered``.

    Each architecture's error follows Student's t about 0: the size of errors is itself known from few cells only.

    Args:
        variances: of the architectures' log errors, shape (architectures,).
        freedom: from how many errors their size is known; infinity for the normal distribution.
    """
    sigma = np.sqrt(np.maximum(variances, np.finfo(np.float64).tiny))
    reach = float(student.ppf((1 + covered) / 2, freedom))
    low, high = reach * float(sigma.min()), reach * float(sigma.max())
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if float(np.mean(2 * student.cdf(middle / sigma, freedom) - 1)) < covered:
            low = middle
        else:
            high = middle
    return high


def process_sigma(samples: Sequence[Sample]) -> float:
    """Standard deviation of log latency between processes, from what was measured in more than one."""
    squares = [
        math.log(second / first) ** 2 / 2
        for first, second in (sample.sessions_ms[:2] for sample in samples if len(sample.sessions_ms) > 1)
    ]
    whole = _PRIOR_PAIRS * PROCESS_SIGMA**2 + math.fsum(squares)
    return math.sqrt(whole / (_PRIOR_PAIRS + len(squares)))


def noise_variance(sample: Sample, between_processes: float) -> float:
    """Variance of the log error of a measured graph: within its sessions and between processes."""
    within = (sample.hi_ms - sample.lo_ms) / 2 / sample.latency_ms / _HALF_95
    return within**2 + between_processes**2 / len(sample.sessions_ms)


def _scale(errors: Floats) -> float:
    return math.sqrt((_PRIOR_CELLS + float(np.sum(errors**2))) / (_PRIOR_CELLS + len(errors)))
