"""``edgecost lut fill``: the table in both forms, what is said of it, and what is left when it fails."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from edgecost.cli.main import cli
from edgecost.costmodels.grids import fill
from edgecost.costmodels.grids.cells import Grid
from edgecost.costmodels.grids.fill import asks, fill_grid
from edgecost.costmodels.grids.grid_file import read_grid
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.predictor_file import load_predictor, save_predictor
from edgecost.profiler.errors import EdgecostError, GateError, OutputError, UsageError
from edgecost.profiler.kernels.graph import Kernel
from edgecost.profiler.records import RuntimeProfile

Law = Callable[..., object]
GRID = """
name = "small"
[[cells]]
block = "inverted_residual"
resolution = [14, 28]
channels = [16, 24]
out = [16, 24, 32]
mid = { from = 16, to_input = 6, step = 8 }
kernel = [3, 5]
stride = [1, 2]
act = "relu"
"""


@pytest.fixture(scope="module")
def grid() -> Grid:
    return read_grid(GRID, "small.toml")


@pytest.fixture(scope="module")
def predictor(grid: Grid, law: Law, profile: RuntimeProfile, tmp_path_factory) -> Path:
    cells, ask = grid.parts[0].cells(np.arange(0, grid.size, 4)), asks(profile)
    graphs = [ask(cells, place) for place in range(cells.count)]
    model = LatencyPredictor(rounds=30).fit(graphs, law.measured_ms(graphs, seed=0))  # type: ignore[attr-defined]
    folder: Path = tmp_path_factory.mktemp("fill") / "predictor"
    save_predictor(model, folder, {})
    return folder


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, ["lut", "fill", *map(str, arguments)])
    if isinstance(result.exception, EdgecostError):
        return result.exception.exit_code, result.output, str(result.exception)
    return result.exit_code, result.stdout, result.stderr


def test_both_forms_hold_the_same_table(grid: Grid, predictor: Path, tmp_path: Path) -> None:
    file = tmp_path / "grid.toml"
    file.write_text(GRID)
    for suffix in ("parquet", "csv"):
        code, out, _ = run(file, "--predictor", predictor, "--out", tmp_path / f"cells.{suffix}")
        assert code == 0
        assert f"{grid.size:,} cells: " in out
        assert "learnt from" in out
        assert "no intervals" not in out
    table = pq.read_table(tmp_path / "cells.parquet")
    with (tmp_path / "cells.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [str(name) for name in table.column_names] == list(rows[0])
    assert len(rows) == table.num_rows == grid.size
    for name in ("latency_ms", "lo_ms", "hi_ms"):
        assert [float(row[name]) for row in rows] == table[name].to_pylist()
    for name in ("key", "block", "act", "source"):
        assert [row[name] for row in rows] == table[name].to_pylist()
    assert table.schema.metadata[b"edgecost.grid"] == b"small"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.csv", "cells.parquet", "grid.toml"]


def test_the_table_holds_the_predictor_s_prices_for_the_cells_it_names(
    grid: Grid, predictor: Path, profile: RuntimeProfile, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(fill, "BATCH", 100)
    model, _ = load_predictor(predictor)
    stages: list[tuple[str, int]] = []
    target = tmp_path / "cells.parquet"
    filled = fill_grid(grid, model, profile, target, progress=lambda stage, count: stages.append((stage, count)))
    assert sum(count for _, count in stages) == filled.cells == grid.size
    assert stages[0][0].startswith("learning inverted_residual, 1 of 2")
    rows, ask = pq.read_table(target).to_pylist(), asks(profile)
    places = np.random.default_rng(0).choice(grid.size, 60, replace=False)
    cells = grid.parts[0].cells(np.sort(places))
    for place, rank in enumerate(np.sort(places).tolist()):
        price, row, cell = model.price([ask(cells, place)])[0], rows[rank], cells.cell(place)
        assert row["key"] == cell.key
        assert row["adds"] == cell.params["adds"]
        assert (row["kernel"], row["stride"], row["mid"], row["out"]) == (
            cell.spec.kernel, cell.spec.stride, cell.spec.mid, cell.spec.out,
        )  # fmt: skip
        assert [row[name] for name in ("latency_ms", "lo_ms", "hi_ms")] == pytest.approx(
            [price.total_ms, price.lo_ms, price.hi_ms], rel=1e-12
        )
        outside = any(kernel.source == "predicted" for kernel in price.kernels)
        assert row["source"] == ("extrapolated" if outside else "predicted")
    assert filled.least_ms == min(row["latency_ms"] for row in rows)
    assert filled.most_ms == max(row["latency_ms"] for row in rows)


def test_json_tells_how_the_kernels_were_found(predictor: Path, tmp_path: Path) -> None:
    file = tmp_path / "grid.toml"
    file.write_text(GRID)
    code, out, _ = run(file, "--predictor", predictor, "--out", tmp_path / "cells.csv", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["grid"] == "small"
    assert found["cells"] == sum(found["sources"].values())
    assert found["no_interval"] is None
    assert found["one_by_one"] == found["unsure"] == 0
    assert found["families"] == 2  # with a shortcut, and without
    assert found["checked"] > 100


def test_a_cell_without_a_price_has_no_number(
    cell_graphs: list[tuple[Kernel, ...]], law: Law, profile: RuntimeProfile, tmp_path: Path
) -> None:
    depthwise = [graph for graph in cell_graphs if all("Mul" not in kernel.op for kernel in graph)][:15]
    latency_ms = law.measured_ms(depthwise, seed=0)  # type: ignore[attr-defined]
    model = LatencyPredictor(rounds=5).fit(depthwise, latency_ms)
    grid = read_grid(GRID + "squeeze = [0, 0.25]\n", "small.toml")
    filled = fill_grid(grid, model, profile, tmp_path / "cells.parquet")
    assert filled.sources["unsupported"] == grid.size // 2
    rows = pq.read_table(tmp_path / "cells.parquet").to_pylist()
    for row in rows:
        assert (row["latency_ms"] is None) == (row["source"] == "unsupported") == (row["squeeze"] > 0)
    # Fifteen graphs are enough for an interval of 90 %; of fewer the summary says that there is none.
    assert filled.no_interval is None


def test_nothing_is_written_where_no_cell_has_a_price(
    law: Law, grid: Grid, profile: RuntimeProfile, tmp_path: Path
) -> None:
    gemms = [(Kernel("Gemm", ((1, n),), ((10, n), (10,)), ((1, 10),)),) for n in range(1, 21)]
    model = LatencyPredictor(rounds=5).fit(gemms, law.measured_ms(gemms, seed=0))  # type: ignore[attr-defined]
    target = tmp_path / "cells.parquet"
    with pytest.raises(GateError, match="none of the 672 cells has a price"):
        fill_grid(grid, model, profile, target)
    assert list(tmp_path.iterdir()) == []


def test_few_held_out_graphs_leave_the_bounds_empty_and_say_why(
    grid: Grid, predictor: Path, profile: RuntimeProfile, tmp_path: Path
) -> None:
    model, _ = load_predictor(predictor)
    model.scores_ = model.scores_[:5]
    filled = fill_grid(grid, model, profile, tmp_path / "cells.parquet")
    assert filled.no_interval == "the predictor held out too few graphs for an interval"
    table = pq.read_table(tmp_path / "cells.parquet")
    assert table["lo_ms"].null_count == table["hi_ms"].null_count == grid.size
    assert table["latency_ms"].null_count == 0


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("cells.npy", UsageError, "cells.npy cannot be written"),
        ("file/cells.parquet", OutputError, "cannot be written"),
    ],
)
def test_a_target_that_cannot_be_written_is_named(
    name: str, error: type[EdgecostError], message: str, grid: Grid, predictor: Path, profile: RuntimeProfile, tmp_path
) -> None:
    (tmp_path / "file").write_text("")
    model, _ = load_predictor(predictor)
    with pytest.raises(error) as caught:
        fill_grid(grid, model, profile, tmp_path / name)
    assert message in caught.value.message


def test_the_old_table_stays_when_filling_fails(
    grid: Grid, predictor: Path, profile: RuntimeProfile, tmp_path: Path
) -> None:
    target = tmp_path / "cells.csv"
    target.write_text("old")
    model, _ = load_predictor(predictor)

    def stop(stage: str, count: int) -> None:
        if count:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_grid(grid, model, profile, target, progress=stop)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.benchmark
def test_the_benchmark_sets_the_slow_way_beside_the_table(predictor: Path) -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "fill.py"
    command = [sys.executable, script, "--cells", "1e4", "--predictor", predictor, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (row,) = found["rows"]
    assert row["cells"] == 10_560
    assert row["largest_relative_difference"] < 1e-12
    assert row["times_as_fast"] > 1
    assert "10,560 cells are written" in found["meaning"]
