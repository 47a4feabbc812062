"""Fill tables of 10⁴ to 10⁷ cells: cells per second, peak memory, and the slow way beside it in the same process.

The grid is that of a search over middle channels: inverted residuals whose middle channels run up to eight times the
input's, as in TF-NAS (Hu et al., ECCV 2020). The slow way builds each cell as ONNX, asks ONNX Runtime's optimiser for
its kernels and prices those; it is timed on some cells of the same grid, half of them before the table and half behind
it. Each table is filled in a process of its own, so that its memory is its own.

Nothing here is about accuracy: unless ``--predictor`` names a predictor, one is trained on made-up latencies.

Run it:  python benchmarks/fill.py                            (10⁴, 10⁵ and 10⁶ cells; about a minute)
         python benchmarks/fill.py --cells 1e4,1e5,1e6,1e7    (two minutes more, and half a gigabyte of disk)
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measuring import head, print_head, print_json

from edgecost.costmodels.grids.cells import Cells, Grid
from edgecost.costmodels.grids.fill import ALPHA, asks, fill_grid
from edgecost.costmodels.grids.grid_file import read_grid
from edgecost.costmodels.grids.learning import learn
from edgecost.costmodels.grids.pricing import GridPricer
from edgecost.costmodels.kernel_work import work_of
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.predictor_file import load_predictor, save_predictor
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.kernels.graph import Kernel, kernels
from edgecost.profiler.records import RuntimeProfile

#: Step of the middle channels and number of output channels for each order of magnitude.
STEPS = {10**4: (64, 1), 10**5: (64, 10), 10**6: (8, 12), 10**7: (1, 15)}
OUTPUTS = (24, 16, 32, 40, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
#: Cells that the slow way is timed on.
SLOW_CELLS = 200
#: Spaces whose cells the predictor is trained on, and beside them cells of the grid and kernels alone.
SPACES, OF_GRID, ALONE = ("ofa-mobilenetv3", "fbnet", "proxylessnas"), 400, 400


def grid_of(cells: int) -> Grid:
    """About so many cells."""
    step, outputs = STEPS[cells]
    return read_grid(
        f"""
        name = "residuals"
        [[cells]]
        block = "inverted_residual"
        resolution = [112, 56, 28, 14, 7]
        channels = [16, 24, 40, 64, 96, 112, 160, 192]
        out = {list(OUTPUTS[:outputs])}
        mid = {{ from = {step}, to_input = 8, step = {step} }}
        kernel = [3, 5, 7]
        stride = [1, 2]
        squeeze = [0, 0.25]
        act = ["relu", "hard_swish"]
        """,
        "the grid of the benchmark",
    )


def made_up_ms(kernel: Kernel) -> float:
    """A roofline, and nothing of a device."""
    work = work_of(kernel)
    moved = work.input_megabytes + work.output_megabytes + work.weight_megabytes
    return 0.002 + 2e-5 * work.mega_flops + 0.05 * moved


def train(folder: Path) -> None:
    """A predictor of made-up latencies with 2 % of noise."""
    profile = LocalSetting.here().profile
    spaces = [load_space(name) for name in SPACES]
    graphs = [kernels(space.workload(cell), profile) for space in spaces for cell in space.measurable]
    grid, ask = grid_of(max(STEPS)), asks(profile)
    some = grid.parts[0].cells(np.unique(np.random.default_rng(1).integers(grid.size, size=OF_GRID)))
    graphs += [ask(some, place) for place in range(some.count)]
    distinct = list(dict.fromkeys(kernel for graph in graphs for kernel in graph))
    graphs += [(kernel,) for kernel in distinct[:: max(1, len(distinct) // ALONE)]]
    noise = np.exp(0.02 * np.random.default_rng(0).standard_normal(len(graphs)))
    latency_ms = np.array([sum(map(made_up_ms, graph)) for graph in graphs]) * noise
    save_predictor(LatencyPredictor().fit(graphs, latency_ms), folder, {})


def fill_once(cells: int, predictor: Path, folder: Path) -> dict[str, float]:
    """One table, in this process."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    grid, profile = grid_of(cells), LocalSetting.here().profile
    model, _ = load_predictor(predictor)
    rng = np.random.default_rng(0)
    some = grid.parts[0].cells(np.unique(rng.integers(grid.size, size=SLOW_CELLS)))
    half = some.count // 2
    slow_ms, before_s = slowly(some.take(np.arange(half)), model, profile)
    filled = fill_grid(grid, model, profile, folder / "cells.parquet")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    more_ms, behind_s = slowly(some.take(np.arange(half, some.count)), model, profile)
    part, ask = grid.parts[0], asks(profile)
    fast_ms = GridPricer(model, learn(part, ask), part.limits, ask, ALPHA).price(some).latency_ms
    slow_s, has_price = (before_s + behind_s) / some.count, np.isfinite(fast_ms)
    return {
        "cells": filled.cells,
        "learning_s": filled.learning_s,
        "filling_s": filled.filling_s,
        "cells_per_s": filled.cells / filled.filling_s,
        "cells_per_s_with_learning": filled.cells / (filled.filling_s + filled.learning_s),
        "peak_memory_mb": peak_mb,
        "file_mb": filled.file.stat().st_size / 1e6,
        "kernels": filled.kernels,
        "optimised": filled.learnt_from + filled.checked + filled.one_by_one,
        "one_by_one": filled.one_by_one,
        "slow_cells_per_s": 1 / slow_s,
        "times_as_fast": slow_s * filled.cells / (filled.filling_s + filled.learning_s),
        "largest_relative_difference": float(
            np.abs(fast_ms / np.array([*slow_ms, *more_ms]) - 1).max(initial=0, where=has_price)
        ),
    }


