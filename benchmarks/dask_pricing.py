"""The same table filled in one process, in local processes and on a Dask cluster of as many workers, in turns.

The cluster is two workers of one thread on this machine, reachable from it alone: what is compared are the ways, not
machines. Beginning the processes counts, as everybody waits for it; the cluster stands already, as clusters do. All
files must be the same, byte for byte.

``--trees`` sets LightGBM's trainer for Dask beside the one of one process instead: not the same trees, so their prices
are compared.

Nothing here is about accuracy on a device: latencies are made up.

Run it:  python benchmarks/dask_pricing.py                      (10⁶ cells, three turns; about four minutes)
         python benchmarks/dask_pricing.py --cells 1e7 --turns 1
         python benchmarks/dask_pricing.py --trees 100000
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from fill import STEPS, grid_of, train
from measuring import head, print_head, print_json

from edgecost.costmodels.compute.dask_boosting import cluster_trainer
from edgecost.costmodels.compute.dask_cluster import DaskCluster, connected
from edgecost.costmodels.compute.in_process import InProcess
from edgecost.costmodels.compute.local_processes import LocalProcesses
from edgecost.costmodels.compute.pool import Pool, in_order
from edgecost.costmodels.grids.fill import BATCH
from edgecost.costmodels.grids.learning import learn
from edgecost.costmodels.grids.pieces import PieceRecipe, asks, pieces_of
from edgecost.costmodels.grids.table_file import table_writer
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.predictor_file import load_predictor
from edgecost.costmodels.trees.boosting import BoostingSettings, Trainer, boost, tree_scores

WORKERS = 2
#: Leaves of the trees of ``LatencyPredictor``.
LEAVES = 16
#: Rows that judge, and the noise of those that train.
JUDGED, NOISE = 20_000, 0.02

Row = dict[str, float | str]
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@contextmanager
def cluster() -> Iterator[DaskCluster]:
    """Two workers on this machine."""
    from distributed import LocalCluster

    address = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    made = LocalCluster(n_workers=WORKERS, threads_per_worker=1, processes=True, **address)
    with made, connected(made.scheduler_address) as found:
        yield found


def fill_rows(cells: int, turns: int, predictor: Path | None) -> list[Row]:
    """Seconds of each way; the median over turns, and its ratio to one process turn by turn."""
    with tempfile.TemporaryDirectory(prefix="edgecost-") as name, cluster() as dask:
        folder = Path(name)
        if predictor is None:
            train(folder / "predictor")
        model, _ = load_predictor(predictor or folder / "predictor")
        grid, profile = grid_of(cells), LocalSetting.here().profile
        # Once: it is the same work in every way, and is done by the one who asks.
        known = tuple(learn(part, asks(profile)) for part in grid.parts)
        recipe = PieceRecipe(grid, model, known, profile, ".parquet")
        pools: dict[str, Pool] = {
            "one process": InProcess(),
            f"{WORKERS} processes": LocalProcesses(WORKERS),
            f"{WORKERS} Dask workers": dask,
        }
        took_s: dict[str, list[float]] = {way: [] for way in pools}
        digests = set()
        for turn in range(turns):
            order = list(pools) if turn % 2 == 0 else list(pools)[::-1]
            for way in order:
                file = folder / f"{turn}.parquet"
                begin = time.perf_counter()
                with table_writer(".parquet", file, {}) as write:
                    for piece in in_order(pools[way].map(recipe, pieces_of(grid, BATCH))):
                        write(piece.rows)
                took_s[way].append(time.perf_counter() - begin)
                digests.add(hashlib.sha256(file.read_bytes()).hexdigest())
                file.unlink()
    if len(digests) != 1:
        raise SystemExit(f"the files differ: {digests}")
    first = took_s["one process"]
    return [
        {
            "way": way,
            "cells": grid.size,
            "filling_s": statistics.median(taken),
            "times_as_fast": statistics.median(one / other for one, other in zip(first, taken, strict=True)),
            "least_times": min(one / other for one, other in zip(first, taken, strict=True)),
            "most_times": max(one / other for one, other in zip(first, taken, strict=True)),
        }
        for way, taken in took_s.items()
    ]


def made_up(rows: int, rng: np.random.Generator) -> tuple[Floats, Floats, Floats, Floats]:
    """Features, base prices and graphs of about three kernels each, by a law of waves and steps; true prices."""
    kind, x = rng.integers(0, 6, rows).astype(float), rng.lognormal(size=(rows, 8))
    graph = np.unique(np.sort(rng.integers(0, rows // 3, rows)), return_inverse=True)[1]
    base = 0.1 * (1 + kind) * x[:, 0]
    return np.column_stack([kind, x]), base, graph, base * np.exp(0.4 * np.sin(x[:, 1]) + 0.3 * (x[:, 2] > 1))


def tree_rows(rows: int, rounds: int) -> list[Row]:
    """One process, the cluster, and the cluster again; errors against the truth, and how far prices are apart."""
    rng = np.random.default_rng(0)
    features, base, graph, true = made_up(rows, rng)
    latency_ms = np.bincount(graph, true) * np.exp(NOISE * rng.standard_normal(graph.max() + 1))
    unseen, unseen_base, unseen_graph, unseen_true = made_up(JUDGED, rng)
    truth = np.bincount(unseen_graph, unseen_true)
    here = Trainer(boost, rows)
    found: list[Row] = []
    first: Floats | None = None
    with cluster() as dask:
        there = cluster_trainer(dask)
        for way, trainer in (("one process", here), ("Dask", there), ("Dask again", there)):
            begin = time.perf_counter()
            model = trainer.boost(features, base, graph, latency_ms, BoostingSettings(rounds, leaves=LEAVES), 0)
            took_s = time.perf_counter() - begin
            price = np.bincount(unseen_graph, unseen_base * np.exp(tree_scores(model, unseen)))
            first = price if first is None else first
            apart, off = np.abs(price / first - 1), np.abs(price / truth - 1)
            found.append({
                "way": way, "rows": rows, "training_s": took_s, "error_percent": 100 * off.mean(),
                "within_5_percent": 100 * (off < 0.05).mean(), "apart_mean_percent": 100 * apart.mean(),
                "apart_99_percent": 100 * np.quantile(apart, 0.99), "apart_most_percent": 100 * apart.max(),
            })  # fmt: skip
    return found


def lines(rows: list[Row]) -> list[str]:
    """A Markdown table."""
    told = [f"| {' | '.join(name.replace('_', ' ') for name in rows[0])} |", "|---" * len(rows[0]) + "|"]
    return told + [f"| {' | '.join(map(_field, row.values()))} |" for row in rows]


def _field(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.4g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default="1e6", help="1e4, 1e5, 1e6 or 1e7 [default: %(default)s]")
    parser.add_argument("--turns", type=int, default=3, help="of each way [default: %(default)s]")
    parser.add_argument("--predictor", type=Path, help="folder of a predictor [default: one of made-up latencies]")
    parser.add_argument("--trees", type=int, metavar="ROWS", help="compare trainers on so many kernels instead")
    parser.add_argument("--rounds", type=int, default=600, help="trees of each trainer [default: %(default)s]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    cells = int(float(arguments.cells))
    if cells not in STEPS:
        parser.error(f"--cells {arguments.cells}: choose out of 1e4, 1e5, 1e6 and 1e7")
    begun = os.getloadavg()[0]
    rows = (
        tree_rows(arguments.trees, arguments.rounds)
        if arguments.trees
        else fill_rows(cells, arguments.turns, arguments.predictor)
    )
    load = {"load_before": begun, "load_behind": os.getloadavg()[0], "cpus": len(os.sched_getaffinity(0))}
    about = head(LocalSetting.here())
    if arguments.json:
        print_json({**about, **load, "rows": rows})
        return
    print_head(about)
    print("\n".join(lines(rows)))
    print(f"\nLoad of the machine: {begun:.1f} before, {load['load_behind']:.1f} behind, on {load['cpus']} CPUs.")


if __name__ == "__main__":
    main()
