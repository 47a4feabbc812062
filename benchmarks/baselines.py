"""What others do with the same measurements: random forests per kind, a plain table, a line through FLOPs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from edgecost.costmodels.features import feature_matrix
from edgecost.costmodels.kernel_work import kind_of, work_of
from edgecost.costmodels.predictor import Graph

Floats = npt.NDArray[np.float64]


class ByKind:
    """A regressor per kind of kernel on its features, summed; a kind that was never measured costs nothing.

    Args:
        make: the regressor of one kind.
        graphs, latency_ms: what was measured; only graphs of one kernel say what a kernel takes.
    """

    def __init__(self, make: Callable[[], object], graphs: Sequence[Graph], latency_ms: Floats) -> None:
        single = [(graph[0], value) for graph, value in zip(graphs, latency_ms, strict=True) if len(graph) == 1]
        self.models = {}
        for kind in sorted({str(kind_of(kernel)) for kernel, _ in single}):
            rows = [(kernel, value) for kernel, value in single if kind_of(kernel) == kind]
            features = feature_matrix([kernel for kernel, _ in rows])
            self.models[kind] = make().fit(features, [value for _, value in rows])

    def sums_ms(self, graphs: Sequence[Graph]) -> Floats:
        """Σ of each graph's kernels."""
        flat = [kernel for graph in graphs for kernel in graph]
        prices, kinds = np.zeros(len(flat)), [kind_of(kernel) for kernel in flat]
        for kind, model in self.models.items():
            rows = [place for place, one in enumerate(kinds) if one == kind]
            if rows:
                prices[rows] = model.predict(feature_matrix([flat[place] for place in rows]))
        owner = np.repeat(np.arange(len(graphs)), [len(graph) for graph in graphs])
        return np.bincount(owner, prices, minlength=len(graphs))


def forests(graphs: Sequence[Graph], latency_ms: Floats, seed: int) -> ByKind:
    """Random forests: the method of nn-Meter (Zhang et al., MobiSys 2021)."""
    return ByKind(lambda: RandomForestRegressor(n_estimators=100, random_state=seed, n_jobs=1), graphs, latency_ms)


def plain_table(graphs: Sequence[Graph], latency_ms: Floats) -> ByKind:
    """A lookup table: what was measured of this very kernel, else of the most similar one of its kind.

    Similar is the nearest in the logarithms of the features, each in units of its own spread: of a table without a
    model nothing better can be asked for.
    """
    return ByKind(
        lambda: make_pipeline(
            FunctionTransformer(np.log1p), StandardScaler(), KNeighborsRegressor(n_neighbors=1, algorithm="brute")
        ),
        graphs,
        latency_ms,
    )


def gigaflops(graphs: Sequence[Graph]) -> Floats:
    """Of each graph."""
    return np.array([sum(work_of(kernel).mega_flops for kernel in graph) / 1e3 for graph in graphs])


def flops_line(known: Floats, known_ms: Floats, asked: Floats) -> Floats:
    """A line through FLOPs, fitted to relative errors."""
    design = np.column_stack([np.ones(len(known)), known]) / known_ms[:, None]
    line, *_ = np.linalg.lstsq(design, np.ones(len(known)), rcond=None)
    return np.column_stack([np.ones(len(asked)), asked]) @ line
