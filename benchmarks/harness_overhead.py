"""What the harness adds to a kernel, in µs, against ways of timing that do without it.

For ONNX Runtime: the kernel alone, less the overhead of a call, against the slope over copies of it in one graph (on
the same data, which keeps the caches as they are, and on data of their own, which does not), and against the runtime's
own profiler. For TVM: runs timed from Python against those timed on the side of the device.

Run it:  python benchmarks/harness_overhead.py
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec

import numpy as np
import onnx
from measuring import Sweep, by_size, difference, head, print_agreement, print_head, print_json, setting_for, sweep
from workloads import as_cut, kernel_set, operator_set, thinned

from edgecost.costmodels.local_setting import LocalSetting
from edgecost.profiler.bench import Bench
from edgecost.profiler.client import RunnerClient
from edgecost.profiler.cpu_lock import hold_cpus
from edgecost.profiler.graphs.repetition import border_ms, border_probes, repeated, repeated_in_place, slope_ms
from edgecost.profiler.loading import LoadRefused
from edgecost.profiler.protocol import GROUP_SIZE, PRESETS, Settings, runner_rules
from edgecost.profiler.runner import TvmRuntime
from edgecost.profiler.runtimes import BUILT_IN, host_profile, resolve
from edgecost.profiler.tasks import Stage
from edgecost.profiler.worker import Answer
from edgecost.profiler.workload import Workload

#: Net time of the kernels that are looked at: shorter ones the issue is not about, longer ones have no overhead to see.
FROM_US, TO_US = 3.0, 1000.0
#: Copies in one graph. Of a long kernel few do, and a graph of many takes long.
COPIES_SHORT, COPIES_LONG, LONG_US = (2, 4, 8), (2, 3, 4), 250.0
#: A kernel, three graphs of its copies of each kind and the two probes of the border share a process.
PER_GROUP = (GROUP_SIZE - 2) // 7
PROFILED_RUNS = 200
#: Rounds over all TVM kernels, and runs of each kind in a round.
TVM_ROUNDS, TVM_RUNS = 40, 10

Row = dict[str, object]


def ort_rows(setting: LocalSetting, settings: Settings, limit: int | None) -> list[Row]:
    """One row per kernel: net time, slope and the profiler's time, in µs."""
    # Some candidates turn out too short or too long.
    candidates = kernel_set(host_profile(), None if limit is None else 4 * limit)
    with Bench.for_profile(setting.profile) as bench:
        first = sweep(candidates, setting.stage, PRESETS["quick"], bench)
        sizes = [(first.latency_ms(one.graph_hash, net=True) or 0.0) * 1e3 for one in candidates]
        chosen = [pair for pair in zip(candidates, sizes, strict=True) if FROM_US <= pair[1] <= TO_US]
        chosen = thinned(sorted(chosen, key=lambda pair: pair[1]), limit)
        rows: list[Row] = []
        for start in range(0, len(chosen), PER_GROUP):
            rows += _group(chosen[start : start + PER_GROUP], setting.stage, settings, bench)
        profiled = _profiled_us([one for one, _ in chosen], setting.stage, bench)
    return [{**row, "profiler_us": time_us} for row, time_us in zip(rows, profiled, strict=True)]


def _group(chosen: Sequence[tuple[Workload, float]], stage: Stage, settings: Settings, bench: Bench) -> list[Row]:
    """Kernels and their copies, interleaved in one process."""
    probes = border_probes()
    in_place = {one.graph_hash: _copies(one, size, repeated_in_place) for one, size in chosen}
    apart = {one.graph_hash: _copies(one, size, repeated) for one, size in chosen}
    graphs = [made for of_one in (*in_place.values(), *apart.values()) for made in of_one.values()]
    found = sweep([*(one for one, _ in chosen), *graphs, *probes.values()], stage, settings, bench)
    side, chain = (found.latency_ms(probes[name].graph_hash) for name in ("side", "chain"))
    border = None if side is None or chain is None else border_ms(side, chain)
    rows: list[Row] = []
    for one, _ in chosen:
        measured, key = found.measurements[one.graph_hash], one.graph_hash
        rows.append(
            {
                "kernel": one.name,
                "net_us": _us(measured.net_ms),
                # Copies in place have the inputs and outputs of one.
                "slope_us": _slope_us(found, in_place[key], 0.0),
                "cold_slope_us": None if border is None else _slope_us(found, apart[key], border * _borders(one)),
                "overhead_us": _us(measured.overhead_ms),
                "border_us": _us(border),
                "all_copies_bytes": max(apart[key]) * _bytes(one),
            }
        )
    return rows


