"""How the errors of cells hang together: a Gaussian model of log errors, kernel by kernel. It prices nothing.

The error of a cell is the sum of its kernels' errors by their shares of its latency. Kernels of one kind err together,
the more so the closer their work; equal kernels err equally; what is left is the cell's own. So measuring one cell
tells about its relatives, and how much it tells is known before it is measured (Cressie, Statistics for Spatial Data,
1993, ch. 3; the gain of a measurement: Cohn, Ghahramani & Jordan, JAIR 4, 1996, §4).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from ...profiler.kernels.graph import Kernel
from ..kernel_work import filter_of, kind_of, work_of

Floats = npt.NDArray[np.float64]
Graph = Sequence[Kernel]


@dataclass(frozen=True)
class ErrorSizes:
    """Standard deviations of log errors before anything was measured, and how far likeness reaches.

    Only their ratios matter for what is measured next: the size of them all is set by the errors that are seen. Six
    choices around these, on three spaces, differ by less than the seeds of one of them (decision record 0014).

    Attributes:
        kind: shared by all kernels of a kind.
        likeness: shared by kernels of a kind with like work.
        reach: distance, in natural logarithms of work, at which likeness has fallen to exp(-½).
        signature: shared by equal kernels only.
        own: of each cell: how its kernels get along, which no kernel tells.
    """

    kind: float = 0.3
    likeness: float = 0.3
    reach: float = 2.0
    signature: float = 0.1
    own: float = 0.04


#: A core that nobody has measured, for shares before there is a price: 1 µs a call, 40 GFLOP/s, 10 GB/s.
_CALL_MS, _MS_PER_MEGAFLOP, _MS_PER_MEGABYTE = 1e-3, 1 / 40, 1 / 10
#: A window twice as wide is another algorithm: it counts for more than twice the work does.
_WINDOW_WEIGHT = 2.0


def rough_ms(kernel: Kernel) -> float:
    """The price of a kernel on a core that nobody has measured: right for ratios within a factor of some."""
    work = work_of(kernel)
    moved = work.input_megabytes + work.output_megabytes + work.weight_megabytes
    return _CALL_MS + work.mega_flops * _MS_PER_MEGAFLOP + moved * _MS_PER_MEGABYTE


def prior_covariance(graphs: Sequence[Graph], prices_ms: Sequence[Sequence[float]], sizes: ErrorSizes) -> Floats:
    """Covariance of the log errors of graphs before any was measured, shape (graphs, graphs); in no order but theirs.

    Args:
        prices_ms: of each kernel of each graph, positive: only the shares within a graph matter.
    """
    total = np.zeros((len(graphs), len(graphs)))
    for shares, coordinates in _by_kind(graphs, prices_ms):
        squares = np.einsum("ij,ij->i", coordinates, coordinates)
        distance = np.maximum(squares[:, None] + squares[None] - 2 * coordinates @ coordinates.T, 0.0)
        within = sizes.kind**2 + sizes.likeness**2 * np.exp(-distance / (2 * sizes.reach**2))
        within[np.diag_indices_from(within)] += sizes.signature**2
        rows = np.flatnonzero(shares.any(axis=1))
        total[np.ix_(rows, rows)] += shares[rows] @ within @ shares[rows].T
    total[np.diag_indices_from(total)] += sizes.own**2
    return total


def condition(covariance: Floats, measured: Sequence[int], noise: Floats, at: Sequence[int]) -> Floats:
    """Covariance of the errors that are left when some graphs were measured, shape (len(at), len(at)).

    Args:
        covariance: before, shape (n, n).
        measured: places of what was measured.
        noise: variance of the log error of each measurement, shape (n,).
        at: places that are asked about.
    """
    asked, places = np.asarray(at, dtype=np.int64), np.asarray(measured, dtype=np.int64)
    before: Floats = covariance[np.ix_(asked, asked)]
    if not len(places):
        return before
    known = covariance[np.ix_(places, places)] + np.diag(noise[places])
    between = covariance[np.ix_(places, asked)]
    left: Floats = before - between.T @ cho_solve(cho_factor(known), between)
    return left


def choose(
    covariance: Floats, importance: Floats, noise: Floats, candidates: Collection[int], count: int
) -> list[tuple[int, float]]:
    """Greedily what to measure: each next one is what takes most off the expected squared error of the prices.

    Args:
        covariance: of the errors that are left, shape (n, n).
        importance: the mean over architectures of w wᵀ, where w holds each cell's share of the architecture's latency,
            shape (n, n): the expected squared error of a price is the trace of importance × covariance.
        noise: variance of the log error of a measurement, shape (n,).
        candidates: places to choose from.

    Returns:
        Places with the share of the expected squared error that each takes away; equal gains go by place.
    """
    left, open_places = covariance.copy(), sorted(candidates)
    chosen: list[tuple[int, float]] = []
    while open_places and len(chosen) < count:
        columns = left[:, open_places]
        whole = float(np.einsum("ij,ij->", importance, left))
        spread = np.diag(left)[open_places] + noise[open_places]
        gains = np.einsum("ic,ic->c", columns, importance @ columns) / np.maximum(spread, np.finfo(np.float64).tiny)
        best = int(np.argmax(gains))
        place = open_places.pop(best)
        chosen.append((place, float(gains[best]) / whole if whole > 0 else 0.0))
        left = left - np.outer(left[:, place], left[:, place]) / (left[place, place] + noise[place])
    return chosen


def _by_kind(graphs: Sequence[Graph], prices_ms: Sequence[Sequence[float]]) -> list[tuple[Floats, Floats]]:
    """Per kind of kernel: the share of each distinct kernel in each graph, and the coordinates of the kernels."""
    places: dict[str, dict[Kernel, int]] = {}
    entries: dict[str, list[tuple[int, int, float]]] = {}
    for row, (graph, prices) in enumerate(zip(graphs, prices_ms, strict=True)):
        whole = math.fsum(prices)
        for kernel, price in zip(graph, prices, strict=True):
            kind = kind_of(kernel) or kernel.op
            known = places.setdefault(kind, {})
            column = known.setdefault(kernel, len(known))
            entries.setdefault(kind, []).append((row, column, price / whole))
    found = []
    for kind, known in places.items():
        shares = np.zeros((len(graphs), len(known)))
        for row, column, share in entries[kind]:
            shares[row, column] += share
        found.append((shares, np.array([_coordinates(kernel) for kernel in known], dtype=np.float64)))
    return found


def _coordinates(kernel: Kernel) -> list[float]:
    """Where a kernel stands among those of its kind: logarithms of its work and its sizes."""
    work, window = work_of(kernel), filter_of(kernel)
    source, target = (
        _channels_and_side(kernel.inputs[0] if kernel.inputs else ()),
        _channels_and_side(kernel.outputs[0] if kernel.outputs else ()),
    )
    megas = (work.mega_flops, work.input_megabytes, work.output_megabytes, work.weight_megabytes)
    return [
        *(math.log1p(mega * 1e6) for mega in megas),
        _WINDOW_WEIGHT * math.log1p(window[-1] if window else 0),
        math.log1p(source[0]),
        math.log1p(target[0]),
        math.log1p(target[1]),
        source[1] / target[1] if target[1] else 0.0,
        1.0 if kernel.attribute.get("activation") else 0.0,
    ]


def _channels_and_side(shape: tuple[int, ...] | None) -> tuple[float, float]:
    """NCHW or (N, tokens, channels) or (N, channels); a vector stands in the channel place."""
    if not shape:
        return (1.0, 1.0)
    if len(shape) >= 4:
        return (float(shape[1]), float(math.prod(shape[3:])))
    return (float(shape[-1]), float(shape[1]) if len(shape) == 3 else 1.0)
