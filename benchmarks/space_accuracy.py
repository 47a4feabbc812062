"""Published measurements of whole search spaces: how true a device's model is after 100, 900 and 2,000 architectures.

Run it:  python benchmarks/space_accuracy.py --seeds 3          (all devices; about half an hour)
         python benchmarks/space_accuracy.py --only latbench    (the desktop CPU of BRP-NAS; a minute)

The data are not part of the repository: HELP (Lee et al., NeurIPS 2021; MIT) and LatBench (BRP-NAS, NeurIPS 2020;
Apache-2.0) as ``nasbench201_latency.npz``, ``fbnet_latency.npz`` and ``latbench_desktop_cpu.npz`` in ``--data``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from edgecost.costmodels.space_models.encoding import Encoding, encode_cells, encode_layers
from edgecost.costmodels.space_models.residual import TreeSettings, train_trees, tree_score
from edgecost.costmodels.space_models.space_model import SpaceModel

Floats = npt.NDArray[np.float64]

ALPHAS = (0.2, 0.1, 0.05)
#: Not measured on a device: estimates of a simulator, and on FBNet also sums over a table of blocks.
SYNTHETIC = {"nasbench201": {"eyeriss", "fpga"}, "fbnet": {"eyeriss", "fpga", "pixel3", "raspi4"}, "latbench": set()}
#: Titles and fields of the table of accuracies.
COLUMNS = (
    ("ρ", "spearman", 3),
    ("MAPE", "mape_percent", 2),
    ("MdAPE", "mdape_percent", 2),
    ("±1 %", "within_1_percent", 1),
    ("±5 %", "within_5_percent", 1),
    ("±10 %", "within_10_percent", 1),
)
PLAIN = TreeSettings(objective="regression", learning_rate=0.05, rounds=400)


@dataclass(frozen=True)
class Data:
    """One space: its architectures and what each device measured, shape (architectures, devices), NaN where nothing."""

    name: str
    encoding: Encoding
    devices: tuple[str, ...]
    latency_ms: Floats


@dataclass(frozen=True)
class Figures:
    """Agreement with all architectures that took no part in the fit."""

    spearman: float
    mape_percent: float
    mdape_percent: float
    within_1_percent: float
    within_5_percent: float
    within_10_percent: float


@dataclass(frozen=True)
class Run:
    """One device, one seed, one number of measured architectures.

    Attributes:
        fit_cpu_s: processor time, one thread: others may be at work on the machine.
        covered_percent, width: of the interval, by nominal coverage in per cent; the width is the median, relative to
            the prediction.
    """

    space: str
    device: str
    samples: int
    seed: int
    expert: str
    fit_cpu_s: float
    model: Figures
    table: Figures
    plain_lightgbm: Figures
    connected: Figures
    covered_percent: dict[str, float]
    width: dict[str, float]


def load(folder: Path, only: Sequence[str]) -> Iterator[Data]:
    """The spaces asked for."""
    cells, chains, desktop = (
        np.load(folder / name, allow_pickle=False)
        for name in ("nasbench201_latency.npz", "fbnet_latency.npz", "latbench_desktop_cpu.npz")
    )
    graph = encode_cells(cells["ops"], cells["edges"])
    for name, encoding, held in (
        ("nasbench201", graph, cells),
        ("fbnet", encode_layers(chains["ops"], chains["layers"], chains["macs_lut"]), chains),
        ("latbench", graph, desktop),
    ):
        if name in only:
            yield Data(name, encoding, tuple(map(str, held["devices"])), held["latency"].astype(np.float64))


def figures(predicted: Floats, measured: Floats) -> Figures:
    error = np.abs(predicted / measured - 1) * 100
    return Figures(
        spearman=float(spearmanr(predicted, measured).statistic),
        mape_percent=float(error.mean()),
        mdape_percent=float(np.median(error)),
        within_1_percent=float((error <= 1).mean() * 100),
        within_5_percent=float((error <= 5).mean() * 100),
        within_10_percent=float((error <= 10).mean() * 100),
    )


def one_run(data: Data, device: int, samples: int, seed: int, interval: str) -> Run:
    latency = data.latency_ms[:, device]
    order = np.random.default_rng([seed, device]).permutation(np.flatnonzero(np.isfinite(latency)))
    inside, outside = order[:samples], order[samples:]
    known, fresh, truth = data.encoding.take(inside), data.encoding.take(outside), latency[outside]
    begin = time.process_time()
    model = SpaceModel(interval="quantile" if interval == "quantile" else "conformal", random_state=seed)
    model.fit(known, latency[inside])
    fit_cpu_s = time.process_time() - begin
    names = [name for name in known.names if name != "paths"]
    plain = train_trees(known.matrix(*names), np.log(latency[inside]), PLAIN, seed)
    predicted = model.predict(fresh)
    bounds = {f"{1 - alpha:.0%}": model.predict_interval(fresh, alpha) for alpha in ALPHAS}
    sane = np.logical_not(fresh.degenerate)
    return Run(
        space=data.name,
        device=data.devices[device],
        samples=samples,
        seed=seed,
        expert=model.report().expert,
        fit_cpu_s=fit_cpu_s,
        model=figures(predicted, truth),
        table=figures(model.table_.predict(fresh), truth),
        plain_lightgbm=figures(np.exp(tree_score(plain, fresh.matrix(*names))), truth),
        connected=figures(predicted[sane], truth[sane]),
        covered_percent={
            name: float(np.mean((pair[:, 0] <= truth) & (truth <= pair[:, 1])) * 100) for name, pair in bounds.items()
        },
        width={name: float(np.median((pair[:, 1] - pair[:, 0]) / predicted)) for name, pair in bounds.items()},
    )


def speed(data: Data, seed: int, sizes: Sequence[int]) -> list[dict[str, float | str]]:
    """Fit time against rows and predictions per CPU second, on the first device."""
    latency = data.latency_ms[:, 0]
    order = np.random.default_rng(seed).permutation(np.flatnonzero(np.isfinite(latency)))
    SpaceModel().fit(data.encoding.take(order[:100]), latency[order[:100]])  # imports LightGBM
    rows: list[dict[str, float | str]] = []
    for size in sizes:
        if size >= len(order):
            continue
        known = data.encoding.take(order[:size])
        begin = time.process_time()
        model = SpaceModel(random_state=seed).fit(known, latency[order[:size]])
        fit_cpu_s = time.process_time() - begin
        many = data.encoding.take(np.resize(order, 10_000))
        times = []
        for _ in range(5):
            begin = time.process_time()
            model.predict(many)
            times.append(time.process_time() - begin)
        rows.append(
            {
                "space": data.name,
                "rows": size,
                "fit_cpu_s": fit_cpu_s,
                "expert": model.report().expert,
                "predictions_per_cpu_s": many.size / statistics.median(times),
            }
        )
    return rows


def averages(runs: Sequence[Run], part: str) -> list[str]:
    """Mean over the devices ± its standard deviation over the seeds, by column; no spread from one seed."""
    by_seed = defaultdict(list)
    for run in runs:
        by_seed[run.seed].append(getattr(run, part))
    cells = []
    for _, field, digits in COLUMNS:
        means = [statistics.mean(getattr(entry, field) for entry in entries) for entries in by_seed.values()]
        spread = f" ± {statistics.stdev(means):.{digits}f}" if len(means) > 1 else ""
        cells.append(f"{statistics.mean(means):.{digits}f}{spread}")
    return cells


def run_from_json(row: Mapping[str, Any]) -> Run:
    """The inverse of ``asdict``."""
    parts = {name: Figures(**row[name]) for name in ("model", "table", "plain_lightgbm", "connected")}
    return Run(**{**row, **parts})


def accuracy_lines(runs: Sequence[Run]) -> Iterator[str]:
    yield f"| space | samples | devices | model | {' | '.join(title for title, _, _ in COLUMNS)} |"
    yield "|---" * (4 + len(COLUMNS)) + "|"
    for space, samples in sorted({(run.space, run.samples) for run in runs}):
        chosen = [run for run in runs if (run.space, run.samples) == (space, samples)]
        measured = [run for run in chosen if run.device not in SYNTHETIC[space]]
        parts = [("edgecost", chosen, "model"), ("its table alone", chosen, "table")]
        parts += [("plain LightGBM", chosen, "plain_lightgbm"), ("edgecost, measured devices", measured, "model")]
        if space == "nasbench201":
            parts.append(("edgecost, connected networks", chosen, "connected"))
        for title, of, part in parts:
            devices = len({run.device for run in of})
            yield f"| {space} | {samples} | {devices} | {title} | {' | '.join(averages(of, part))} |"


def interval_lines(runs: Sequence[Run]) -> Iterator[str]:
    names = list(runs[0].covered_percent)
    titles = " | ".join(f"{n} nominal, worst device, width" for n in names)
    yield f"| space | samples | {titles} | fit CPU s, longest |"
    yield "|---" * (3 + len(names)) + "|"
    for space, samples in sorted({(run.space, run.samples) for run in runs}):
        chosen = [run for run in runs if (run.space, run.samples) == (space, samples)]
        cells = []
        for name in names:
            by_device = defaultdict(list)
            for run in chosen:
                by_device[run.device].append(run.covered_percent[name])
            worst = min(by_device, key=lambda device: statistics.mean(by_device[device]))
            overall = statistics.mean(run.covered_percent[name] for run in chosen)
            width = statistics.median(run.width[name] for run in chosen)
            cells.append(f"{overall:.1f}, {statistics.mean(by_device[worst]):.1f} ({worst}), {width:.3f}")
        times = [run.fit_cpu_s for run in chosen]
        fits = f"{statistics.median(times):.2f}, {max(times):.2f}"
        yield f"| {space} | {samples} | {' | '.join(cells)} | {fits} |"


def print_devices(runs: Sequence[Run]) -> None:
    print("\n| space | device | samples | expert | MAPE | MdAPE | ±5 % | ±10 % | table MAPE | 90 % interval |")
    print("|---" * 10 + "|")
    for run in sorted(runs, key=lambda run: (run.space, run.device, run.samples, run.seed)):
        model = run.model
        print(
            f"| {run.space} | {run.device} | {run.samples} | {run.expert} | {model.mape_percent:.2f} |"
            f" {model.mdape_percent:.2f} | {model.within_5_percent:.1f} | {model.within_10_percent:.1f} |"
            f" {run.table.mape_percent:.2f} | {run.covered_percent['90%']:.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--seeds", type=int, default=3, help="repetitions with other samples [default: 3]")
    parser.add_argument("--first-seed", type=int, default=0, help="of the repetitions [default: 0]")
    parser.add_argument("--samples", default="100,900,2000", help="measured architectures [default: 100,900,2000]")
    parser.add_argument("--only", default="nasbench201,fbnet,latbench", help="spaces, by name [default: all three]")
    parser.add_argument("--every", type=int, default=1, help="take every n-th device only [default: 1]")
    parser.add_argument("--interval", choices=("conformal", "quantile"), default="conformal")
    parser.add_argument("--speed-rows", default="100,300,900,2000,10000", help="rows of the fits that are timed")
    parser.add_argument("--by-device", action="store_true", help="print every run, too")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if not (arguments.data / "nasbench201_latency.npz").is_file():
        sys.exit(f"{arguments.data} does not hold the published measurements; name their folder: --data DIR")
    runs, times = [], []
    for data in load(arguments.data, arguments.only.split(",")):
        for samples in map(int, arguments.samples.split(",")):
            for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
                for device in range(0, len(data.devices), arguments.every):
                    runs.append(one_run(data, device, samples, seed, arguments.interval))
            print(f"{data.name}: {samples} samples done", file=sys.stderr)
        times += speed(data, 0, [int(rows) for rows in arguments.speed_rows.split(",") if rows])
    if arguments.json:
        print(json.dumps({"runs": [asdict(run) for run in runs], "speed": times}, indent=1))
        return
    print("\n".join([*accuracy_lines(runs), "", *interval_lines(runs)]))
    if arguments.by_device:
        print_devices(runs)
    print("\n| space | rows | expert | fit CPU s | predictions per CPU s |\n|---|---|---|---|---|")
    for row in times:
        speed_of = f"{row['fit_cpu_s']:.2f} | {row['predictions_per_cpu_s']:,.0f}"
        print(f"| {row['space']} | {row['rows']} | {row['expert']} | {speed_of} |")


if __name__ == "__main__":
    main()