def _copies(one: Workload, size_us: float, repeat: Callable[[Workload, int], Workload]) -> dict[int, Workload]:
    return {count: repeat(one, count) for count in (COPIES_LONG if size_us > LONG_US else COPIES_SHORT)}


def _slope_us(found: Sweep, copies: Mapping[int, Workload], border: float) -> float | None:
    latencies = {count: found.latency_ms(made.graph_hash) for count, made in copies.items()}
    known = {count: value for count, value in latencies.items() if value is not None}
    return _us(slope_ms(known, border_ms=border)) if len(known) == len(latencies) else None


def _us(value_ms: float | None) -> float | None:
    return None if value_ms is None else value_ms * 1e3


def _borders(workload: Workload) -> float:
    """Inputs and outputs of a kernel, in pairs."""
    graph = onnx.ModelProto.FromString(workload.skeleton).graph
    return (len(graph.input) + len(graph.output)) / 2


def _bytes(workload: Workload) -> int:
    """What a kernel reads and writes: weights, inputs and outputs, at 4 bytes a number."""
    graph = onnx.ModelProto.FromString(workload.skeleton).graph
    shapes = [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in (*graph.input, *graph.output)]
    return 4 * sum(int(np.prod(shape)) for shape in [*shapes, *(weight.shape for weight in workload.weights)])


def _profiled_us(workloads: Sequence[Workload], stage: Stage, bench: Bench) -> list[float | None]:
    """The sum of a graph's kernel times under the runtime's profiler, medians of the runs."""
    found: list[float | None] = []
    with hold_cpus(stage.cpus), RunnerClient(bench.supply, stage.profile, runner_rules(), cpus=stage.cpus) as runner:
        for workload in workloads:
            request = {**bench.loader.request(workload.name, workload, 0), "verb": "profile", "runs": PROFILED_RUNS}
            runner.send(request)
            answer = runner.receive(60.0)
            times = [kernel["times_ns"] for kernel in answer.get("kernels", [])]
            found.append(sum(statistics.median(ns) for ns in times) / 1e3 if times else None)
    return found


def cache_bytes() -> int | None:
    """Of the second level, per core; None where the system does not say."""
    names = getattr(os, "sysconf_names", {})
    return (os.sysconf("SC_LEVEL2_CACHE_SIZE") or None) if "SC_LEVEL2_CACHE_SIZE" in names else None


def ort_document(rows: Sequence[Row]) -> dict[str, object]:
    overheads, borders = ([row[name] for row in rows if row[name] is not None] for name in ("overhead_us", "border_us"))
    extra = [row["profiler_us"] - row["net_us"] for row in rows if None not in (row["profiler_us"], row["net_us"])]
    return {
        "overhead_us": _median(overheads),
        "border_us": _median(borders),
        "profiler_adds_us": _median(extra),
        "cache_bytes": cache_bytes(),
        "net_against_slope": _differences(rows, "net_us", "slope_us"),
        "net_against_cold_slope": _differences(rows, "net_us", "cold_slope_us"),
        "profiler_against_slope": _differences(rows, "profiler_us", "slope_us"),
        "rows": list(rows),
    }


def _differences(rows: Sequence[Row], name: str, other: str) -> dict[str, dict[str, object]]:
    return by_size([row["net_us"] or 0.0 for row in rows], [difference(row[name], row[other]) for row in rows])


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def tvm_times(requests: Sequence[Answer], cpus: Sequence[int]) -> list[tuple[float, float]]:
    """Per library the median time of a run in µs: on the side of the device, and from Python, in turns."""
    # Read once, when TVM's library is loaded.
    os.environ.update(TVM_NUM_THREADS="1", TVM_BIND_THREADS="0", TVM_USE_RUNTIME_LIB="1")
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)
    runtime = TvmRuntime({"options": {}})
    sessions = [runtime.session(request) for request in requests]
    for session in sessions:
        session.run_first()
    device: list[list[float]] = [[] for _ in sessions]
    python: list[list[float]] = [[] for _ in sessions]
    for _ in range(TVM_ROUNDS):
        for place, session in enumerate(sessions):
            session.run()
            session.run()
            inside, _ = session.timed(TVM_RUNS, time.perf_counter_ns, time.thread_time_ns)
            device[place].append(statistics.median(inside) / 1e3)
            python[place].append(statistics.median(_from_python(session.run)) / 1e3)
    medians = (list(map(statistics.median, times)) for times in (device, python))
    return list(zip(*medians, strict=True))


def _from_python(run: Callable[[], object]) -> list[int]:
    times = []
    for _ in range(TVM_RUNS):
        begin = time.perf_counter_ns()
        run()
        times.append(time.perf_counter_ns() - begin)
    return times


