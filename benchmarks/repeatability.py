"""Repeatability: the same kernels measured in several processes, in a row or over hours, by size of kernel.

Run it:  python benchmarks/repeatability.py --processes 5
Over hours:  python benchmarks/repeatability.py --hours 3 --pause-min 20 --keep sweeps.jsonl   (again, to go on)
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path

from background_load import bursts
from measuring import Sweep, by_size, head, print_agreement, print_head, print_json, setting_for, sweep
from workloads import as_cut, kernel_set

from edgecost.costmodels.local_setting import LocalSetting
from edgecost.profiler.bench import Bench
from edgecost.profiler.protocol import PRESETS, Settings, preset
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.workload import Workload


@dataclass(frozen=True)
class Numbers:
    """What is kept of a sweep: milliseconds by graph hash, and when it began, in seconds since 1970."""

    began_s: float
    raw_ms: Mapping[str, float | None]
    net_ms: Mapping[str, float | None]
    wall_s: float
    settled: int
    attempts: int

    @classmethod
    def of(cls, one: Sweep, workloads: Sequence[Workload], began_s: float) -> Numbers:
        raw, net = (
            {workload.graph_hash: one.latency_ms(workload.graph_hash, net=net) for workload in workloads}
            for net in (False, True)
        )
        return cls(began_s, raw, net, one.wall_s, one.settled, one.attempts)

    def latency_ms(self, graph_hash: str, *, net: bool = False) -> float | None:
        return (self.net_ms if net else self.raw_ms).get(graph_hash)


def measure_often(
    workloads: Sequence[Workload],
    setting: LocalSetting,
    settings: Settings,
    *,
    processes: int,
    hours: float,
    pause_s: float,
    keep: Path | None,
) -> list[Numbers]:
    """Those in the file, then new ones until there are ``processes``, or for ``hours``; each kept when it is made."""
    made = [Numbers(**json.loads(line)) for line in keep.read_text().splitlines()] if keep and keep.exists() else []
    begin, new = time.monotonic(), 0
    with Bench.for_profile(setting.profile) as bench:
        while len(made) < processes or (time.monotonic() - begin) / 3600 < hours:
            if new:
                time.sleep(pause_s)
            began_s = time.time()
            found = sweep(workloads, setting.stage, settings, bench, seed=len(made))
            made.append(Numbers.of(found, workloads, began_s))
            new += 1
            if keep:
                with keep.open("a") as file:
                    file.write(json.dumps(asdict(made[-1])) + "\n")
    return made


def compare(sweeps: Sequence[Numbers], workloads: Sequence[Workload], *, net: bool) -> dict[str, dict[str, object]]:
    """Differences of all pairs of processes, by the median size of the kernel.

    All kernels count, also those that did not reach their interval. A kernel without a latency in one of the two is
    outside every share; one without any latency at all is counted with the smallest.
    """
    sizes, differences = [], []
    for workload in workloads:
        values = [one.latency_ms(workload.graph_hash, net=net) for one in sweeps]
        known = [value for value in values if value is not None]
        size_us = statistics.median(known) * 1e3 if known else 0.0
        for first, second in combinations(values, 2):
            sizes.append(size_us)
            is_known = first is not None and second is not None
            differences.append(2 * abs(first - second) / (first + second) if is_known else None)
    return by_size(sizes, differences)


def levels(sweeps: Sequence[Numbers], workloads: Sequence[Workload]) -> list[float | None]:
    """Each process against the median of all, as the median ratio over the kernels: drift that all kernels share."""
    ratios: list[list[float]] = [[] for _ in sweeps]
    for workload in workloads:
        values = [one.latency_ms(workload.graph_hash) for one in sweeps]
        known = [value for value in values if value is not None]
        for place, value in enumerate(values):
            if value is not None:
                ratios[place].append(value / statistics.median(known))
    return [statistics.median(found) if found else None for found in ratios]


def document(sweeps: Sequence[Numbers], workloads: Sequence[Workload]) -> dict[str, object]:
    return {
        "kernels": len(workloads),
        "processes": len(sweeps),
        "at_hour": [(one.began_s - sweeps[0].began_s) / 3600 for one in sweeps],
        "kernels_per_minute": [60 * len(workloads) / one.wall_s for one in sweeps],
        "settled": [one.settled for one in sweeps],
        "attempts": [one.attempts for one in sweeps],
        "level": levels(sweeps, workloads),
        "raw": compare(sweeps, workloads, net=False),
        "net": compare(sweeps, workloads, net=True),
    }


def sentence(result: Mapping[str, object]) -> str:
    """What the result means."""
    table = result["raw"]
    row = table["all"] if isinstance(table, dict) else {}
    if row.get("median_percent") is None:
        return "No kernel has a latency in two processes."
    return (
        f"Two measurements of one kernel in different processes differ by {row['median_percent']:.2f} % in the middle"
        f" case, and {row['within_10']:.1%} of them by no more than 10 %; no prediction can be expected to do better."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=5, help="sweeps at least, 2 or more [default: 5]")
    parser.add_argument("--hours", type=float, default=0.0, help="go on for so long [default: 0]")
    parser.add_argument("--pause-min", type=float, default=0.0, help="minutes between two sweeps [default: 0]")
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="keep sweeps in this file, and go on from those there"
    )
    parser.add_argument("--kernels", type=int, help="measure this many kernels, evenly spread [default: all]")
    parser.add_argument("--load", type=int, default=0, help="load generators beside the measurements [default: 0]")
    parser.add_argument("--target", type=float, help="half the interval wanted [default: the preset's]")
    parser.add_argument("--visits-min", type=int, help="fewest visits before edgecost stops [default: the preset's]")
    parser.add_argument("--preset", choices=PRESETS, default="standard", help="settings [default: standard]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if arguments.processes < 2:
        parser.error("--processes: a difference needs two")
    setting = setting_for(as_cut(host_profile()))
    settings = preset(arguments.preset, target=arguments.target)
    settings = replace(settings, visits_min=arguments.visits_min or settings.visits_min)
    about = head(setting, load_generators=arguments.load, interval=settings.target, visits_min=settings.visits_min)
    workloads = kernel_set(host_profile(), arguments.kernels)
    pause_s = 60 * arguments.pause_min
    with bursts(arguments.load):
        made = measure_often(
            workloads, setting, settings, processes=arguments.processes, hours=arguments.hours, pause_s=pause_s,
            keep=arguments.keep,
        )  # fmt: skip
    result = document(made, workloads)
    meaning = sentence(result)
    if arguments.json:
        print_json({**about, **result, "meaning": meaning})
        return
    print_head(about)
    print(f"{'hour':>6s} {'level':>8s} {'settled':>8s} {'kernels/min':>12s}")
    columns = ("at_hour", "level", "settled", "kernels_per_minute")
    for hour, level, settled, pace in zip(*(result[name] for name in columns), strict=True):
        print(f"{hour:6.2f} {'–' if level is None else format(level, '.4f'):>8s} {settled:8d} {pace:12.0f}")
    print()
    print_agreement("pairs of processes, raw", result["raw"])
    print_agreement("pairs, less overhead of the call", result["net"])
    print(meaning)


if __name__ == "__main__":
    main()
