"""A new device from 5, 10 or 20 measurements, on published data: ours beside the published figures, also where we lose.

The data are not part of this repository: ``--data`` names the folder of the two files. Run it:

    python benchmarks/few_shot.py --data ../shared/data

Protocols. HELP (Lee et al., NeurIPS 2021; its loader): sources measured the first 900 (NAS-Bench-201) or 4,000
(FBNet) architectures, the new device is shown some of these, out of the 10–90 % of its latencies, and judged on the
10–90 % of the 1,000 that follow. NASFlat (Akhauri & Abdelfattah, MLSys 2024): each source measured 512 or 800 random
architectures, the new device is judged on all architectures, untrimmed. Published figures are the authors', not run
again here; HELP's 10 samples come with 10 reference measurements more. Errors in per cent leave networks out whose
input does not reach their output (on some devices they cost a hundredth of a millisecond); Spearman's ρ takes all.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from few_shot_tasks import CELLS, CHAINS, TASKS, Task
from keeping import fingerprint
from scipy.stats import spearmanr

from edgecost.costmodels.space_models.encoding import Encoding, encode_cells, encode_layers
from edgecost.costmodels.space_models.experts import Beliefs, FewShotModel, prepare
from edgecost.costmodels.space_models.fleet import Fleet, Source, train_source
from edgecost.costmodels.space_models.stack import fit_stack

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Samples of each source: the first ones (HELP), or as many random ones (NASFlat).
SOURCE_SAMPLES = {("help", CELLS): 900, ("help", CHAINS): 4000, ("nasflat", CELLS): 512, ("nasflat", CHAINS): 800}
BUDGETS = {"help": (5, 10, 20), "nasflat": (10, 20)}
#: How samples are chosen: at random, or by a plan that is made before anything is measured.
WAYS = {"help": ("random", "d-optimal"), "nasflat": ("random", "stratified", "d-optimal")}
HELP_TEST = 1000
TRIM = (0.1, 0.9)


@dataclass(frozen=True, eq=False)
class Space:
    """Published latencies in milliseconds, shape (architectures, devices); NaN where a device did not measure."""

    encoding: Encoding
    devices: tuple[str, ...]
    latency_ms: Floats

    def of(self, device: str) -> Floats:
        return self.latency_ms[:, self.devices.index(device)]


@dataclass(frozen=True)
class Row:
    """One target, one way to sample, one budget: means over seeds, ``rho_spread`` their standard deviation.

    Attributes:
        stack_rho: of the non-negative stack of the sources alone, with the same samples; None without sources.
        covered: share of the test architectures inside the nominal 90 % intervals.
        with_fleet, without_fleet, stack: weights of the experts.
    """

    task: str
    target: str
    way: str
    samples: int
    rho: float
    rho_spread: float
    mape_percent: float
    within_5: float
    within_10: float
    stack_rho: float | None
    covered: float
    with_fleet: float
    without_fleet: float
    stack: float
    fit_s: float


def load_space(folder: Path, name: str) -> Space:
    with np.load(folder / f"{name}_latency.npz", allow_pickle=False) as file:
        devices = [str(device) for device in file["devices"]]
        latency = file["latency"].astype(np.float64)
        if name == CHAINS:
            names = [str(op) for op in file["op_names"]]
            encoding = encode_layers(file["ops"], file["layers"], file["macs_lut"], op_names=names)
        else:
            encoding = encode_cells(file["ops"], file["edges"])
    desktop = folder / "latbench_desktop_cpu.npz"
    if name == CELLS and desktop.exists():
        with np.load(desktop, allow_pickle=False) as file:
            devices.append(str(file["devices"][0]))
            latency = np.column_stack([latency, file["latency"].astype(np.float64)])
    return Space(encoding, tuple(devices), latency)


class Sources:
    """Trains each source once: several tasks share them, and with a folder several runs.

    Args:
        keep: where trained sources stay; they are taken from there only while the code that trained them is the same.
    """

    def __init__(self, keep: Path | None = None) -> None:
        self._trained: dict[tuple[str, str, str], Source] = {}
        self._keep = None if keep is None else keep / f"sources-{fingerprint()}"

    def fleet(self, task: Task, space: Space) -> Fleet:
        names = [name for name in task.sources if name in space.devices]
        return Fleet(space.encoding, tuple(self._source(task, space, name) for name in names))

    def _source(self, task: Task, space: Space, name: str) -> Source:
        key = (task.protocol, task.space, name)
        if key not in self._trained:
            count = SOURCE_SAMPLES[task.protocol, task.space]
            known = np.flatnonzero(np.isfinite(space.of(name)))
            generator = np.random.default_rng([7, space.devices.index(name)])
            rows = known[known < count] if task.protocol == "help" else generator.choice(known, count, replace=False)
            self._trained[key] = self._kept("-".join(key), name, space, rows)
        return self._trained[key]

    def _kept(self, label: str, name: str, space: Space, rows: Ints) -> Source:
        file = None if self._keep is None else self._keep / f"{label}.npz"
        if file is not None and file.exists():
            with np.load(file, allow_pickle=False) as kept:
                return Source(name, kept["rows"], kept["latency_ms"], kept["surface_ms"])
        say(f"training {name} of {space.encoding.size} architectures")
        source = train_source(name, space.encoding, rows, space.of(name)[rows])
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            draft = file.with_name(f"{file.stem}.{os.getpid()}.npz")
            np.savez(draft, rows=source.rows, latency_ms=source.latency_ms, surface_ms=source.surface_ms)
            draft.replace(file)
        return source


def trimmed(rows: Ints, latency_ms: Floats) -> Ints:
    """HELP's remove_outlier: the rows between the tenth and the ninetieth per cent of their latencies."""
    ordered = rows[np.argsort(latency_ms[rows], kind="stable")]
    return ordered[int(len(rows) * TRIM[0]) : int(len(rows) * TRIM[1])]


