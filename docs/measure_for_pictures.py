"""What the pictures of ``docs/explain`` are drawn from, measured anew on this machine: a document for each picture.

``make_explain_pictures.py --measure NAME`` calls it; nothing is drawn here. The energy is played by a virtual
board, the same each time.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecost import __version__
from edgecost.costmodels.cell_macs import cell_macs
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.network_campaign import NETWORK_SESSIONS
from edgecost.costmodels.network_scale import networks_in_store
from edgecost.costmodels.onboarding.arch_space import ArchSpace, open_arch_space
from edgecost.costmodels.onboarding.known import KnownDevice
from edgecost.costmodels.onboarding.sources import Pool, train_sources
from edgecost.costmodels.quickstart import run_quickstart
from edgecost.costmodels.space_file import load_space
from edgecost.costmodels.space_models.experts import prepare
from edgecost.db import Store
from edgecost.devices.virtual.bench import active_mw, asked_cost
from edgecost.devices.virtual.catalogue import open_virtual
from edgecost.devices.virtual.load import VirtualLoad
from edgecost.devices.virtual.machine import Machine
from edgecost.devices.virtual.sensors import SENSORS, VirtualMeter
from edgecost.profiler.bench import Bench
from edgecost.profiler.energy.meter import Recording
from edgecost.profiler.energy.session import measure_load
from edgecost.profiler.energy.windows import EnergySettings, Span
from edgecost.profiler.measure import measure_group
from edgecost.profiler.protocol import CANARY_LIMIT, PROTOCOL, Settings, canary_baseline
from edgecost.profiler.records import Measurement, RuntimeProfile, Visit
from edgecost.profiler.runtimes import BUILT_IN, host_profile, resolve
from edgecost.profiler.statistics import median
from edgecost.profiler.tasks import Gathered, Task
from edgecost.profiler.workload import Workload

Document = dict[str, object]
Floats = npt.NDArray[np.float64]

#: Cells of Once-for-All's space by their rank in multiply-accumulates: short ones and long ones.
_VISITED = (10, 45, 92)
_IN_SESSIONS = (0, 10, 20, 35, 50, 65, 80, 92)
#: What else runs on the CPU, and in which rounds: it takes turns of milliseconds, or wakes all the time for a moment.
_COMPUTES = "import numpy; a = numpy.ones((512, 512), numpy.float32)\nwhile True: a @ a"
_WAKES = "import numpy, time; a = numpy.ones(1 << 18, numpy.float32)\nwhile True: a.sum(); time.sleep(2e-5)"
_BUSY_ROUNDS = ((9, 16), (25, 32))
_SESSIONS = 6
#: Networks of NAS-Bench-201 that are measured, those of them that judge, and how many times samples are drawn.
_NETWORKS, _JUDGED, _DRAWS = 140, 60, 20
_SAMPLES = (5, 7, 10, 15, 20, 30, 50, 80)


class Told:
    """A narrator that writes stages to standard error."""

    def stage(self, title: str, total: int | None = None) -> None:
        sys.stderr.write(f"{title} ({total})\n" if total else f"{title}\n")

    def step(self, note: str) -> None: ...

    def note(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")


class _Watched(Gathered):
    """Keeps visits in the order of time, and lets another program run in some of the rounds."""

    def __init__(self, others: Sequence[subprocess.Popen[bytes]]) -> None:
        super().__init__()
        self.rounds: list[list[tuple[Task, Visit]]] = []
        self._others = others

    def visited(self, visits: Sequence[tuple[Task, Visit]]) -> None:
        self.rounds.append(list(visits))
        for other, (first, last) in zip(self._others, _BUSY_ROUNDS, strict=True):
            # The next round was asked for already: what is signalled now meets it.
            if len(self.rounds) == first - 1:
                other.send_signal(signal.SIGCONT)
            elif len(self.rounds) == last:
                other.send_signal(signal.SIGSTOP)


@contextmanager
def _waiting_program(code: str, cpu: int) -> Iterator[subprocess.Popen[bytes]]:
    """A program on a CPU that goes on whenever it may; it begins stopped."""
    alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    other = subprocess.Popen([sys.executable, "-c", code], env=alone)
    try:
        os.sched_setaffinity(other.pid, {cpu})
        # By now it has loaded what it needs.
        time.sleep(2.0)
        other.send_signal(signal.SIGSTOP)
        yield other
    finally:
        other.kill()
        other.wait()


def measure_visits() -> Document:
    """One session of three graphs; in some rounds a program that computes shares their CPU, in some one that wakes."""
    setting, chosen = LocalSetting.here(), _cells(_VISITED)
    cpu = setting.stage.cpus[-1]
    # Nothing ends before the others, so that every round has all of them.
    settings = Settings(target=1e-6, visits_max=40, rounds_max=40)
    tasks = [Task(workload, "profile", is_last_attempt=True) for workload in chosen]
    with _waiting_program(_COMPUTES, cpu) as computes, _waiting_program(_WAKES, cpu) as wakes:
        kept = _Watched((computes, wakes))
        _measure(setting, tasks, settings, kept)
    canaries = [value for visits in kept.rounds for _, visit in visits for value in visit.canary_ns]
    by_graph = {one.graph_hash: one for one in kept.measurements}
    texts = ("beside a program\nthat computes", "beside a program\nthat wakes all the time")
    return {
        "busy": [[*rounds, text] for rounds, text in zip(_BUSY_ROUNDS, texts, strict=True)],
        "canary_level_us": round(canary_baseline(canaries) / 1e3, 3),
        "canary_limit": CANARY_LIMIT,
        "graphs": [_numbers(workload, by_graph[workload.graph_hash]) for workload in chosen],
        "visit_columns": ["round", "turn", "graph", "median_us", "mean_us", "canary_us", "reject_reason"],
        "visits": [
            [place, turn, chosen.index(task.workload), *_visit(visit)]
            for place, visits in enumerate(kept.rounds, start=1)
            for turn, (task, visit) in enumerate(visits)
        ],
    }


def _visit(visit: Visit) -> tuple[float, float, float, str]:
    # What a rejected visit would have said: nobody uses it, but a picture may show it.
    value_ns = median(visit.wall_ns) if visit.value_ns is None else visit.value_ns
    mean_ns = sum(visit.wall_ns) / len(visit.wall_ns)
    return round(value_ns / 1e3, 2), round(mean_ns / 1e3, 2), round(max(visit.canary_ns) / 1e3, 2), visit.reject_reason


def measure_sessions() -> Document:
    """The same graphs in several processes, one after the other."""
    setting, chosen = LocalSetting.here(), _cells(_IN_SESSIONS)
    sessions = []
    for session in range(_SESSIONS):
        kept = Gathered()
        tasks = [Task(workload, "profile", is_last_attempt=True) for workload in chosen]
        _measure(setting, tasks, Settings(seed=session), kept)
        by_graph = {one.graph_hash: one for one in kept.measurements}
        sessions.append([_numbers(workload, by_graph[workload.graph_hash]) for workload in chosen])
    return {"sessions": sessions}


def _measure(setting: LocalSetting, tasks: Sequence[Task], settings: Settings, kept: Gathered) -> None:
    with Bench.for_profile(setting.profile) as bench:
        measure_group(tasks, setting.stage, settings, kept, bench)


def _cells(ranks: Sequence[int]) -> list[Workload]:
    """Cells by their rank in what they compute."""
    space = load_space("ofa-mobilenetv3")
    macs = cell_macs(space)
    ordered = sorted(space.measurable, key=lambda cell: (macs[cell.key], cell.key))
    return [workload for rank in ranks if (workload := space.workload(ordered[rank])) is not None]


def _numbers(workload: Workload, measurement: Measurement) -> Document:
    found = measurement.latency
    if found is None:
        raise SystemExit(f"{workload.name}: {measurement.status.value}, {measurement.message}; measure again")
    return {
        "name": workload.name,
        "status": measurement.status.value,
        "visits": found.visits,
        "rejected": measurement.rejected_visits,
        "median_us": round(found.median_ms * 1e3, 3),
        "lo_us": round(found.lo_ms * 1e3, 3),
        "hi_us": round(found.hi_ms * 1e3, 3),
    }


class _KeptMeter(VirtualMeter):
    """Remembers what it recorded."""

    kept: Recording

    @contextmanager
    def recording(self) -> Iterator[Recording]:  # type: ignore[override]
        with super().recording() as recording:
            self.kept = recording
            yield recording


def measure_energy() -> Document:
    """A session of a virtual board: its power over time, and what each window says."""
    device, space = open_virtual("virtual-nano"), load_space("ofa-mobilenetv3")
    network = space.build(space.sample(1, seed=3))
    cost, machine = asked_cost(device, network), Machine(device.character, seed=8)
    assert cost.latency_ms is not None, "the law knows every operator of the space"
    meter = _KeptMeter(machine, SENSORS[device.sensor], seed=8, board="0")
    load = VirtualLoad(machine, cost.latency_ms, active_mw(device, cost), max(0.002, meter.facts.period_s / 8))
    spans: list[Span] = []

    def note(span: Span) -> str:
        # A guard is asked of every time that is used: the rest before, the window, the rest after.
        spans.append(span)
        return ""

    session = measure_load(load, meter, EnergySettings(), guard=note, seed=8)
    trace, energy = meter.kept.trace(), session.energy
    begin_ns = trace.times_ns[0]

    def seconds(moment_ns: int) -> float:
        return round((moment_ns - begin_ns) / 1e9, 3)

    ends = [f"{name}_{end}_mj" for name in ("gross", "net") for end in ("median", "lo", "hi")]
    return {
        "workload": f"a network of {space.title} ({network.name})",
        "sensor": f"{meter.facts.name}, every {meter.facts.period_s:g} s in steps of {meter.facts.resolution:g} mW",
        "run_ms": round(median([one.active_s / one.runs for one in session.windows]) * 1e3, 3),
        "runs": [one.runs for one in session.windows],
        "energy": {name: round(float(getattr(energy, name)), 4) for name in (*ends, "idle_mw", "active_mw")},
        "true_gross_mj": round(load.gross_mj, 4),
        "true_net_mj": round(load.net_mj, 4),
        "spans_s": [[seconds(span.begin_ns), seconds(span.end_ns)] for span in spans],
        "gross_mj": [round(one.gross_mj, 4) for one in session.windows],
        "net_mj": [round(one.net_mj, 4) for one in session.windows],
        "times_s": [seconds(moment) for moment in trace.times_ns],
        "powers_mw": [round(value) for value in trace.values],
    }


def measure_transfer() -> Document:
    """Networks with one thread and with two; then two threads learnt from few of them, with and without the other."""
    space = open_arch_space("nasbench201")
    archs = space.pool[np.sort(np.random.default_rng(95).choice(len(space.pool), _NETWORKS, replace=False))]
    workloads = [space.build(arch) for arch in archs]
    known_ms = _latencies(host_profile(threads=1), workloads)
    new_ms = _latencies(host_profile(threads=2), workloads)
    both = np.flatnonzero(~np.isnan(known_ms) & ~np.isnan(new_ms))
    archs, known_ms, new_ms = archs[both], known_ms[both], new_ms[both]
    known = KnownDevice("one thread", "measured here", archs, known_ms)
    return {
        "space": "nasbench201",
        "known": host_profile(threads=1).label,
        "new": host_profile(threads=2).label,
        "networks": [".".join(map(str, arch.tolist())) for arch in archs],
        "known_ms": np.round(known_ms, 5).tolist(),
        "new_ms": np.round(new_ms, 5).tolist(),
        "judged": _JUDGED,
        "draws": _DRAWS,
        "samples": list(_SAMPLES),
        "error_percent": {
            "alone": _errors(space, archs, new_ms, ()),
            "with the other": _errors(space, archs, new_ms, (known,)),
        },
    }


def _latencies(profile: RuntimeProfile, workloads: Sequence[Workload]) -> Floats:
    """In ms, shape (workloads,); NaN where there is none that counts."""
    setting, found = LocalSetting.here(profile), {}
    for begin in range(0, len(workloads), 32):
        kept = Gathered()
        tasks = [Task(workload, "network") for workload in workloads[begin : begin + 32]]
        _measure(setting, tasks, Settings(), kept)
        usable = [one for one in kept.measurements if one.status.has_latency and one.latency is not None]
        found.update({one.graph_hash: one.latency.median_ms for one in usable if one.latency is not None})
        sys.stderr.write(f"{profile.label}: {len(found)} of {begin + len(tasks)}\n")
    return np.array([found.get(workload.graph_hash, np.nan) for workload in workloads])


def _errors(
    space: ArchSpace, archs: npt.NDArray[np.int16], new_ms: Floats, known: Sequence[KnownDevice]
) -> list[list[float]]:
    """Mean error in % over the judged networks, (sizes, draws); the same draws whatever is known."""
    pool = Pool.of(space, [archs])
    fleet, _ = train_sources(known, pool, Told(), cache=None)
    beliefs, rows = prepare(fleet), pool.rows(archs)
    found: list[list[float]] = [[] for _ in _SAMPLES]
    for draw in range(_DRAWS):
        order = np.random.default_rng(draw).permutation(len(archs))
        judged, offered = order[:_JUDGED], order[_JUDGED:]
        for place, size in enumerate(_SAMPLES):
            model = beliefs.fit(rows[offered[:size]], new_ms[offered[:size]])
            error = np.abs(model.predict_ms()[rows[judged]] / new_ms[judged] - 1)
            found[place].append(round(float(error.mean()) * 100, 4))
    return found


def measure_additivity() -> Document:
    """What ``edgecost quickstart`` does: cells, and whole networks held against their sums."""
    space = load_space("ofa-mobilenetv3")
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store.sqlite") as store:
        done = run_quickstart(store, space, Path(folder), Told())
        setting, correction = done.setting, done.correction
        networks = networks_in_store(store, setting.device.identity, setting.profile, space)
    spreads = [max(values) / min(values) - 1 for values in networks.sessions]
    return {
        "space": space.title,
        "cells": done.training.cells,
        "processes": NETWORK_SESSIONS,
        "scale": round(correction.scale, 5),
        "session_spread_percent": round(float(np.median(spreads)) * 100, 3),
        "columns": ["role", "sum_ms", "corrected_ms", "measured_ms"],
        "networks": [
            [row.role, *(round(value, 5) for value in (row.sum_ms, row.corrected_ms, row.measured_ms))]
            for row in correction.rows
        ],
    }


MEASURED: Mapping[str, Callable[[], Document]] = {
    "protocol-visits": measure_visits,
    "protocol-sessions": measure_sessions,
    "energy": measure_energy,
    "transfer": measure_transfer,
    "additivity": measure_additivity,
}


def measured(name: str) -> Document:
    """What was measured under a name, below where and when."""
    setting = LocalSetting.here(resolve(BUILT_IN["virtual-nano"]) if name == "energy" else None)
    begin, load_before = time.monotonic(), os.getloadavg()[0]
    document = MEASURED[name]()
    head = {
        "what": (MEASURED[name].__doc__ or "").strip(),
        "command": f"PYTHONPATH=. .venv/bin/python docs/make_explain_pictures.py --measure {name}",
        "date": datetime.now(timezone.utc).date().isoformat(),
        "device": setting.device.description,
        "runtime": setting.profile.label,
        "protocol": PROTOCOL,
        "versions": {"edgecost": __version__, "python": platform.python_version(), "numpy": np.__version__},
        "took_s": round(time.monotonic() - begin),
        "load_before": round(load_before, 2),
        "load_after": round(os.getloadavg()[0], 2),
    }
    return {**head, **document}
