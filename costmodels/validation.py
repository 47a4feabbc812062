"""What predictions are worth: accuracy on graphs that were held out, beside the repeatability floor and a naive
baseline.

No predictor can agree with a measurement better than a second measurement does; so the floor stands beside every
accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from ..profiler.kernels.graph import Kernel
from .dataset import Sample
from .kernel_work import work_of

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Accuracy:
    """Agreement of predicted with measured latencies; shares between 0 and 1, errors in per cent of the measured value.

    ``spearman`` is None for fewer than three graphs, and where one side has no ranking because all values are equal.
    """

    n: int
    mape_percent: float
    worst_percent: float
    within_2: float
    within_5: float
    within_10: float
    spearman: float | None


def accuracy(predicted: npt.ArrayLike, measured: npt.ArrayLike) -> Accuracy | None:
    """Compare; None when there is nothing to compare. Graphs whose prediction is NaN count as misses of every band."""
    guess, truth = np.asarray(predicted, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    if not len(truth):
        return None
    error = np.abs(guess / truth - 1.0)
    known = np.isfinite(error)
    if not known.any():
        return None
    return Accuracy(
        n=len(truth),
        mape_percent=float(error[known].mean() * 100),
        worst_percent=float(error[known].max() * 100),
        within_2=float((error <= 0.02).mean()),
        within_5=float((error <= 0.05).mean()),
        within_10=float((error <= 0.10).mean()),
        spearman=_spearman(guess[known], truth[known]),
    )


def _spearman(guess: Floats, truth: Floats) -> float | None:
    if len(truth) < 3 or not np.ptp(guess) or not np.ptp(truth):
        return None
    return float(spearmanr(guess, truth).statistic)


def repeatability(samples: Sequence[Sample]) -> Accuracy | None:
    """Agreement of each graph's second session with its first: both are fresh processes. None where none repeats."""
    return repeatability_of([sample.sessions_ms for sample in samples])


def repeatability_of(sessions: Sequence[Sequence[float]]) -> Accuracy | None:
    """The same from the values of each graph's sessions, in whatever unit."""
    pairs = [values[:2] for values in sessions if len(values) > 1]
    return accuracy([second for _, second in pairs], [first for first, _ in pairs])


def sessions_agree(sessions_ms: Sequence[float], within: float) -> bool:
    """Whether any two sessions of a graph differ by no more than this share of the shorter one."""
    ordered = sorted(sessions_ms)
    return any(high - low <= within * low for low, high in pairwise(ordered))


def repeatability_radius(samples: Sequence[Sample], quantile: float = 0.9) -> float | None:
    """Relative difference between two sessions that this share of graphs stays within; None without repetitions."""
    return sessions_radius([sample.sessions_ms for sample in samples], quantile)


def sessions_radius(sessions: Sequence[Sequence[float]], quantile: float = 0.9) -> float | None:
    """The same of any positive quantity: for each graph what each session said."""
    pairs = [one[:2] for one in sessions if len(one) > 1]
    if not pairs:
        return None
    return float(np.quantile([abs(second / first - 1.0) for first, second in pairs], quantile, method="higher"))


def flops_baseline(graphs: Sequence[Sequence[Kernel]], latency_ms: Floats, fold: npt.NDArray[np.int64]) -> Floats:
    """What FLOPs alone predict: a line fitted to relative errors on the other folds, shape (graphs,), milliseconds."""
    mega_flops = np.array([sum(work_of(kernel).mega_flops for kernel in graph) for graph in graphs])
    design = np.column_stack([np.ones(len(graphs)), mega_flops])
    guess = np.empty(len(graphs))
    for number in np.unique(fold):
        inside, outside = fold != number, fold == number
        line, *_ = np.linalg.lstsq(design[inside] / latency_ms[inside, None], np.ones(inside.sum()), rcond=None)
        guess[outside] = design[outside] @ line
    return guess
