"""The physics under the predictor: per kind of kernel a call, a cost per FLOP and a cost per byte, none below zero.

Fitted on sums: a measured graph is the sum of its kernels, and a linear model of kernels is a linear model of graphs,
so no kernel has to be measured alone. LightGBM learns what this leaves (``predictor.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..profiler.records import Json
from .features import WORK

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Weight of the ridge term, relative to columns of norm 1: settles directions that the data do not, and no more.
_RIDGE = 1e-3
#: Smallest price of a kernel, 1 ns: a kind whose coefficients all vanish still has a logarithm.
_FLOOR_MS = 1e-6
#: Graphs whose rows of the design exist at the same time: some ten megabytes.
_GRAPHS_AT_ONCE = 4096


@dataclass(frozen=True)
class Roofline:
    """Milliseconds per unit of each work term (columns ``WORK``) for each kind of kernel."""

    kinds: tuple[str, ...]
    coefficients: Floats

    def price(self, kinds: Sequence[str], work: Floats) -> Floats:
        """Milliseconds of each kernel; ``work`` has shape (kernels, len(WORK)).

        Raises:
            KeyError: a kind that was not fitted.
        """
        place = {kind: index for index, kind in enumerate(self.kinds)}
        rows = self.coefficients[[place[kind] for kind in kinds]].reshape(len(kinds), len(WORK))
        prices: Floats = np.maximum(np.einsum("kw,kw->k", rows, work), _FLOOR_MS)
        return prices

    def to_json(self) -> dict[str, list[float]]:
        return {kind: row.tolist() for kind, row in zip(self.kinds, self.coefficients, strict=True)}

    @classmethod
    def from_json(cls, table: Mapping[str, Sequence[Json]]) -> Roofline:
        rows = np.array(list(table.values()), dtype=np.float64).reshape(len(table), len(WORK))
        return cls(tuple(table), rows)


def fit_roofline(kinds: Sequence[str], work: Floats, graph: Ints, latency_ms: Floats) -> Roofline:
    """Non-negative least squares on relative errors (Lawson & Hanson, Solving Least Squares Problems, ch. 23).

    Relative errors favour prices that are too low; so the result is scaled until half of the graphs are above it.

    Args:
        kinds: kind of each kernel.
        work: shape (kernels, len(WORK)).
        graph: which graph each kernel belongs to, 0 … graphs - 1.
        latency_ms: shape (graphs,), positive.
    """
    from scipy.optimize import nnls  # half a second, which pricing goes without

    names = tuple(sorted(set(kinds)))
    known = {kind: index for index, kind in enumerate(names)}
    place = np.array([known[kind] for kind in kinds])
    relative = work / latency_ms[graph, None]
    gram, moments = _normal_equations(place, relative, graph, len(names), len(latency_ms))
    scale = np.sqrt(np.diag(gram))
    scale[scale == 0] = 1.0
    # The triangular factor has the same normal equations as the design with its ridge, whose rows are all graphs.
    factor = np.linalg.cholesky(gram / np.outer(scale, scale) + np.eye(len(gram)) * _RIDGE**2)
    solution, _ = nnls(factor.T, np.linalg.solve(factor, moments / scale))
    coefficients = (solution / scale).reshape(len(names), len(WORK))
    share = np.bincount(graph, np.einsum("kw,kw->k", coefficients[place], relative), minlength=len(latency_ms))
    priced = share > 0
    if priced.any():
        coefficients = coefficients / np.median(share[priced])
    return Roofline(names, coefficients)


def _normal_equations(place: Ints, relative: Floats, graph: Ints, kinds: int, graphs: int) -> tuple[Floats, Floats]:
    """AᵀA and Aᵀ1 of the design A, whose rows are graphs and whose columns are the work terms of each kind.

    Some graphs at a time: all of a million take gigabytes.

    Args:
        place: kind of each kernel, 0 … kinds - 1.
        relative: work of each kernel over the latency of its graph, shape (kernels, len(WORK)).
    """
    gram, moments = np.zeros((kinds * len(WORK), kinds * len(WORK))), np.zeros(kinds * len(WORK))
    order = np.argsort(graph, kind="stable")
    for first in range(0, graphs, _GRAPHS_AT_ONCE):
        behind = min(first + _GRAPHS_AT_ONCE, graphs)
        rows = order[slice(*np.searchsorted(graph, [first, behind], sorter=order))]
        design = np.zeros((behind - first, kinds, len(WORK)))
        np.add.at(design, (graph[rows] - first, place[rows]), relative[rows])
        flat = design.reshape(len(design), -1)
        gram += flat.T @ flat
        moments += flat.sum(axis=0)
    return gram, moments