def pools(task: Task, space: Space, target: str) -> tuple[Ints, Ints, Ints]:
    """Rows that random samples come from, rows that a plan may choose, rows to be judged on."""
    rows = np.arange(space.encoding.size)
    sane = ~space.encoding.degenerate
    if task.protocol == "nasflat":
        return rows[sane], rows[sane], rows
    count = SOURCE_SAMPLES[task.protocol, task.space]
    first = trimmed(rows[:count], space.of(target))
    return first[sane[first]], rows[:count][sane[:count]], trimmed(rows[count : count + HELP_TEST], space.of(target))


def run_task(task: Task, space: Space, beliefs: Beliefs, seeds: int, only: Sequence[str] = ()) -> Iterable[Row]:
    for target in task.targets:
        if target not in space.devices:
            continue
        drawn, planned, judged = pools(task, space, target)
        for way in only or WAYS[task.protocol]:
            if way == "d-optimal" and not beliefs.fleet.sources:
                continue
            for samples in BUDGETS[task.protocol]:
                results = []
                for seed in range(1 if way == "d-optimal" else seeds):
                    if way == "random":
                        rows = np.random.default_rng(seed).choice(drawn, samples, replace=False)
                    else:
                        rows = beliefs.plan(samples, pool=planned, strategy=way, seed=seed).rows
                    results.append(judge(beliefs, space, space.of(target), rows, judged))
                yield summary(task, target, way, samples, results)


def judge(beliefs: Beliefs, space: Space, latency_ms: Floats, rows: Ints, judged: Ints) -> dict[str, float]:
    start = time.perf_counter()
    model = beliefs.fit(rows, latency_ms[rows])
    guess = model.predict_ms()
    fit_s = time.perf_counter() - start
    rest = np.setdiff1d(judged, rows)
    sane = rest[~space.encoding.degenerate[rest]]
    error = np.abs(guess[sane] / latency_ms[sane] - 1.0)
    low, high = model.predict_interval_ms(0.1)[sane].T
    return {
        "rho": float(spearmanr(guess[rest], latency_ms[rest]).statistic),
        "mape_percent": float(error.mean() * 100),
        "within_5": float((error <= 0.05).mean()),
        "within_10": float((error <= 0.10).mean()),
        "stack_rho": stack_rho(model, latency_ms, rest),
        "covered": float(((low <= latency_ms[sane]) & (latency_ms[sane] <= high)).mean()),
        "with_fleet": model.expert_weights()["with fleet"],
        "without_fleet": model.expert_weights()["without fleet"],
        "stack": model.expert_weights()["stack"],
        "fit_s": fit_s,
    }


def stack_rho(model: FewShotModel, latency_ms: Floats, rest: Ints) -> float:
    surfaces = model.fleet.relative()
    if not surfaces.shape[1]:
        return float("nan")
    guess = fit_stack(surfaces, model.rows, model.latency_ms).predict_ms(surfaces)[rest]
    return float(spearmanr(guess, latency_ms[rest]).statistic) if np.ptp(guess) else 0.0