def slowly(cells: Cells, model: LatencyPredictor, profile: RuntimeProfile) -> tuple[list[float], float]:
    """Latencies and seconds of the slow way."""
    ask, begin = asks(profile), time.perf_counter()
    prices = model.price([ask(cells, place) for place in range(cells.count)])
    return [price.total_ms for price in prices], time.perf_counter() - begin


def run(sizes: list[int], predictor: Path | None) -> list[dict[str, float]]:
    """A process for each size."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="edgecost-") as name:
        folder = Path(name)
        if predictor is None:
            predictor = folder / "predictor"
            train(predictor)
        for cells in sizes:
            command = [sys.executable, __file__, "--one", str(cells), "--predictor", str(predictor), "--folder", name]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows.append(json.loads(done.stdout))
    for row in rows:
        row["time_per_cell_to_first"] = rows[0]["cells_per_s"] / row["cells_per_s"]
    return rows


def lines(rows: list[dict[str, float]]) -> list[str]:
    """A Markdown table."""
    told = [
        "| cells | learning s | filling s | cells/s | time per cell, to the first | peak MB | file MB | kernels | slow"
        " cells/s | times as fast, learning included | largest difference |",
        "|---" * 11 + "|",
    ]
    for row in rows:
        told.append(
            f"| {row['cells']:,.0f} | {row['learning_s']:.1f} | {row['filling_s']:.1f} | {row['cells_per_s']:,.0f} |"
            f" {row['time_per_cell_to_first']:.2f} | {row['peak_memory_mb']:,.0f} | {row['file_mb']:,.0f} |"
            f" {row['kernels']:,.0f} | {row['slow_cells_per_s']:,.0f} | {row['times_as_fast']:,.0f} |"
            f" {row['largest_relative_difference']:.0e} |"
        )
    return told


def sentence(rows: list[dict[str, float]]) -> str:
    """What the result means."""
    last = rows[-1]
    return (
        f"{last['cells']:,.0f} cells are written in {last['learning_s'] + last['filling_s']:.0f} s and"
        f" {last['peak_memory_mb']:.0f} MB, {last['times_as_fast']:,.0f} times as fast as one by one."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cells", default="1e4,1e5,1e6", help="sizes out of 1e4, 1e5, 1e6 and 1e7 [default: %(default)s]"
    )
    parser.add_argument("--predictor", type=Path, help="folder of a predictor [default: one of made-up latencies]")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(fill_once(arguments.one, arguments.predictor, arguments.folder)))
        return
    sizes = [int(float(size)) for size in arguments.cells.split(",")]
    if not set(sizes) <= STEPS.keys():
        parser.error(f"--cells {arguments.cells}: choose out of 1e4, 1e5, 1e6 and 1e7")
    about = head(LocalSetting.here())
    rows = run(sizes, arguments.predictor)
    if arguments.json:
        print_json({**about, "rows": rows, "meaning": sentence(rows)})
        return
    print_head(about)
    print("\n".join(lines(rows)))
    print(f"\n{sentence(rows)}")


if __name__ == "__main__":
    main()