def tvm_document(limit: int | None) -> dict[str, object]:
    """Compile, time both ways in a process of its own, and compare."""
    setting = setting_for(resolve(BUILT_IN["tvm"]))
    requests, refused = [], {}
    with Bench.for_profile(setting.profile) as bench:
        for workload in operator_set(limit):
            try:
                requests.append(bench.loader.request(workload.name, workload, 0))
            except LoadRefused as refusal:
                refused[workload.name] = refusal.status.value
        context, cpus = multiprocessing.get_context("spawn"), setting.stage.cpus
        with hold_cpus(cpus), ProcessPoolExecutor(1, context) as pool:
            times = pool.submit(tvm_times, requests, cpus).result()
    rows = [
        {"kernel": request["id"], "device_us": inside, "python_us": outside, "added_us": outside - inside}
        for request, (inside, outside) in zip(requests, times, strict=True)
    ]
    # Of long kernels the noise is larger than what Python adds.
    short = [row["added_us"] for row in rows if row["device_us"] < LONG_US]
    return {
        "runtime": setting.profile.label, "python_adds_us": _median(short), "refused": refused, "rows": rows
    }  # fmt: skip


def sentence(ort: Mapping[str, object] | None, tvm: Mapping[str, object] | None) -> str:
    """What the result means."""
    parts = []
    if ort is not None and ort["net_against_slope"]["all"]["median_percent"] is not None:
        all_kernels = ort["net_against_slope"]["all"]
        parts.append(
            f"A call of ONNX Runtime costs {ort['overhead_us']:.2f} µs before any work is done; less that, a kernel is"
            f" within 5 % of its in-graph slope in {all_kernels['within_5']:.1%} of the cases"
            f" (median {all_kernels['median_percent']:.2f} %), while the runtime's own profiler adds"
            f" {ort['profiler_adds_us']:.2f} µs."
        )
    if tvm is not None and tvm["python_adds_us"] is not None:
        parts.append(f"Timing a call of TVM from Python adds {tvm['python_adds_us']:.2f} µs to the device's own time.")
    return " ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    installed = [name for name, module in (("ort", "onnxruntime"), ("tvm", "tvm")) if find_spec(module)]
    parser.add_argument("--runtimes", nargs="+", choices=("ort", "tvm"), default=installed, help="[default: installed]")
    parser.add_argument("--kernels", type=int, help="kernels of each runtime, evenly spread [default: all]")
    parser.add_argument("--preset", choices=PRESETS, default="standard", help="settings [default: standard]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    setting = setting_for(as_cut(host_profile()))
    about = head(setting)
    settings = PRESETS[arguments.preset]
    ort = ort_document(ort_rows(setting, settings, arguments.kernels)) if "ort" in arguments.runtimes else None
    tvm = tvm_document(arguments.kernels) if "tvm" in arguments.runtimes else None
    meaning = sentence(ort, tvm)
    if arguments.json:
        print_json({**about, "ort": ort, "tvm": tvm, "meaning": meaning})
        return
    print_head(about)
    if ort is not None:
        _print_ort(ort)
    if tvm is not None:
        _print_tvm(tvm)
    print(meaning)


def _print_ort(ort: Mapping[str, object]) -> None:
    print(f"{'net µs':>9s} {'slope µs':>9s} {'cold':>9s} {'profiler':>9s} {'all copies':>11s}  kernel")
    for row in ort["rows"]:
        cells = [_cell(row[name]) for name in ("net_us", "slope_us", "cold_slope_us", "profiler_us")]
        print(" ".join(cells), f"{row['all_copies_bytes'] / 1024:7.0f} KiB ", row["kernel"][:90])
    print()
    for title, name in (
        ("net against slope", "net_against_slope"),
        ("net against slope, cold copies", "net_against_cold_slope"),
        ("profiler against slope", "profiler_against_slope"),
    ):
        print_agreement(title, ort[name])


def _print_tvm(tvm: Mapping[str, object]) -> None:
    print(tvm["runtime"])
    print(f"{'device µs':>9s} {'Python µs':>9s} {'added':>9s}  kernel")
    for row in tvm["rows"]:
        print(" ".join(_cell(row[name]) for name in ("device_us", "python_us", "added_us")), "", row["kernel"])
    for name, status in tvm["refused"].items():
        print(f"{status:>29s}  {name}")
    print()


def _cell(value: float | None) -> str:
    return f"{'–' if value is None else format(value, '.2f'):>9s}"


if __name__ == "__main__":
    main()