def summary(task: Task, target: str, way: str, samples: int, results: Sequence[dict[str, float]]) -> Row:
    mean = {name: float(np.mean([result[name] for result in results])) for name in results[0]}
    spread = float(np.std([result["rho"] for result in results]))
    stack = mean.pop("stack_rho")
    return Row(task.name, target, way, samples, rho_spread=spread, stack_rho=None if np.isnan(stack) else stack, **mean)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def print_task(task: Task, space: Space, rows: Sequence[Row]) -> None:
    """Every target of a task, our means beside the published figures, and what is missing."""
    gone = [name for name in dict.fromkeys((*task.sources, *task.targets)) if name not in space.devices]
    there = [sum(name in space.devices for name in names) for names in (task.sources, task.targets)]
    print(
        f"\n{task.name} ({task.space}, {task.protocol} protocol): {there[0]} of {len(task.sources)} sources,", end=" "
    )
    print(f"{there[1]} of {len(task.targets)} targets" + (f"; not in the data: {', '.join(gone)}" if gone else ""))
    for row in rows:
        published = "  ".join(f"{k} {v[row.target]:.3f}" for k, v in task.published.items() if row.target in v)
        print("  " + _line(row.target, row) + f"  {published}")
    for way, samples in dict.fromkeys((row.way, row.samples) for row in rows):
        same = [row for row in rows if (row.way, row.samples) == (way, samples)]
        print("  " + _mean_line(task, same, there[1] == len(task.targets)))


def _line(title: str, row: Row) -> str:
    stack = "   – " if row.stack_rho is None else f"{row.stack_rho:.3f}"
    return (
        f"{title:15} {row.way:10} {row.samples:3}  ρ {row.rho:.3f} ± {row.rho_spread:.3f}  "
        f"MAPE {row.mape_percent:5.1f} %  "
        f"±5 % {row.within_5:4.0%}  ±10 % {row.within_10:4.0%}  90 % held {row.covered:4.0%}  stack ρ {stack}  "
        f"fleet/none/stack {row.with_fleet:.2f}/{row.without_fleet:.2f}/{row.stack:.2f}  fit {row.fit_s:.2f} s"
    )


def _mean_line(task: Task, rows: Sequence[Row], complete: bool) -> str:
    names = [row.target for row in rows]
    published = {
        method: figures["mean"] if "mean" in figures else float(np.mean([figures[name] for name in names]))
        for method, figures in task.published.items()
    }
    note = "" if complete or task.protocol == "help" else " (over all of its targets)"
    told = "  ".join(f"{method} {figure:.3f}{note}" for method, figure in published.items())
    rho, mape = np.mean([row.rho for row in rows]), np.mean([row.mape_percent for row in rows])
    return f"{'mean':15} {rows[0].way:10} {rows[0].samples:3}  ρ {rho:.3f}  MAPE {mape:.1f} %  beside {told}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of nasbench201_latency.npz and fbnet_latency.npz"
    )
    parser.add_argument("--seeds", type=int, default=5, help="draws of the ways with chance in them [default: 5]")
    parser.add_argument("--task", action="append", help="only this task; may be repeated")
    parser.add_argument("--keep", type=Path, help="folder in which trained sources stay for the next run")
    parser.add_argument("--json", action="store_true", help="one object instead of tables")
    arguments = parser.parse_args()
    spaces: dict[str, Space] = {}
    sources, found = Sources(arguments.keep), []
    for task in TASKS:
        if arguments.task and task.name not in arguments.task:
            continue
        space = spaces.setdefault(task.space, load_space(arguments.data, task.space))
        start = time.perf_counter()
        # Nothing to judge: the task is listed with what is missing, and no source is trained for it.
        judgeable = any(target in space.devices for target in task.targets)
        fleet = sources.fleet(task, space) if judgeable else Fleet(space.encoding, ())
        trained = time.perf_counter()
        beliefs = prepare(fleet)
        prior_s = time.perf_counter() - trained
        rows = list(run_task(task, space, beliefs, arguments.seeds))
        gone = [name for name in (*task.sources, *task.targets) if name not in space.devices]
        found.append({**asdict(task), "missing": gone, "prior_s": prior_s, "rows": [asdict(row) for row in rows]})
        if not arguments.json:
            print_task(task, space, rows)
            print(
                f"  sources {trained - start:.1f} s, prior of the lattice {prior_s:.1f} s, once per fleet", flush=True
            )
    if arguments.json:
        print(json.dumps({"schema_version": 1, "seeds": arguments.seeds, "tasks": found}, indent=1))


if __name__ == "__main__":
    main()
