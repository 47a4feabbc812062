"""What more samples would bring: learning curves of the known devices, scaled to the error of the new one.

Each source plays the unknown device and is judged on samples it did not show. Where the fleet is too small for that,
the model's own posterior says how much uncertainty more samples would remove; it believes in itself, and the report
says so. Neither knows the new device's future: where there is a range, it stands beside the figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...profiler.errors import UsageError
from .branches import make_branches, operator_groups
from .experts import Beliefs, FewShotModel
from .lattice_prior import SOURCES_MIN

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Sample sizes at which the sources' curves are known; between them they are interpolated in log–log.
CURVE_SIZES = (5, 10, 20, 50, 100)
MORE = (10, 20, 50, 100)
#: Fewest samples of a source on which its curve is judged.
_JUDGED_MIN = 30
_SMALLEST_PERCENT = 1e-3


@dataclass(frozen=True)
class Curve:
    """Mean absolute error in per cent of one source, seen as unknown, at each size that its samples allowed."""

    name: str
    samples: tuple[int, ...]
    error_percent: tuple[float, ...]

    def at(self, samples: int) -> float:
        """Interpolated in log–log; the last error beyond the last size, because nobody looked there."""
        logs = np.log(np.maximum(self.error_percent, _SMALLEST_PERCENT))
        return float(np.exp(np.interp(np.log(samples), np.log(self.samples), logs)))


@dataclass(frozen=True)
class Gain:
    """The expected mean absolute error, per cent, after ``more`` samples; ``lo`` and ``hi``: quartiles of the curves.

    None where the basis gives no range.
    """

    more: int
    error_percent: float
    lo_percent: float | None
    hi_percent: float | None


@dataclass(frozen=True)
class EfficiencyReport:
    """What is expected of more samples.

    Attributes:
        samples: how many the model has.
        error_percent: its leave-one-out error now.
        basis: ``learning curves of <n> known devices`` or ``the model's own uncertainty``.
        judged_to: the largest number of samples that a curve was judged at; beyond it no gain is claimed. None for the
            model's own uncertainty.
    """

    samples: int
    error_percent: float
    basis: str
    judged_to: int | None
    gains: tuple[Gain, ...]

    def lines(self) -> list[str]:
        """For people."""
        head = f"{self.samples} samples: mean error {self.error_percent:.1f} % (leave-one-out); by {self.basis}:"
        return [head, *(_line(gain) for gain in self.gains)]


def learning_curves(
    beliefs: Beliefs, *, sizes: Sequence[int] = CURVE_SIZES, names: Sequence[str] | None = None, seed: int = 0
) -> tuple[Curve, ...]:
    """The error of each source as a function of the samples it shows. A second or two for each source.

    The prior over the lattice is the fleet's, which has seen some samples of the source: for few samples that is a
    little too good.

    Args:
        sizes: ascending.
        names: sources to play the unknown device; all where none are given.
        seed: which samples are shown.

    Raises:
        UsageError: fewer than ``SOURCES_MIN`` sources.
    """
    fleet = beliefs.fleet
    if len(fleet.sources) < SOURCES_MIN:
        raise UsageError(f"learning curves need {SOURCES_MIN} known devices, not {len(fleet.sources)}")
    operators = operator_groups(fleet.encoding)
    curves = []
    for place, source in enumerate(fleet.sources):
        if names is not None and source.name not in names:
            continue
        rest = fleet.without(source.name)
        unknown = Beliefs(rest, make_branches(rest, operators, beliefs.priors), beliefs.priors)
        order = np.random.default_rng([seed, place]).permutation(len(source.rows))
        used = [size for size in sizes if size + _JUDGED_MIN <= len(order)]
        judged = order[max(used, default=0) :]
        errors = []
        for size in used:
            shown = order[:size]
            guess = unknown.fit(source.rows[shown], source.latency_ms[shown]).predict_ms()[source.rows[judged]]
            errors.append(float(np.mean(np.abs(guess / source.latency_ms[judged] - 1.0)) * 100))
        if len(used) > 1:
            curves.append(Curve(source.name, tuple(used), tuple(errors)))
    return tuple(curves)


def efficiency_report(
    model: FewShotModel,
    curves: Sequence[Curve] = (),
    *,
    more: Sequence[int] = MORE,
    next_rows: npt.ArrayLike | None = None,
) -> EfficiencyReport:
    """What ``more`` samples would bring.

    Args:
        curves: of the fleet (``learning_curves``); without any, the model's own uncertainty is asked.
        next_rows: architectures that would be measured next, in order, for the model's own uncertainty; typical ones,
            evenly over the space, where none are given.

    Raises:
        UsageError: numbers of samples that are not positive.
    """
    if min(more, default=0) < 1:
        raise UsageError(f"{tuple(more)} more samples cannot be measured")
    error, count = model.loo_error_percent(), len(model.rows)
    if curves:
        judged_to = min(curve.samples[-1] for curve in curves)
        told = tuple(_from_curves(curves, error, count, extra) for extra in more)
        return EfficiencyReport(count, error, f"learning curves of {len(curves)} known devices", judged_to, told)
    typical = np.flatnonzero(model.fleet.typical)
    rows = (
        typical[np.linspace(0, len(typical) - 1, max(more)).astype(int)] if next_rows is None else np.asarray(next_rows)
    )
    ratios = _posterior_ratios(model, rows, more)
    told = tuple(Gain(extra, error * ratios[extra], None, None) for extra in more)
    return EfficiencyReport(count, error, "the model's own uncertainty", None, told)


def _from_curves(curves: Sequence[Curve], error_percent: float, count: int, more: int) -> Gain:
    """The quartiles of what the same step brought the known devices; no step is believed to make it worse."""
    ratio = np.minimum([curve.at(count + more) / curve.at(count) for curve in curves], 1.0)
    low, middle, high = np.quantile(ratio, [0.25, 0.5, 0.75]) * error_percent
    return Gain(more, float(middle), float(low), float(high))


def _posterior_ratios(model: FewShotModel, rows: Ints, more: Sequence[int]) -> Mapping[int, float]:
    """Root mean square deviation after these samples against now; for a Gaussian it needs no measurement.

    Of the heaviest branch, on typical architectures: the covariance shrinks by what the new rows explain.
    """
    branch = model.table.branches[0]
    columns, covariance, noise = branch.design.matrix(), branch.covariance, branch.noise_variance
    typical = columns[model.fleet.typical]

    def known(now: Floats) -> float:
        return float(np.mean(np.maximum(np.einsum("ac,ac->a", typical @ now, typical), 0.0)))

    before = known(covariance) + noise
    ratios = {}
    for extra in more:
        new = columns[rows[:extra]]
        gain = covariance @ new.T
        after = covariance - gain @ np.linalg.solve(new @ gain + noise * np.eye(len(new)), gain.T)
        ratios[extra] = float(np.sqrt((known(after) + noise) / before))
    return ratios


def _line(gain: Gain) -> str:
    scope = "" if gain.lo_percent is None else f" ({gain.lo_percent:.1f} to {gain.hi_percent:.1f} %)"
    return f"  {gain.more:3} more: about {gain.error_percent:.1f} %{scope}"
