"""Training time and prediction throughput against rows: kernels of a synthetic law, networks of kernels, architectures.

Run it:  OPENBLAS_NUM_THREADS=1 python benchmarks/prediction_speed.py      (100 to 1,000,000 kernels; some minutes)
         python benchmarks/prediction_speed.py --rows 100,1000 --data ""  (seconds)

On small matrices the threads of the linear algebra wait for each other, on a busy machine several times as long as one
thread takes.

Nothing here is about accuracy on a device: the kernels and the law are made up (``synthetic_kernels.py``), and their
errors are printed to show that leaving rows out of a large store costs none. ``--data`` names the folder of published
measurements on which models of architectures are timed.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import lightgbm  # noqa: F401  # its import is no part of a fit
import numpy as np
from few_shot import CELLS, Sources, load_space
from few_shot_tasks import TASKS
from measuring import head, print_head, print_json
from space_accuracy import speed
from synthetic_kernels import draw_kernels, law_ms, measured_ms

from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.population import Population, PopulationPricer
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.predictor_file import load_predictor, save_predictor
from edgecost.costmodels.space_models.experts import prepare

ROWS = (100, 1000, 10_000, 100_000, 1_000_000)
#: Kernels that judge, networks of a population, and kernels of each of them.
FRESH, NETWORKS, NETWORK_KERNELS = 5000, 10_000, 100
#: Distinct kernels that the networks of a population share.
SHARED = 500
REPEATS = 5


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the wall clock and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def typical_s(action: Callable[[], object]) -> float:
    """Processor seconds, the median of ``REPEATS``."""
    return statistics.median(timed(action)[1] for _ in range(REPEATS))


def kernel_row(count: int, seed: int) -> dict[str, float]:
    """One training set: how long it takes, how true it is, how fast it answers."""
    kernels = draw_kernels(count, seed)
    graphs, latency_ms = [(kernel,) for kernel in kernels], measured_ms(kernels, seed)
    predictor = LatencyPredictor(random_state=seed)
    wall_s, cpu_s = timed(lambda: predictor.fit(graphs, latency_ms))
    fresh = draw_kernels(FRESH, seed + 1)
    asked = [(kernel,) for kernel in fresh]
    guess, truth = np.array([price.total_ms for price in predictor.price(asked)]), law_ms(fresh)
    bounds = predictor.predict_interval(asked)
    measured = measured_ms(fresh, seed + 2)
    print(f"{count:,} kernels: fit {wall_s:.1f} s", file=sys.stderr, flush=True)
    return {
        "rows": count,
        "fit_wall_s": wall_s,
        "fit_cpu_s": cpu_s,
        "mape_percent": float(np.mean(np.abs(guess / truth - 1)) * 100),
        "interval_90_covers": float(np.mean((bounds[:, 0] <= measured) & (measured <= bounds[:, 1]))),
        "kernels_per_cpu_s": FRESH / typical_s(lambda: predictor.price(asked)),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def population_rows(seed: int, networks: int) -> list[dict[str, float | str]]:
    """Networks per second of a predictor as it was trained and as it was read from a file, and one by one."""
    kernels = draw_kernels(2000, seed)
    trained = LatencyPredictor(random_state=seed).fit([(kernel,) for kernel in kernels], measured_ms(kernels, seed))
    with TemporaryDirectory(prefix="edgecost-") as folder:
        save_predictor(trained, Path(folder), {})
        stored, _ = load_predictor(Path(folder))
    shared = draw_kernels(SHARED, seed + 1)
    places = np.random.default_rng(seed).integers(0, SHARED, (networks, NETWORK_KERNELS)).tolist()
    graphs = [tuple(shared[place] for place in row) for row in places]
    population = Population.of(graphs)
    pricer = PopulationPricer(stored)
    few = graphs[: max(1, networks // 100)]
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "population, kernels known": (networks, lambda: pricer.price(population)),
        "population, all kernels new": (networks, lambda: PopulationPricer(stored).price(population)),
        "with making the population": (networks, lambda: pricer.price(Population.of(graphs))),
        "one by one, LightGBM": (len(few), lambda: [trained.price([graph]) for graph in few]),
        "one by one, stored trees": (len(few), lambda: [stored.price([graph]) for graph in few]),
    }
    return [
        {"way": way, "networks": count, "networks_per_cpu_s": count / typical_s(action)}
        for way, (count, action) in ways.items()
    ]


def few_shot_fits(folder: Path) -> dict[str, float]:
    """A new device from 5, 10 and 20 architectures: processor seconds of the fit."""
    task = next(task for task in TASKS if task.space == CELLS and task.protocol == "help")
    space = load_space(folder, CELLS)
    beliefs = prepare(Sources().fleet(task, space))
    latency = space.of(next(target for target in task.targets if target in space.devices))
    found = {}
    for samples in (5, 10, 20):
        rows = np.random.default_rng(0).choice(np.flatnonzero(~space.encoding.degenerate), samples, replace=False)
        found[str(samples)] = typical_s(lambda rows=rows: beliefs.fit(rows, latency[rows]).predict_ms())
    return found


def sentence(rows: Sequence[dict[str, float]], populations: Sequence[dict[str, float | str]]) -> str:
    """What the result means."""
    last = rows[-1]
    return (
        f"{last['rows']:,.0f} kernels train in {last['fit_wall_s']:.1f} s; a population of networks of"
        f" {NETWORK_KERNELS} kernels is priced at {populations[0]['networks_per_cpu_s']:,.0f} networks per second."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(map(str, ROWS)), help="kernels [default: 100 … 1000000]")
    parser.add_argument("--space-rows", default="100,300,900,2000,10000", help="architectures [default: 100 … 10000]")
    parser.add_argument(
        "--population", type=int, default=NETWORKS, help=f"networks priced at once [default: {NETWORKS}]"
    )
    parser.add_argument("--data", default=str(Path(__file__).parents[2] / "shared" / "data"), help="published data")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    about = head(LocalSetting.here())
    result = run(arguments.rows, arguments.space_rows, arguments.data, arguments.seed, arguments.population)
    meaning = sentence(result["kernels"], result["populations"])
    if arguments.json:
        print_json({**about, **result, "meaning": meaning})
        return
    print_head(about)
    print("\n".join(lines(result)))
    print(f"\n{meaning}")


def run(rows: str, space_rows: str, data: str, seed: int, networks: int) -> dict[str, list[dict[str, float]]]:
    """Everything; what needs published data is empty without them."""
    from space_accuracy import load

    folder = Path(data) if data and (Path(data) / "nasbench201_latency.npz").is_file() else None
    sizes = [int(size) for size in space_rows.split(",") if size]
    return {
        "kernels": [kernel_row(int(count), seed) for count in rows.split(",")],
        "populations": population_rows(seed, networks),
        "spaces": [row for one in load(folder, ("nasbench201", "fbnet")) for row in speed(one, seed, sizes)]
        if folder
        else [],
        "few_shot_fit_cpu_s": few_shot_fits(folder) if folder else {},
    }


def lines(result: dict[str, list[dict[str, float]]]) -> list[str]:
    """Markdown tables."""
    told = ["| kernels | fit s | CPU s | error % | 90 % interval | kernels per CPU s | peak MB |", "|---" * 7 + "|"]
    for row in result["kernels"]:
        told.append(
            f"| {row['rows']:,} | {row['fit_wall_s']:.2f} | {row['fit_cpu_s']:.2f} | {row['mape_percent']:.2f} |"
            f" {row['interval_90_covers']:.1%} | {row['kernels_per_cpu_s']:,.0f} | {row['peak_memory_mb']:.0f} |"
        )
    told += [
        "",
        f"| {result['populations'][0]['networks']:,} networks of {NETWORK_KERNELS} kernels | networks per CPU s |",
        "|---|---|",
    ]
    told += [f"| {row['way']} | {row['networks_per_cpu_s']:,.0f} |" for row in result["populations"]]
    if result["spaces"]:
        told += ["", "| space | architectures | expert | fit CPU s | predictions per CPU s |", "|---" * 5 + "|"]
        for row in result["spaces"]:
            fit, pace = f"{row['fit_cpu_s']:.2f}", f"{row['predictions_per_cpu_s']:,.0f}"
            told.append(f"| {row['space']} | {row['rows']:,} | {row['expert']} | {fit} | {pace} |")
        fits = ", ".join(f"{count} samples {cpu_s:.2f} s" for count, cpu_s in result["few_shot_fit_cpu_s"].items())
        told += ["", f"Few-shot fit, CPU: {fits}."]
    return told


if __name__ == "__main__":
    main()
