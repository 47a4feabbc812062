"""In which order to measure the cells of a space: adaptively, at random, by size; judged by the table that results.

Every cell is measured once; then each order is replayed on these measurements: the first n cells of it count as
measured, the others are predicted by a predictor that was trained on them, and the prices of architectures (none of
which the adaptive order looked at) are held against those of the table that was measured whole.

Run it:  python benchmarks/adaptive_order.py --keep cells.sqlite
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measuring import Silent, head, print_head, print_json

from edgecost import Store
from edgecost.costmodels.active.adaptive import BATCH, FIRST, GROWTH
from edgecost.costmodels.active.lut_survey import LutSurvey
from edgecost.costmodels.dataset import Sample, load_samples
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.planned_campaign import measure_planned
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.space_file import load_space
from edgecost.costmodels.space_plan import plan_space
from edgecost.profiler.protocol import PRESETS

#: Sample of architectures that judges; the surveys draw theirs with the seeds from 0 on.
JUDGE_SEED = 10_000
#: Errors of the table that an order is to reach, and stay at.
TARGETS = (0.05, 0.02)
ORDERS = (
    "adaptive",
    "one of each kind, then random",
    "one of each kind, then largest share",
    "random",
    "largest first",
)
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True)
class Space:
    """A space that was measured whole: a sample per distinct cell, in the order of the survey."""

    name: str
    judge: LutSurvey
    samples: tuple[Sample, ...]
    graphs: Mapping[str, Sequence[object]]

    @property
    def latency_ms(self) -> Floats:
        return np.array([sample.latency_ms for sample in self.samples])

    def error(self, latency_ms: Floats) -> float | None:
        """What 90 % of the architectures stay within; None where a cell has no price, for then there is no table."""
        if np.isnan(latency_ms).any():
            return None
        uses = self.judge.uses
        return float(np.quantile(np.abs(uses @ latency_ms / (uses @ self.latency_ms) - 1), 0.9))

    def table(self, measured: Sequence[int], seed: int) -> Floats:
        """The first cells of an order measured, the others predicted; NaN where neither is possible."""
        model = LatencyPredictor(folds=2, random_state=seed).fit(
            [self.judge.graphs[place] for place in measured], self.latency_ms[list(measured)]
        )
        prices = model.price(self.judge.graphs)
        found = np.array([np.nan if price.is_lower_bound else price.total_ms for price in prices])
        found[list(measured)] = self.latency_ms[list(measured)]
        return found


def measured_whole(store: Store, setting: LocalSetting, name: str, preset: str) -> Space:
    """Measure what is missing of a space's cells."""
    space = load_space(name)
    judge = LutSurvey(space, setting.profile, seed=JUDGE_SEED)
    wanted = [one for one in plan_space(space, panel_share=0.0) if one.purpose == "cell"]
    settings = PRESETS[preset]
    measure_planned(store, setting, f"order-{name}", name, wanted, Silent(), "cells", settings=settings)
    found = {one.workload.graph_hash: one for one in load_samples(store, setting.device.identity, setting.profile)}
    lacking = [key for key, one in zip(judge.keys, judge.hashes, strict=True) if one not in found]
    if lacking:
        raise SystemExit(f"{name}: no latency of {', '.join(lacking)}; run it again on a quieter machine")
    graphs = dict(zip(judge.hashes, judge.graphs, strict=True))
    return Space(name, judge, tuple(found[one] for one in judge.hashes), graphs)


