"""The physics under the predictor: per kind of kernel a cost per call, FLOP, byte, loop and tile, none below zero.

Fitted on sums: a measured graph is the sum of its kernels, and a linear model of kernels is a linear model of graphs,
so no kernel has to be measured alone. LightGBM learns what this leaves (``predictor.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..profiler.records import Json
from .features import WORK

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Weight of the ridge term, relative to columns of norm 1: settles directions that the data do not, and no more. How
#: loops run is held back further: where all kernels of a kind start as many loops as they are calls, the call costs and
#: not the loop, and one that starts a thousand times as many is not a thousand times as dear.
_RIDGE, _LOOPS_RIDGE = 1e-3, 0.05
#: The method ends by itself. SciPy stops it after 3 steps for each column, which one problem in 60,000 exceeds; none of
#: those took 10.
_STEPS_PER_COLUMN = 100
#: Terms of the first sort: calls, operations and bytes.
_PLAIN_TERMS = 5
#: Smallest price of a kernel, 1 ns: a kind whose coefficients all vanish still has a logarithm.
_FLOOR_MS = 1e-6
#: Graphs whose rows of the design exist at the same time: some ten megabytes.
_GRAPHS_AT_ONCE = 4096
#: Relative errors up to this count squared, larger ones by their size: some kernels follow no law of these terms, and
#: should not bend it for the others. On 1,400 kernels of one machine the roofline alone comes within 10 % of 65 %, by
#: plain least squares of 57 %.
_USUAL_ERROR = 0.1
_REWEIGHTINGS = 4
#: Kernels of its class that a kind is given beside its own: enough to settle what its own leave open, and no more. With
#: a third of a kernel and more, fewer of 1,394 kernels are priced within 10 % (60 % for 65 %); with none the mean error
#: is twice as large (0.58 for 0.32), by a few of rare kinds that are off by a factor.
_CLASS_KERNELS = 1e-3


@dataclass(frozen=True)
class Roofline:
    """Milliseconds per unit of each work term for each kind of kernel, shape (kinds, terms)."""

    kinds: tuple[str, ...]
    coefficients: Floats
    terms: tuple[str, ...] = field(default=WORK)

    def price(self, kinds: Sequence[str], work: Floats) -> Floats:
        """Milliseconds of each kernel; ``work`` has shape (kernels, terms).

        Raises:
            KeyError: a kind that was not fitted.
        """
        place = {kind: index for index, kind in enumerate(self.kinds)}
        rows = self.coefficients[[place[kind] for kind in kinds]].reshape(len(kinds), len(self.terms))
        # Term by term: NumPy's own sums of rows add in an order that hangs on how many there are, and how they lie.
        total = np.zeros(len(rows))
        for of_kind, of_kernel in zip(rows.T, work.T, strict=True):
            total += of_kind * of_kernel
        return np.maximum(total, _FLOOR_MS)

    def to_json(self) -> dict[str, list[float]]:
        return {kind: row.tolist() for kind, row in zip(self.kinds, self.coefficients, strict=True)}

    @classmethod
    def from_json(cls, table: Mapping[str, Sequence[Json]], terms: tuple[str, ...] = WORK) -> Roofline:
        rows = np.array(list(table.values()), dtype=np.float64).reshape(len(table), len(terms))
        return cls(tuple(table), rows, terms)


def fit_roofline(
    kinds: Sequence[str], work: Floats, graph: Ints, latency_ms: Floats, classes: Sequence[str] | None = None
) -> Roofline:
    """Non-negative least squares on relative errors (Lawson & Hanson, Solving Least Squares Problems, ch. 23).

    Large errors count for less (Huber, Robust Statistics, 1981, §7.8). Relative errors favour prices that are too low;
    so the result is scaled until half of the graphs are above it.

    Args:
        kinds: kind of each kernel.
        work: shape (kernels, len(WORK)).
        graph: which graph each kernel belongs to, 0 … graphs - 1.
        latency_ms: shape (graphs,), positive.
        classes: what sort of work each kernel is. A kind of which little was measured is taken to be like the others of
            its class as far as its own measurements do not say otherwise. None: nothing is known of a kind but its own.
    """
    names, place = _numbered(kinds)
    class_names, class_place = _numbered(classes if classes is not None else kinds)
    class_of_kind = np.zeros(len(names), np.int64)
    class_of_kind[place] = class_place
    relative = work / latency_ms[graph, None]
    weights = np.ones(len(latency_ms))
    for _ in range(_REWEIGHTINGS + 1):
        gram, moments = _normal_equations(place, relative, graph, len(names), weights)
        if classes is not None:
            of_class = _normal_equations(class_place, relative, graph, len(class_names), weights)
            rows = np.bincount(class_place, weights[graph], minlength=len(class_names)).astype(np.float64)
            _lean(gram, moments, of_class, rows, class_of_kind)
        coefficients = _by_company(gram, moments, len(names))
        prices = np.einsum("kw,kw->k", coefficients[place], relative)
        share = np.bincount(graph, prices, minlength=len(latency_ms)).astype(np.float64)
        weights = _weights(share)
    priced = share > 0
    if priced.any():
        coefficients = coefficients / np.median(share[priced])
    return Roofline(names, coefficients)


def _numbered(names: Sequence[str]) -> tuple[tuple[str, ...], Ints]:
    """The distinct names in order, and the place of each."""
    distinct = tuple(sorted(set(names)))
    known = {name: index for index, name in enumerate(distinct)}
    return distinct, np.array([known[name] for name in names])


def _lean(gram: Floats, moments: Floats, of_class: tuple[Floats, Floats], rows: Floats, class_of_kind: Ints) -> None:
    """Add to each kind's equations part of a kernel that is the average of its class, at the price of its class.

    That is the prior of an empirical Bayes estimate (Morris, JASA 78, 1983).

    Args:
        of_class: normal equations of the classes.
        rows: kernels of each class, by weight.
    """
    width = len(WORK)
    prices = _by_company(*of_class, len(rows))
    for kind, number in enumerate(class_of_kind.tolist()):
        block, own = slice(number * width, (number + 1) * width), slice(kind * width, (kind + 1) * width)
        usual = of_class[0][block, block] * (_CLASS_KERNELS / rows[number])
        gram[own, own] += usual
        moments[own] += usual @ prices[number]


def _weights(share: Floats) -> Floats:
    """Of each graph by its error; too dear by a factor is as wrong as too cheap by it, but further off relatively."""
    error = np.abs(np.log(np.maximum(share, 1e-3)))
    weights: Floats = 1.0 / (np.maximum(error / _USUAL_ERROR, 1.0) * np.maximum(share, 1.0) ** 2)
    return weights


def _by_company(gram: Floats, moments: Floats, kinds: int) -> Floats:
    """The solution, shape (kinds, len(WORK)), for each group of kinds that graphs hold together: groups that no graph
    connects have nothing to do with each other, and kernels measured alone connect none."""
    meet = np.abs(gram).reshape(kinds, len(WORK), kinds, len(WORK)).sum(axis=(1, 3)) > 0
    left, solution = set(range(kinds)), np.zeros((kinds, len(WORK)))
    while left:
        group = [left.pop()]
        for one in group:
            found = sorted(left & set(np.flatnonzero(meet[one]).tolist()))
            left.difference_update(found)
            group += found
        columns = (np.array(group)[:, None] * len(WORK) + np.arange(len(WORK))).ravel()
        ridge = np.where(columns % len(WORK) < _PLAIN_TERMS, _RIDGE, _LOOPS_RIDGE)
        part = _non_negative(gram[np.ix_(columns, columns)], moments[columns], ridge)
        solution[group] = part.reshape(len(group), len(WORK))
    return solution


def _non_negative(gram: Floats, moments: Floats, ridge: Floats) -> Floats:
    """The non-negative solution of normal equations; columns without any entry get 0."""
    from scipy.optimize import nnls  # half a second, which pricing goes without

    scale = np.sqrt(np.diag(gram))
    used = np.flatnonzero(scale > 0)
    solution = np.zeros(len(gram))
    if not len(used):
        return solution
    # The triangular factor has the same normal equations as the design with its ridge, whose rows are all graphs.
    inner = gram[np.ix_(used, used)] / np.outer(scale[used], scale[used])
    factor = np.linalg.cholesky(inner + np.diag(ridge[used] ** 2))
    aim = np.linalg.solve(factor, moments[used] / scale[used])
    found, _ = nnls(factor.T, aim, maxiter=_STEPS_PER_COLUMN * len(used))
    solution[used] = found / scale[used]
    return solution


def _normal_equations(place: Ints, relative: Floats, graph: Ints, kinds: int, weights: Floats) -> tuple[Floats, Floats]:
    """AᵀWA and AᵀW1 of the design A, whose rows are graphs and whose columns are the work terms of each kind.

    Some graphs at a time: all of a million take gigabytes.

    Args:
        place: kind of each kernel, 0 … kinds - 1.
        relative: work of each kernel over the latency of its graph, shape (kernels, len(WORK)).
        weights: of each graph, shape (graphs,).
    """
    gram, moments = np.zeros((kinds * len(WORK), kinds * len(WORK))), np.zeros(kinds * len(WORK))
    order = np.argsort(graph, kind="stable")
    for first in range(0, len(weights), _GRAPHS_AT_ONCE):
        behind = min(first + _GRAPHS_AT_ONCE, len(weights))
        rows = order[slice(*np.searchsorted(graph, [first, behind], sorter=order))]
        design = np.zeros((behind - first, kinds, len(WORK)))
        np.add.at(design, (graph[rows] - first, place[rows]), relative[rows])
        flat = design.reshape(len(design), -1)
        weighted = flat * weights[first:behind, None]
        gram += weighted.T @ flat
        moments += weighted.sum(axis=0)
    return gram, moments
