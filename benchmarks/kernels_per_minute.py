"""Kernels per minute at a 2 % interval: edgecost beside a naive loop, alternating in one run, and how true both are.

The naive loop is the usual one: per kernel a new session, 10 warm-up runs, 50 timed runs, their mean (and median).

Run it:  python benchmarks/kernels_per_minute.py --repeats 2
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from background_load import bursts
from measuring import Sweep, by_size, difference, head, print_agreement, print_head, print_json, setting_for, sweep
from workloads import as_cut, kernel_set

from edgecost.costmodels.local_setting import LocalSetting
from edgecost.profiler.bench import Bench
from edgecost.profiler.cpu_lock import hold_cpus
from edgecost.profiler.protocol import KERNELS, PRESETS, Settings, preset
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.weights import complete
from edgecost.profiler.workload import Workload

if TYPE_CHECKING:
    import onnxruntime

#: As nn-Meter has them (Zhang et al., MobiSys 2021; its configuration file).
WARMUPS, RUNS = 10, 50
ESTIMATORS = ("edgecost", "naive mean", "naive median")


@dataclass(frozen=True)
class NaiveLoop:
    """Mean and median in ms by graph hash, and the seconds from importing the runtime to the last run."""

    mean_ms: dict[str, float]
    median_ms: dict[str, float]
    wall_s: float


def naive_loop(workloads: Sequence[Workload], cpus: Sequence[int], graph_level: str) -> NaiveLoop:
    """The naive loop, in this process and on the CPUs given; what this script imports is not counted."""
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)
    mean_ms, median_ms = {}, {}
    begin = time.perf_counter()
    import onnxruntime

    for workload in workloads:
        times = _timed(onnxruntime, complete(workload.skeleton, workload.weights), graph_level)
        mean_ms[workload.graph_hash] = statistics.fmean(times)
        median_ms[workload.graph_hash] = statistics.median(times)
    return NaiveLoop(mean_ms, median_ms, time.perf_counter() - begin)


def _timed(runtime: onnxruntime, model: bytes, graph_level: str) -> list[float]:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, graph_level)
    options.log_severity_level = 4
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    kept = []
    for slot in session.get_inputs():
        values = np.random.default_rng(0).standard_normal(slot.shape)
        kept.append(runtime.OrtValue.ortvalue_from_numpy(values.astype(_numpy_type(slot.type))))
        binding.bind_ortvalue_input(slot.name, kept[-1])
    for slot in session.get_outputs():
        binding.bind_output(slot.name, "cpu")
    # Outputs bound to a device are allocated in every run; the memory of the first one serves all others.
    session.run_with_iobinding(binding)
    for slot, value in zip(session.get_outputs(), binding.get_outputs(), strict=True):
        binding.bind_ortvalue_output(slot.name, value)
    times = []
    for _ in range(WARMUPS + RUNS):
        begin = time.perf_counter()
        session.run_with_iobinding(binding)
        times.append((time.perf_counter() - begin) * 1e3)
    return times[WARMUPS:]


def _numpy_type(name: str) -> str:
    inner = name.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(inner, inner)


def in_own_process(workloads: Sequence[Workload], setting: LocalSetting) -> NaiveLoop:
    """The naive loop in a fresh process, while no other edgecost measures on its CPUs."""
    cpus, level = setting.stage.cpus, setting.profile.graph_level
    with hold_cpus(cpus), ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(naive_loop, workloads, cpus, level).result()


def in_new_runner(workloads: Sequence[Workload], setting: LocalSetting, settings: Settings, *, seed: int) -> Sweep:
    """edgecost's sweep with no runner started ahead, so that its time too begins with importing the runtime."""
    with Bench.for_profile(setting.profile) as bench:
        return sweep(workloads, setting.stage, settings, bench, seed=seed)


