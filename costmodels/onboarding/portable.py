"""A few-shot model as two arrays: what can be kept of it without the fleet and the lattice that made it.

Every branch of the Bayesian table is linear in u(a) = (1, the standardised columns of a, what each source predicts for
a), and its variance is a quadratic form in u. So the average of all branches has the mean f·u and the variance uᵀV u,
with V = Σ w (scale² (Aᵀ C A + σ² n nᵀ) + f fᵀ) - f̄ f̄ᵀ; the stack is linear in the sources. Nothing is approximated:
for the architectures of the fit the numbers are those of ``FewShotModel``, and they hold for any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...profiler.errors import UsageError
from ..space_models.bayes_lut import FittedBranch
from ..space_models.encoding import Encoding
from ..space_models.experts import FewShotModel
from ..space_models.few_shot_intervals import few_shot_width
from ..space_models.fleet import LEAST, Fleet
from ..space_models.linear_form import raw_columns

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Columns:
    """How u is made: (1, (column - centre) / spread …, source / median …).

    Attributes:
        names: columns of the encoding, ``block.column``.
        centres, spreads: shape (columns,); an infinite spread leaves a column out.
        sources: names of the sources, and ``medians_ms`` their medians over the architectures of the fit.
    """

    names: tuple[str, ...]
    centres: Floats
    spreads: Floats
    sources: tuple[str, ...]
    medians_ms: Floats

    @property
    def size(self) -> int:
        return 1 + len(self.names) + len(self.sources)

    def of(self, encoding: Encoding, surfaces_ms: Floats) -> Floats:
        """u of each architecture, shape (architectures, size).

        Args:
            surfaces_ms: shape (architectures, sources), what each source's predictor gives.

        Raises:
            UsageError: the encoding lacks a column, or the surfaces are not those of the sources.
        """
        if surfaces_ms.shape != (encoding.size, len(self.sources)):
            raise UsageError(f"surfaces of shape {surfaces_ms.shape} are not those of {len(self.sources)} sources")
        place = {name: column for column, name in enumerate(encoding.columns)}
        missing = [name for name in self.names if name not in place]
        if missing:
            raise UsageError(f"the encoding lacks {missing[0]}", remedy="encode the space that the model was fitted on")
        values = encoding.matrix()[:, [place[name] for name in self.names]]
        relative = np.maximum(surfaces_ms / self.medians_ms, LEAST)
        return np.hstack([np.ones((encoding.size, 1)), (values - self.centres) / self.spreads, relative])


@dataclass(frozen=True, eq=False)
class PortableModel:
    """A device learnt from few samples.

    Attributes:
        mean_ms: shape (size,), f̄; ``variance_ms2``: shape (size, size), V.
        stack_ms: shape (sources,), milliseconds per unit of each relative surface; ``stack_weight`` its weight, and
            ``stack_deviation`` its relative error.
        floor_ms: the least that is predicted.
        measured_ms, loo_ms, loo_deviation_ms: shape (samples,), the samples, each from the others: for intervals.
    """

    columns: Columns
    mean_ms: Floats
    variance_ms2: Floats
    stack_ms: Floats
    stack_weight: float
    stack_deviation: float
    floor_ms: float
    measured_ms: Floats
    loo_ms: Floats
    loo_deviation_ms: Floats

    def predict_ms(self, encoding: Encoding, surfaces_ms: Floats) -> tuple[Floats, Floats]:
        """Latency and the standard deviation of a new measurement, milliseconds, both of shape (architectures,)."""
        u = self.columns.of(encoding, surfaces_ms)
        table = u @ self.mean_ms
        variance = np.maximum(np.einsum("ab,ab->a", u @ self.variance_ms2, u), 0.0)
        weight = self.stack_weight
        if weight == 0:
            return np.maximum(table, self.floor_ms), np.sqrt(variance)
        stack = u[:, u.shape[1] - len(self.stack_ms) :] @ self.stack_ms
        bounded = np.maximum(table, self.floor_ms)
        guess = np.maximum((1.0 - weight) * bounded + weight * stack, self.floor_ms)
        within = (1.0 - weight) * variance + weight * (self.stack_deviation * stack) ** 2
        return guess, np.sqrt(within + weight * (1.0 - weight) * (stack - bounded) ** 2)

    def deviations(self, alpha: float) -> float:
        """How many deviations an interval reaches to each side; raises UsageError for an alpha outside 0 … 1."""
        return few_shot_width(self.measured_ms, self.loo_ms, self.loo_deviation_ms, alpha).deviations


def portable(model: FewShotModel) -> PortableModel:
    """The arrays of a fitted model."""
    fleet = model.fleet
    columns, groups = _columns(fleet)
    mean_ms, second = np.zeros(columns.size), np.zeros((columns.size, columns.size))
    for branch in model.table.branches:
        form, spread = _branch(branch, fleet, columns, groups)
        mean_ms += branch.weight * form
        second += branch.weight * (spread + np.outer(form, form))
    stack = model.stack
    return PortableModel(
        columns=columns,
        mean_ms=mean_ms,
        variance_ms2=second - np.outer(mean_ms, mean_ms),
        stack_ms=np.zeros(len(fleet.names)) if stack is None else stack.weights_ms,
        stack_weight=model.stack_weight,
        stack_deviation=0.0 if stack is None else stack.deviation,
        floor_ms=model.table.floor_ms,
        measured_ms=model.latency_ms,
        loo_ms=model.loo_ms(),
        loo_deviation_ms=model.loo_deviation_ms(),
    )


def _columns(fleet: Fleet) -> tuple[Columns, dict[tuple[str, str], int]]:
    """The columns, and where in u each (group, column) of a design stands."""
    told = list(raw_columns(fleet.encoding))
    surfaces = np.column_stack([np.zeros(fleet.encoding.size), *(source.surface_ms for source in fleet.sources)])[:, 1:]
    columns = Columns(
        names=tuple(name for _, _, name, _, _ in told),
        centres=np.array([centre for *_, centre, _ in told]),
        spreads=np.array([spread for *_, spread in told]),
        sources=fleet.names,
        medians_ms=np.median(surfaces[fleet.typical], axis=0),
    )
    return columns, {(group, column): 1 + place for place, (group, column, *_) in enumerate(told)}


def _branch(
    branch: FittedBranch, fleet: Fleet, columns: Columns, groups: Mapping[tuple[str, str], int]
) -> tuple[Floats, Floats]:
    """A branch's prediction as a vector on u, and the variance of a new measurement as a matrix on u."""
    size, design = columns.size, branch.design
    one = np.eye(size)
    first = size - len(columns.sources)
    middle = one[0].copy()
    if fleet.sources:
        surfaces = fleet.relative()
        level = np.median(surfaces.mean(axis=1)[fleet.typical])
        middle = np.concatenate([np.zeros(first), np.full(len(columns.sources), 1.0 / (len(columns.sources) * level))])
    surface = middle
    if branch.name.startswith("twin:"):
        surface = one[first + columns.sources.index(branch.name.removeprefix("twin:"))]
    level_rows = {"constant": one[0], "scale": surface, "contrast": surface - one[0]}
    rows = []
    for group in design.groups:
        for column in group.columns:
            if group.name == "level":
                row = level_rows[column]
            elif group.name == "sources":
                row = one[first + columns.sources.index(column)] - surface
            else:
                row = one[groups[group.name, column]]
            rows.append(group.unit * row)
    moves = np.array(rows)
    start = one[0] if branch.name == "none" else surface
    form = branch.scale_ms * (start + branch.costs @ moves)
    spread = moves.T @ branch.covariance @ moves + branch.noise_variance * np.outer(surface, surface)
    return form, branch.scale_ms**2 * spread
