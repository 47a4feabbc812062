"""What the benchmarks share: a sweep over workloads in fresh processes, agreement by size, and what stands above it."""

from __future__ import annotations

import json
import random
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

import edgecost
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.profiler.bench import Bench
from edgecost.profiler.measure import measure_group
from edgecost.profiler.protocol import Settings
from edgecost.profiler.records import Measurement, RuntimeProfile, Status, Visit
from edgecost.profiler.tasks import Stage, Task
from edgecost.profiler.workload import Workload

#: Attempts at one workload, as a campaign makes them; the last one keeps what little it has.
ATTEMPTS = 3
#: Upper ends of the bands of size, in microseconds.
BANDS_US = (3.0, 10.0, 30.0, 100.0, 1000.0)

Row = Mapping[str, object]


class Silent:
    """A narrator that says nothing."""

    def stage(self, title: str, total: int | None = None) -> None:
        """Nothing."""

    def step(self, note: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


@dataclass
class Sweep:
    """Every workload measured once: the last attempt by graph hash, and the seconds that all attempts took."""

    measurements: dict[str, Measurement] = field(default_factory=dict)
    wall_s: float = 0.0
    attempts: int = 0

    def visited(self, visits: Sequence[tuple[Task, Visit]]) -> None:
        """Visits come again with their measurement."""

    def finished(self, task: Task, measurement: Measurement) -> None:
        """Keep an attempt; a later one takes its place."""
        self.attempts += 1
        self.measurements[task.workload.graph_hash] = measurement

    def latency_ms(self, graph_hash: str, *, net: bool = False) -> float | None:
        """Median in ms, less the overhead of a call if ``net``; None where there is none."""
        measurement = self.measurements[graph_hash]
        if net:
            return measurement.net_ms
        return None if measurement.latency is None else measurement.latency.median_ms

    @property
    def settled(self) -> int:
        """How many reached the interval that was asked for."""
        return sum(measurement.status is Status.OK for measurement in self.measurements.values())


def sweep(
    workloads: Sequence[Workload], stage: Stage, settings: Settings, bench: Bench, *, seed: int = 0
) -> Sweep:  # fmt: skip
    """Measure every workload once, as a campaign does: in groups, each in a fresh process; rejected ones again."""
    found = Sweep()
    waiting = list(workloads)
    random.Random(seed).shuffle(waiting)
    for attempt in range(1, ATTEMPTS + 1):
        for first in range(0, len(waiting), settings.group_size):
            group = waiting[first : first + settings.group_size]
            tasks = [Task(workload, "kernel", is_last_attempt=attempt == ATTEMPTS) for workload in group]
            found.wall_s += measure_group(tasks, stage, settings, found, bench).total_s
        waiting = [one for one in waiting if found.measurements[one.graph_hash].status is Status.REJECTED]
    return found


def setting_for(profile: RuntimeProfile | None = None) -> LocalSetting:
    """This machine under a profile; the environment is read once, so that nothing is rejected for it half-way."""
    setting = LocalSetting.here(profile)
    return replace(setting, stage=replace(setting.stage, read_environment=None))


def head(setting: LocalSetting, **more: object) -> dict[str, object]:
    """Machine and versions."""
    facts = setting.facts
    return {
        "machine": setting.device.description,
        "hypervisor": facts.hypervisor,
        "kernel": facts.kernel,
        "load_1min_at_start": facts.load_1min,
        "runtime": setting.profile.label,
        "edgecost": edgecost.__version__,
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        **more,
    }


def print_head(document: Mapping[str, object]) -> None:
    print("\n".join(f"{name:20s} {value}" for name, value in document.items()), end="\n\n")


def print_json(document: Mapping[str, object]) -> None:
    print(json.dumps(document, indent=1, ensure_ascii=False))


def difference(value: float | None, other: float | None) -> float | None:
    """|value / other − 1|; None where one is not known."""
    return None if value is None or not other else abs(value / other - 1)


def agreement(differences: Sequence[float | None]) -> dict[str, object]:
    """Median and 90th percentile in per cent, and shares; a missing difference is outside every share."""
    known = [value for value in differences if value is not None]
    count = len(differences)
    return {
        "n": count,
        "missing": count - len(known),
        "median_percent": statistics.median(known) * 100 if known else None,
        "p90_percent": float(np.quantile(known, 0.9)) * 100 if known else None,
        "within_5": sum(value <= 0.05 for value in known) / count if count else None,
        "within_10": sum(value <= 0.10 for value in known) / count if count else None,
    }


def by_size(sizes_us: Sequence[float], differences: Sequence[float | None]) -> dict[str, dict[str, object]]:
    """Agreement of all, then of each band of size that has anything in it."""
    pairs = list(zip(sizes_us, differences, strict=True))
    bounds = [0.0, *BANDS_US, float("inf")]
    found = {"all": agreement(differences)}
    for low, high in pairwise(bounds):
        inside = [value for size, value in pairs if low <= size < high]
        if inside:
            found[_band(low, high)] = agreement(inside)
    return found


def _band(low: float, high: float) -> str:
    if not low:
        return f"below {high:g} µs"
    return f"from {low:g} µs" if high == float("inf") else f"{low:g} to {high:g} µs"


def print_agreement(title: str, table: Mapping[str, Mapping[str, object]]) -> None:
    print(f"{title:34s} {'n':>5s} {'none':>5s} {'median':>8s} {'p90':>8s} {'≤ 5 %':>8s} {'≤ 10 %':>8s}")
    for band, row in table.items():
        shares = [_percent(row["median_percent"], 1), _percent(row["p90_percent"], 1)]
        shares += [_percent(row["within_5"], 100), _percent(row["within_10"], 100)]
        print(f"  {band:32s} {row['n']:5d} {row['missing']:5d} " + " ".join(f"{share:>8s}" for share in shares))
    print()


def _percent(value: object, scale: int) -> str:
    return f"{value * scale:.2f} %" if isinstance(value, float) else "–"
