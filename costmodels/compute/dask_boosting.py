"""Trees boosted by LightGBM's own trainer for Dask, for more kernels than one machine trains.

The objective and the parameters are those of ``trees.boosting``. The trees are not: bins are found from each worker's
own rows, histograms are summed in another order, and two calls differ too. How far is measured in decision 0023.

The rows are made where the fit was called, and each worker keeps its share; what is spread is the training.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ...profiler.errors import ClusterError, MissingPackage
from ..trees.boosting import SMALLEST_SHARE, BoostingSettings, Floats, Ints, Trainer
from .dask_cluster import RECIPE_MAX, DaskCluster

if TYPE_CHECKING:
    import lightgbm as lgb
    from dask.array import Array
    from distributed import Client

#: A row says its number as its label, which LightGBM keeps in single precision: beyond this two would have one number.
ROWS_MAX = 1 << 24
#: Pieces of the rows for each worker.
_PIECES = 4


def cluster_trainer(cluster: DaskCluster) -> Trainer:
    """A trainer on all workers of a cluster."""
    return Trainer(ClusterBoost(cluster.client), ROWS_MAX)


@dataclass(frozen=True, eq=False)
class Objective:
    """The objective of ``boost`` for some of the rows: all kernels of a graph are on one worker.

    Attributes:
        base_ms, graph: of all rows. A row's label is its number.
        target: of all graphs.
    """

    base_ms: Floats
    graph: Ints
    target: Floats

    def __call__(self, labels: Floats | None, scores: Floats) -> tuple[Floats, Floats]:
        assert labels is not None, "each row has a number"
        rows = labels.astype(np.int64)
        price = self.base_ms[rows] * np.exp(scores)
        graphs, place = np.unique(self.graph[rows], return_inverse=True)
        total = np.bincount(place, price)
        share = price / total[place]
        return (np.log(total) - self.target[graphs])[place] * share, np.maximum(share, SMALLEST_SHARE)


@dataclass(frozen=True, eq=False)
class ClusterBoost:
    """``trees.boosting.boost`` on the workers behind a client."""

    client: Client

    def __call__(
        self, features: Floats, base_ms: Floats, graph: Ints, latency_ms: Floats, settings: BoostingSettings, seed: int
    ) -> lgb.Booster:
        """Raises ClusterError where the trainer fails, MissingPackage without what it asks for."""
        import lightgbm as lgb
        from dask import config

        try:
            model = lgb.DaskLGBMRegressor(
                # Those of ``boost``, by the names that scikit-learn gives them.
                objective=Objective(base_ms, graph, np.log(latency_ms)),
                n_estimators=settings.rounds,
                learning_rate=settings.learning_rate,
                num_leaves=settings.leaves,
                min_child_samples=settings.min_kernels_in_leaf,
                min_child_weight=1e-3,
                reg_lambda=settings.l2,
                colsample_bytree=settings.feature_fraction,
                random_state=seed,
                client=self.client,
                deterministic=True,
                force_row_wise=True,
                tree_learner="data",
                verbose=-1,
            )
        except lgb.basic.LightGBMError as error:
            raise MissingPackage(
                "LightGBM's trainer for Dask needs pandas and scikit-learn", remedy="pip install 'edgecost[dask]'"
            ) from error
        # All workers train each tree together: one that is called away holds up the others.
        large = config.set({"distributed.admin.large-graph-warning-threshold": RECIPE_MAX})
        with large, self.client.as_current(), warnings.catch_warnings():
            # It takes as many threads as a worker has, and warns that it does not ask for our number: we gave none.
            warnings.filterwarnings("ignore", "Parameter n_jobs will be ignored")
            rows, labels = _spread(self.client, features, graph)
            try:
                # It prints what ports it looks for; standard output is the caller's.
                with redirect_stdout(io.StringIO()):
                    model.fit(rows, labels, categorical_feature=[0])
            except lgb.basic.LightGBMError as error:
                raise ClusterError(
                    f"LightGBM's trainer failed on the cluster: {error}",
                    remedy="its workers talk to each other by ports of their own: are these open? Or leave out --dask",
                ) from error
        booster: lgb.Booster = model.booster_
        return booster


def _spread(client: Client, features: Floats, graph: Ints) -> tuple[Array, Array]:
    """The rows and their numbers on the workers, in pieces of whole graphs."""
    import dask.array
    from dask.delayed import delayed

    workers = sorted(client.nthreads())
    columns = features.shape[1]
    rows, labels = [], []
    for place, (first, last) in enumerate(_pieces(graph, _PIECES * len(workers))):
        numbers = np.arange(first, last, dtype=np.float64)
        worker = [workers[place % len(workers)]]
        sent = client.scatter(features[first:last], workers=worker), client.scatter(numbers, workers=worker)
        rows.append(dask.array.from_delayed(delayed(sent[0]), (last - first, columns), np.float64))
        labels.append(dask.array.from_delayed(delayed(sent[1]), (last - first,), np.float64))
    return dask.array.concatenate(rows), dask.array.concatenate(labels)


def _pieces(graph: Ints, count: int) -> Iterator[tuple[int, int]]:
    """First and last row of so many pieces, or fewer. None ends within a graph; rows are in order of graphs."""
    starts = np.flatnonzero(np.diff(graph, prepend=-1))
    wanted = np.linspace(0, len(graph), count + 1)[1:-1]
    inner = starts[np.minimum(np.searchsorted(starts, wanted), len(starts) - 1)]
    edges = np.unique([0, *inner.tolist(), len(graph)]).tolist()
    yield from pairwise(edges)
