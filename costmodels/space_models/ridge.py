"""The table under a space's model: a constant and a cost per column, fitted so that every row has an honest prediction.

Ridge regression on relative errors. The prediction of a row by a fit that had not seen it needs no second fit (Hastie,
Tibshirani & Friedman, The Elements of Statistical Learning, 2nd ed., §7.10, eq. 7.52), and the penalty is the one with
the least error in these predictions. How large the costs of each block of columns are beside the others' is chosen by
the evidence (MacKay, Bayesian Interpolation, Neural Computation 4, 1992): with more columns than rows the held-out
errors are too easily pleased by six scales at once. Trees stand in ``residual.py``, intervals in ``intervals.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from ...profiler.errors import UsageError
from .encoding import Encoding

Floats = npt.NDArray[np.float64]

#: Penalties that are tried, relative to the mean square of a column; a step of √10 changes an error by next to nothing.
PENALTIES: Floats = 10.0 ** np.arange(-6.0, 3.01, 0.5)
#: Factors between the scales of two blocks that are tried; 0 leaves the block out.
_SCALES = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
_SWEEPS = 2
#: A scale is moved only for this gain in log evidence: less is chance.
_GAIN_MIN = 0.5
#: A row that decides its own fit to this extent has no held-out prediction that floating point could tell.
_PULL_MAX = 1.0 - 1e-5
#: Rounds of reweighting: the weights hardly change after the third.
_ROUNDS = 4
#: Folds of the held-out predictions: with ten, nine tenths of the rows are known, and the fit is almost the whole one.
_FOLDS = 10
#: Residuals below this share of their typical size count in full, others by their size, not its square.
_ROBUST_FROM = 0.3
#: Errors are relative to the latency, but to no less than this share of the median: one network that costs nothing must
#: not outweigh all others.
_LEVEL_MIN = 0.05
#: No network is predicted below this share of the fastest that was measured: a latency has a logarithm.
_FLOOR = 0.5
#: What a fit without any error is taken to leave: it has to have a logarithm.
_NOTHING = 1e-12


@dataclass(frozen=True, eq=False)
class Table:
    """A constant and a cost per column: everything a NAS method needs to price an architecture.

    Attributes:
        blocks: the blocks of an encoding that it reads, in order.
        columns: their columns.
        cost_ms: milliseconds per unit of each column, shape (columns,).
        floor_ms: the least it says.
    """

    blocks: tuple[str, ...]
    columns: tuple[str, ...]
    constant_ms: float
    cost_ms: Floats
    floor_ms: float

    def predict(self, encoding: Encoding) -> Floats:
        """Latency in milliseconds, shape (architectures,).

        Raises:
            UsageError: the encoding has other columns.
        """
        columns = tuple(column for name in self.blocks for column in encoding.block(name).columns)
        if columns != self.columns:
            raise UsageError("the table was fitted on other columns", remedy="encode the same space in the same way")
        values = encoding.matrix(*self.blocks) if self.blocks else np.zeros((encoding.size, 0))
        predicted: Floats = np.maximum(self.constant_ms + values @ self.cost_ms, self.floor_ms)
        return predicted


@dataclass(frozen=True, eq=False)
class TableFit:
    """A table and what it is worth.

    Attributes:
        leave_one_out_ms: exact leave-one-out prediction of each row under the weights of the last round, shape (rows,).
            A little too good: the row took part when the others were weighted.
        held_out_ms: prediction of each row by a table of the other folds, weighted anew, shape (rows,).
        scales: scale of each block that was offered; 0 where it was left out.
        penalty: the penalty chosen.
    """

    table: Table
    leave_one_out_ms: Floats
    held_out_ms: Floats
    scales: Mapping[str, float]
    penalty: float


@dataclass(frozen=True, eq=False)
class _Design:
    """Columns centred and brought to one size, by block."""

    names: tuple[str, ...]
    values: Floats
    centre: Floats
    unit: Floats
    block: npt.NDArray[np.int64]

    def scaled(self, scales: Sequence[float]) -> Floats:
        columns: Floats = self.values * np.asarray(scales, dtype=np.float64)[self.block]
        return columns


@dataclass(frozen=True, eq=False)
class _System:
    """Weighted, centred columns in the directions in which the ridge works one by one.

    Attributes:
        strength: shape (columns,), how much of the rows lies in each direction; ``vectors`` turns columns into them.
        turned: the rows in these directions, shape (rows, columns).
        aim: the weighted, centred target; ``seen`` its share in each direction.
        share: what each row contributes to the constant.
    """

    centre: Floats
    middle: float
    strength: Floats
    vectors: Floats
    turned: Floats
    aim: Floats
    seen: Floats
    share: Floats


def folds_of(rows: int, folds: int, seed: int) -> npt.NDArray[np.int64]:
    """The fold of each row: of equal sizes, and the same for the same arguments."""
    fold = np.empty(rows, dtype=np.int64)
    fold[np.random.default_rng(seed).permutation(rows)] = np.arange(rows) % folds
    return fold


def leave_one_out(columns: Floats, target: Floats, weight: Floats, penalties: Floats) -> tuple[Floats, Floats]:
    """Weighted ridge with a free constant, for every penalty: its coefficients and what each row gets from the others.

    Args:
        columns: shape (rows, columns).
        target: shape (rows,).
        weight: shape (rows,); the error of a row counts with its square.
        penalties: shape (penalties,), each above 0; times the mean of the squared weights.

    Returns:
        Coefficients, the constant first, shape (penalties, 1 + columns); predictions of each row by a fit without it,
        shape (penalties, rows), NaN for a penalty under which some row decides its own fit. Weights and the penalty's
        unit stay as they are when a row is left out.
    """
    system = _decompose(columns, target, weight)
    shrink = 1.0 / (system.strength[None, :] + penalties[:, None] * np.mean(weight**2))
    solved = shrink * system.seen[None, :]
    # The constant takes part: a row's own pull on the weighted mean adds to its pull through the columns.
    pull = (system.turned**2) @ shrink.T + system.share[:, None]
    error = (system.aim[:, None] - system.turned @ solved.T) / np.maximum(1.0 - pull, 1e-9) / weight[:, None]
    error[:, (pull > _PULL_MAX).any(axis=0)] = np.nan
    coefficients = solved @ system.vectors.T
    constant = system.middle - coefficients @ system.centre
    return np.column_stack([constant, coefficients]), (target[:, None] - error).T


def log_evidence(columns: Floats, target: Floats, weight: Floats, penalties: Floats) -> Floats:
    """Logarithm of the probability of the target under each penalty, but for a constant, shape (penalties,).

    Costs are normal about zero, errors normal with a variance that is set to its best value (MacKay 1992, §4).
    """
    system = _decompose(columns, target, weight)
    penalty = penalties[:, None] * np.mean(weight**2)
    caught = (system.seen[None, :] ** 2 / (system.strength[None, :] + penalty)).sum(axis=1)
    left = float(system.aim @ system.aim) - caught
    freedom = len(target) - 1
    fit = freedom * np.log(np.maximum(left, _NOTHING) / freedom)
    return np.asarray(-0.5 * (fit + np.log1p(system.strength[None, :] / penalty).sum(axis=1)))


def _decompose(columns: Floats, target: Floats, weight: Floats) -> _System:
    square = weight**2
    total = float(square.sum())
    centre = square @ columns / total
    middle = float(square @ target / total)
    design = (columns - centre) * weight[:, None]
    aim = (target - middle) * weight
    strength, vectors = np.linalg.eigh(design.T @ design)
    turned = design @ vectors
    return _System(centre, middle, np.maximum(strength, 0.0), vectors, turned, aim, turned.T @ aim, square / total)


def fit_table(
    encoding: Encoding, latency_ms: npt.ArrayLike, blocks: Sequence[str] | None = None, *, seed: int = 0
) -> TableFit:
    """Fit the table on measured architectures.

    Errors count relative to the latency and by their size, not its square: a phone's run that was disturbed must not
    bend the table (reweighted least squares, Huber & Ronchetti, Robust Statistics, 2nd ed., §7.8).

    Args:
        blocks: what may be used; all blocks of the encoding but ``paths`` where None.
        seed: of the folds.

    Raises:
        UsageError: lengths differ, or fewer than three rows.
    """
    measured = np.asarray(latency_ms, dtype=np.float64)
    if measured.shape != (encoding.size,) or len(measured) < 3:
        raise UsageError(f"{encoding.size} architectures and latencies of shape {measured.shape} make no table")
    names = tuple(name for name in encoding.names if name != "paths") if blocks is None else tuple(blocks)
    design = _design(encoding, names)
    unit = float(np.median(measured))
    target = measured / unit
    ones = tuple(1.0 for _ in names)
    weight = _settle(design.scaled(ones), target)
    scales = _choose_scales(design, target, weight)
    columns = design.scaled(scales)
    floor = _FLOOR * float(measured.min())
    penalty, solution, left_out = _solve(columns, target, _settle(columns, target))
    return TableFit(
        table=_table(encoding, design, scales, solution * unit, floor),
        leave_one_out_ms=np.maximum(left_out * unit, floor),
        held_out_ms=np.maximum(_cross_fitted(columns, target, seed) * unit, floor),
        scales=dict(zip(names, scales, strict=True)),
        penalty=penalty,
    )


def _cross_fitted(columns: Floats, target: Floats, seed: int) -> Floats:
    """Weights and penalty are found anew in each fold; the scales, six numbers out of all rows, are kept."""
    fold = folds_of(len(target), min(_FOLDS, len(target)), seed)
    held_out = np.empty(len(target))
    for number in np.unique(fold):
        inside, outside = fold != number, fold == number
        known, aim = columns[inside], target[inside]
        _, solution, _ = _solve(known, aim, _settle(known, aim))
        held_out[outside] = solution[0] + columns[outside] @ solution[1:]
    return held_out


def _design(encoding: Encoding, names: tuple[str, ...]) -> _Design:
    """Counts of one block keep their proportions; columns of unlike units are each brought to deviation 1."""
    values = [encoding.block(name).values for name in names]
    centre = [part.mean(axis=0) for part in values]
    unit = []
    for name, part in zip(names, values, strict=True):
        deviation = part.std(axis=0)
        if name not in ("physical", "critical_path") and deviation.any():
            deviation = np.full_like(deviation, np.sqrt(np.mean(deviation[deviation > 0] ** 2)))
        unit.append(np.where(deviation > 0, deviation, 1.0))
    block = np.repeat(np.arange(len(names)), [part.shape[1] for part in values])
    centres, units = np.concatenate([*centre, np.zeros(0)]), np.concatenate([*unit, np.zeros(0)])
    whole = (np.hstack(values) - centres) / units if values else np.zeros((encoding.size, 0))
    return _Design(names, whole, centres, units, block)


def _settle(columns: Floats, target: Floats) -> Floats:
    """Weights that hardly change any more, shape (rows,)."""
    weight: Floats = 1.0 / np.maximum(target, _LEVEL_MIN)
    for _ in range(_ROUNDS):
        _, _, held_out = _solve(columns, target, weight)
        weight = _reweighted(target, held_out)
    return weight


def _solve(columns: Floats, target: Floats, weight: Floats) -> tuple[float, Floats, Floats]:
    """The penalty with the least held-out error; coefficients, the constant first; held-out predictions."""
    coefficients, held_out = leave_one_out(columns, target, weight, PENALTIES)
    errors = np.mean(np.abs(held_out - target) / target, axis=1)
    # Under the largest penalty no row decides its own fit, if there are three.
    best = int(np.nanargmin(errors))
    return float(PENALTIES[best]), coefficients[best], held_out[best]


def _reweighted(target: Floats, held_out: Floats) -> Floats:
    level = np.maximum(held_out, _LEVEL_MIN)
    relative = np.abs(target - held_out) / level
    # A device without any noise has typical errors of zero, and no row stands out.
    typical = 1.4826 * float(np.median(relative)) + 1e-4
    weight: Floats = 1.0 / (level * np.sqrt(np.maximum(relative / typical, _ROBUST_FROM)))
    return weight


def _choose_scales(design: _Design, target: Floats, weight: Floats) -> tuple[float, ...]:
    """One block after the other moved to the scale under which what was measured is most probable."""

    def evidence(scales: tuple[float, ...]) -> float:
        return float(log_evidence(design.scaled(scales), target, weight, PENALTIES).max())

    best = tuple(1.0 for _ in design.names)
    most = evidence(best)
    for _ in range(_SWEEPS):
        before = most
        for place, scale in product(range(len(best)), _SCALES):
            moved = (*best[:place], scale, *best[place + 1 :])
            if moved == best or not any(moved):
                continue
            found = evidence(moved)
            if found > most + _GAIN_MIN:
                best, most = moved, found
        if most == before:
            break
    return best


def _table(encoding: Encoding, design: _Design, scales: tuple[float, ...], solution: Floats, floor_ms: float) -> Table:
    kept = [place for place, scale in enumerate(scales) if scale > 0]
    cost = solution[1:] * np.asarray(scales)[design.block] / design.unit
    inside = np.isin(design.block, kept)
    names = tuple(design.names[place] for place in kept)
    columns = tuple(column for name in names for column in encoding.block(name).columns)
    constant = float(solution[0] - cost @ design.centre)
    return Table(names, columns, constant, cost[inside], floor_ms)
