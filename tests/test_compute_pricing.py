"""Tables priced on a Dask cluster and in local processes: the bytes of one process; and a trainer that differs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgecost.cli.main import main
from edgecost.costmodels.compute.dask_boosting import Objective, cluster_trainer
from edgecost.costmodels.compute.dask_cluster import DaskCluster, connected
from edgecost.costmodels.compute.in_process import InProcess
from edgecost.costmodels.compute.local_processes import LocalProcesses
from edgecost.costmodels.compute.pool import Pool
from edgecost.costmodels.grids import fill
from edgecost.costmodels.grids.cells import Grid
from edgecost.costmodels.grids.fill import fill_grid
from edgecost.costmodels.grids.grid_file import read_grid
from edgecost.costmodels.grids.pieces import asks
from edgecost.costmodels.lut_formats.contract import checksum_lut
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.predictor_file import load_predictor, save_predictor
from edgecost.costmodels.space_file import load_space
from edgecost.costmodels.trees.boosting import BoostingSettings, boost, tree_scores
from edgecost.profiler.records import RuntimeProfile
from tests.conftest import KnownLaw
from tests.dask_cluster import loopback_cluster

GRID = """
name = "two kinds"
[[cells]]
block = "inverted_residual"
resolution = 14
channels = [16, 24]
out = [16, 24]
mid = { from = 16, to_input = 3, step = 16 }
kernel = [3, 5]
act = "relu"
[[cells]]
block = "conv"
resolution = [7, 14]
channels = [16, 24]
out = { from = 16, to = 64, step = 16 }
act = "relu"
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with loopback_cluster() as scheduler:
        yield scheduler


@pytest.fixture
def cluster(address: str) -> Iterator[DaskCluster]:
    with connected(address) as found:
        yield found


@pytest.fixture(scope="module")
def grid() -> Grid:
    return read_grid(GRID, "grid.toml")


@pytest.fixture(scope="module")
def predictor(grid: Grid, law: KnownLaw, profile: RuntimeProfile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    ask, graphs = asks(profile), []
    for part in grid.parts:
        cells = part.cells(np.arange(part.size))
        graphs += [ask(cells, place) for place in range(cells.count)]
    model = LatencyPredictor(rounds=20).fit(graphs, law.measured_ms(graphs, seed=0))
    folder = tmp_path_factory.mktemp("fill") / "predictor"
    save_predictor(model, folder, {})
    return folder


class Steps:
    """Adds up what it is told."""

    cells = 0

    def step(self, note: str, count: int) -> None:
        self.cells += count


def test_a_table_has_the_same_bytes_wherever_it_was_filled(
    grid: Grid, predictor: Path, profile: RuntimeProfile, cluster: DaskCluster,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(fill, "BATCH", 20)
    model, _ = load_predictor(predictor)
    # An ensemble that was made before cannot travel; the trees do.
    model.booster_.predict(np.zeros((300, len(model.features_) + 1)))
    pools: dict[str, Pool] = {"here": InProcess(), "processes": LocalProcesses(2), "dask": cluster}
    filled = {}
    for name, pool in pools.items():
        steps = Steps()
        filled[name] = fill_grid(grid, model, profile, tmp_path / f"{name}.parquet", pool=pool, progress=steps.step)
        assert steps.cells == grid.size
    bytes_of = {name: one.file.read_bytes() for name, one in filled.items()}
    assert bytes_of["here"] == bytes_of["processes"] == bytes_of["dask"]
    for one in filled.values():
        assert (one.sources, one.least_ms, one.most_ms, one.checked) == (
            filled["here"].sources, filled["here"].least_ms, filled["here"].most_ms, filled["here"].checked,
        )  # fmt: skip


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_the_commands_take_a_cluster_and_say_how_large_it_is(
    predictor: Path, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "grid.toml").write_text(GRID)
    told = f"2 workers with 2 threads behind {address}"
    command = ("lut", "fill", tmp_path / "grid.toml", "--predictor", predictor, "--out")
    assert run(capsys, *command, tmp_path / "here.csv")[0] == 0
    code, _, err = run(capsys, *command, tmp_path / "there.csv", "--dask", address)
    assert code == 0
    assert told in err
    assert (tmp_path / "here.csv").read_bytes() == (tmp_path / "there.csv").read_bytes()

    space = load_space("ofa-mobilenetv3")
    checksum_lut(space).save(tmp_path / "lut.json")
    np.save(tmp_path / "archs.npy", space.sample(70_000, 0))
    command = ("lut", "price", tmp_path / "lut.json", "--archs", tmp_path / "archs.npy", "--out")
    assert run(capsys, *command, tmp_path / "here.npy")[0] == 0
    code, _, err = run(capsys, *command, tmp_path / "there.npy", "--dask", address)
    assert code == 0
    assert told in err
    assert run(capsys, *command, tmp_path / "processes.npy", "--jobs", 2)[0] == 0
    bytes_of = {name: (tmp_path / f"{name}.npy").read_bytes() for name in ("here", "there", "processes")}
    assert bytes_of["here"] == bytes_of["there"] == bytes_of["processes"]


def test_a_scheduler_that_is_not_there_leaves_no_table(
    predictor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "grid.toml").write_text(GRID)
    command = ("lut", "fill", tmp_path / "grid.toml", "--predictor", predictor, "--out", tmp_path / "cells.csv")
    code, _, err = run(capsys, *command, "--dask", "localhost:8786")
    assert code == 2
    assert "--dask tcp://HOST:8786" in err
    assert [path.name for path in tmp_path.iterdir()] == ["grid.toml"]


def sums(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features, base prices, graphs of about three kernels each, and their latencies by a known law."""
    rng = np.random.default_rng(seed)
    kind, x = rng.integers(0, 3, rows).astype(float), rng.lognormal(size=(rows, 3))
    graph = np.unique(np.sort(rng.integers(0, rows // 3, rows)), return_inverse=True)[1]
    base = (1 + kind) * x[:, 0]
    return np.column_stack([kind, x]), base, graph, np.bincount(graph, base * np.exp(0.5 * (x[:, 1] > 1)))


def test_the_cluster_s_trainer_learns_the_same_law_but_not_the_same_trees(cluster: DaskCluster) -> None:
    features, base, graph, latency_ms = sums(0, 3_000)
    settings = BoostingSettings(rounds=60)
    trainers = {"here": boost, "there": cluster_trainer(cluster).boost}
    unseen, unseen_base, unseen_graph, truth = sums(1, 3_000)
    price = {}
    for name, train in trainers.items():
        trees = train(features, base, graph, latency_ms, settings, 0)
        price[name] = np.bincount(unseen_graph, unseen_base * np.exp(tree_scores(trees, unseen)))
        assert trees.num_trees() == 60
    plain = np.bincount(unseen_graph, unseen_base)
    for one in price.values():
        assert np.mean(np.abs(one / truth - 1)) < 0.3 * np.mean(np.abs(plain / truth - 1))
    assert np.mean(np.abs(price["there"] / price["here"] - 1)) < 0.02


def test_the_objective_of_some_rows_is_that_of_all() -> None:
    _, base, graph, latency_ms = sums(2, 300)
    objective = Objective(base, graph, np.log(latency_ms))
    scores = np.random.default_rng(0).normal(size=300)
    every = objective(np.arange(300.0), scores)
    edge = int(np.searchsorted(graph, 50))  # whole graphs
    for some in (slice(0, edge), slice(edge, 300)):
        for part, whole in zip(objective(np.arange(300.0)[some], scores[some]), every, strict=True):
            np.testing.assert_allclose(part, whole[some], rtol=1e-12)