def sizes(cells: int, most: int) -> list[int]:
    """Numbers of measured cells at which orders are judged: the ends of the adaptive batches."""
    found = [FIRST]
    while found[-1] < min(cells, most):
        found.append(found[-1] + max(BATCH, found[-1] // GROWTH))
    return [one for one in found if one < cells]


def adaptive(space: Space, setting: LocalSetting, seed: int, steps: Sequence[int]) -> list[dict[str, float | None]]:
    """Error and estimate after each batch."""
    survey = LutSurvey(load_space(space.name), setting.profile, graphs=space.graphs, seed=seed)
    measured: list[int] = []
    rows: list[dict[str, float | None]] = []
    for step in [*steps, None]:
        knowledge = survey.know([space.samples[place] for place in measured])
        if measured:
            estimate = None if knowledge.estimate is None else knowledge.estimate.error
            rows.append({"error": space.error(knowledge.latency_ms), "estimate": estimate})
        if step is not None:
            measured += [one.place for one in survey.choose(knowledge, step - len(measured))]
    return rows


def fixed_order(space: Space, name: str, seed: int) -> list[int]:
    """An order that does not look at what was measured."""
    places = np.random.default_rng(seed).permutation(len(space.samples)).tolist()
    share = (space.judge.uses * space.latency_ms).sum(axis=0)
    if name == "largest first":
        return sorted(places, key=lambda place: -space.latency_ms[place])
    nothing = space.judge.know([])
    kinds = [one.place for one in space.judge.choose(nothing, len(places)) if one.gain is None]
    rest = [place for place in places if place not in set(kinds)]
    if name.endswith("largest share"):
        rest.sort(key=lambda place: -share[place])
    return places if name == "random" else [*kinds, *rest]


def replay(
    space: Space, setting: LocalSetting, name: str, seed: int, steps: Sequence[int]
) -> list[dict[str, float | None]]:
    """Error of the table at each step, of one order and seed."""
    if name == "adaptive":
        return adaptive(space, setting, seed, steps)
    order = fixed_order(space, name, seed)
    return [{"error": space.error(space.table(order[:step], seed)), "estimate": None} for step in steps]


def cells_until(errors: Sequence[float | None], steps: Sequence[int], target: float) -> int | None:
    """From which step on the error stays at the target; None if it does not."""
    found = None
    for step, error in reversed(list(zip(steps, errors, strict=True))):
        if error is None or error > target:
            break
        found = step
    return found


def summary(runs: Sequence[Sequence[Mapping[str, float | None]]], steps: Sequence[int]) -> dict[str, object]:
    """Over the seeds: mean and worst error per step, how many have no table, and cells until the targets."""
    table = []
    for place, step in enumerate(steps):
        errors = [run[place]["error"] for run in runs]
        known = [error for error in errors if error is not None]
        estimates = [one for run in runs if (one := run[place]["estimate"]) is not None]
        held = [
            error <= estimate
            for run in runs
            if (error := run[place]["error"]) is not None and (estimate := run[place]["estimate"]) is not None
        ]
        table.append(
            {
                "cells": step,
                "mean": float(np.mean(known)) if known else None,
                "worst": float(max(known)) if known else None,
                "without_table": len(errors) - len(known),
                "estimate": float(np.mean(estimates)) if estimates else None,
                "estimates": len(held),
                "estimates_held": sum(held),
            }
        )
    until = {
        f"{target:.0%}": [cells_until([row["error"] for row in run], steps, target) for run in runs]
        for target in TARGETS
    }
    return {"steps": table, "cells_until": until}


def show(name: str, cells: int, found: Mapping[str, Mapping[str, object]], steps: Sequence[int]) -> None:
    """The table of a space."""
    print(f"\n{name}, {cells} cells: error of 90 % of the prices, mean over the seeds (seeds without a table)")
    print(
        f"{'':38s}"
        + "".join(f"{step:>12d}" for step in steps)
        + "   cells until "
        + ", ".join(map("{:.0%}".format, TARGETS))
    )
    for order, one in found.items():
        cells_shown = "".join(f"{_error(row):>12s}" for row in one["steps"])
        until = ", ".join(_median(values) for values in one["cells_until"].values())
        print(f"{order:38s}{cells_shown}   {until}")
    estimates = "".join(f"{_percent(row['estimate']):>12s}" for row in found["adaptive"]["steps"])
    print(f"{'  its own estimate':38s}{estimates}")


def _error(row: Mapping[str, float | None]) -> str:
    lost = f" ({row['without_table']})" if row["without_table"] else ""
    return f"{_percent(row['mean'])}{lost}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _median(values: Sequence[int | None]) -> str:
    """The middle seed; a seed that never gets there counts as later than all."""
    middle = sorted(values, key=lambda value: np.inf if value is None else value)[len(values) // 2]
    return "–" if middle is None else str(middle)


def draw(path: Path, spaces: Mapping[str, Mapping[str, Mapping[str, object]]]) -> None:
    """Error over cells, one panel per space."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(spaces), 3.4), layout="constrained")
    for place, (name, found) in enumerate(spaces.items()):
        axes = figure.add_subplot(1, len(spaces), place + 1)
        for order, one in found.items():
            rows = [row for row in one["steps"] if row["mean"] is not None]
            axes.plot([row["cells"] for row in rows], [100 * row["mean"] for row in rows], marker="o", label=order)
        axes.set(yscale="log", title=name, xlabel="cells measured", ylabel="error of 90 % of the prices, %")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--spaces", nargs="+", default=["ofa-mobilenetv3", "proxylessnas", "fbnet"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--most", type=int, default=48, help="cells up to which orders are judged")
    parser.add_argument("--keep", type=Path, help="database that the measurements go to, or are already in")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="standard")
    parser.add_argument("--picture", type=Path, help="draw it, as SVG or PNG")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    setting = LocalSetting.here()
    with tempfile.TemporaryDirectory() as scratch, Store(arguments.keep or Path(scratch) / "cells.sqlite") as store:
        spaces = [measured_whole(store, setting, name, arguments.preset) for name in arguments.spaces]
    found: dict[str, dict[str, dict[str, object]]] = {}
    steps_of = {space.name: sizes(len(space.samples), arguments.most) for space in spaces}
    for space in spaces:
        steps = steps_of[space.name]
        found[space.name] = {
            order: summary([replay(space, setting, order, seed, steps) for seed in range(arguments.seeds)], steps)
            for order in ORDERS
        }
    held = [row for one in found.values() for row in one["adaptive"]["steps"]]
    covered, given = sum(row["estimates_held"] for row in held), sum(row["estimates"] for row in held)
    meaning = (
        "error of a table of measured and predicted cells against the table measured whole, by the order of measuring;"
        f" the adaptive order's own estimate was no less than the error in {covered} of {given} states"
    )
    top = head(setting, seeds=arguments.seeds, meaning=meaning)
    if arguments.picture:
        draw(arguments.picture, found)
    if arguments.json:
        print_json({**top, "spaces": found})
        return
    print_head(top)
    for space in spaces:
        show(space.name, len(space.samples), found[space.name], steps_of[space.name])


if __name__ == "__main__":
    main()