def compare(
    workloads: Sequence[Workload], setting: LocalSetting, settings: Settings, careful: Settings, repeats: int, load: int
) -> dict[str, object]:
    """Reference, then edgecost and the naive loop in turns, then the reference again; as a document."""
    ours: list[Sweep] = []
    theirs: list[NaiveLoop] = []
    references = [in_new_runner(workloads, setting, careful, seed=-1)]
    with bursts(load):
        for turn in range(repeats):
            ours.append(in_new_runner(workloads, setting, settings, seed=turn))
            theirs.append(in_own_process(workloads, setting))
    references.append(in_new_runner(workloads, setting, careful, seed=-2))
    truth = {key: value for key in ours[0].measurements if (value := _reference(references, key)) is not None}
    found = {
        "edgecost": [{key: one.latency_ms(key) for key in truth} for one in ours],
        "naive mean": [one.mean_ms for one in theirs],
        "naive median": [one.median_ms for one in theirs],
    }
    pace = {
        "edgecost": [60 * len(workloads) / one.wall_s for one in ours],
        "naive": [60 * len(workloads) / one.wall_s for one in theirs],
    }
    ratios = [mine / other for mine, other in zip(pace["edgecost"], pace["naive"], strict=True)]
    return {
        "kernels": len(workloads),
        "without_reference": len(workloads) - len(truth),
        "kernels_per_minute": pace,
        "ratio": statistics.median(ratios),
        "settled": [one.settled for one in ours],
        "attempts": [one.attempts for one in ours],
        "repeatability_of_reference": _errors(truth, [_values(references[0], truth)], _values(references[1], truth)),
        "error": {name: _errors(truth, turns, truth) for name, turns in found.items()},
        "repeatability": {
            name: _errors(truth, turns[:-1], turns[1:]) for name, turns in found.items() if len(turns) > 1
        },
    }


def _reference(references: Sequence[Sweep], key: str) -> float | None:
    values = [one.latency_ms(key) for one in references]
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _values(one: Sweep, keys: Mapping[str, float]) -> dict[str, float | None]:
    return {key: one.latency_ms(key) for key in keys}


Values = Mapping[str, float | None] | Mapping[str, float]


def _errors(
    truth: Mapping[str, float], turns: Sequence[Values], others: Values | Sequence[Values]
) -> dict[str, dict[str, object]]:
    """Differences of each turn from the other side, a mapping for all turns or one for each, by size of kernel."""
    sides = others if isinstance(others, Sequence) else [others] * len(turns)
    sizes, differences = [], []
    for turn, side in zip(turns, sides, strict=True):
        for key, reference_ms in truth.items():
            sizes.append(reference_ms * 1e3)
            differences.append(difference(turn.get(key), side.get(key)))
    return by_size(sizes, differences)


def sentence(result: Mapping[str, object]) -> str:
    """What the result means."""
    ours, mean, median = (_of_all(result, name) for name in ESTIMATORS)
    return (
        f"edgecost measures {result['ratio']:.2f} times as many kernels per minute as the naive loop, {ours:.1%} of"
        f" them within 5 % of the careful reference; of the naive loop's means {mean:.1%} are, of its medians"
        f" {median:.1%}."
    )


def _of_all(result: Mapping[str, object], name: str) -> float:
    errors = result["error"]
    share = errors[name]["all"]["within_5"] if isinstance(errors, dict) else None
    return math.nan if share is None else share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2, help="turns of both, alternating [default: 2]")
    parser.add_argument("--kernels", type=int, help="measure this many kernels, evenly spread [default: all]")
    parser.add_argument("--load", type=int, default=0, help="load generators beside the turns [default: 0]")
    parser.add_argument("--target", type=float, default=0.02, help="half the interval wanted [default: 0.02]")
    parser.add_argument("--visits-min", type=int, help="fewest visits before edgecost stops [default: its own]")
    parser.add_argument("--preset", choices=PRESETS, help="edgecost's settings [default: those for kernels]")
    parser.add_argument("--reference", choices=PRESETS, default="careful", help="the reference's [default: careful]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    setting = setting_for(as_cut(host_profile()))
    settings = preset(arguments.preset) if arguments.preset else KERNELS
    settings = replace(settings, target=arguments.target)
    settings = replace(settings, visits_min=arguments.visits_min or settings.visits_min)
    about = head(setting, load_generators=arguments.load, interval=settings.target, visits_min=settings.visits_min)
    workloads = kernel_set(host_profile(), arguments.kernels)
    result = compare(workloads, setting, settings, PRESETS[arguments.reference], arguments.repeats, arguments.load)
    meaning = sentence(result)
    if arguments.json:
        print_json({**about, **result, "meaning": meaning})
        return
    print_head(about)
    for name, values in result["kernels_per_minute"].items():
        print(f"{name:20s} {statistics.median(values):8.0f} kernels per minute")
    print(f"{'ratio':20s} {result['ratio']:8.2f}")
    print(f"{'settled':20s} {result['settled']} of {result['kernels']}\n")
    for name, table in result["error"].items():
        print_agreement(f"error: {name}", table)
    for name, table in result["repeatability"].items():
        print_agreement(f"turn against turn: {name}", table)
    print_agreement("reference before, after", result["repeatability_of_reference"])
    print(meaning)


if __name__ == "__main__":
    main()
