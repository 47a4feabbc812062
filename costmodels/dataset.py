"""Store → samples: every graph that was measured on one device and profile, once, with all its sessions.

A sample's latency is net: the call overhead of the runtime is taken off, because a network pays it once and a sum of
blocks would pay it twenty times.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from ..db import Store
from ..profiler.kernels.by_runtime import priced_kernels
from ..profiler.kernels.graph import Kernel
from ..profiler.records import Measurement, RuntimeProfile, Status
from ..profiler.workload import Workload
from .kernel_times import SHORT_MS

#: Purposes whose measurements train the kernels: blocks, kernels alone, and copies of those too short to time alone.
#: Whole networks are ``network`` and ``profile``.
BLOCK_PURPOSES = ("cell", "support", "panel", "kernel", "repeated")
NETWORK_PURPOSES = ("network", "profile")


@dataclass(frozen=True)
class Sample:
    """One graph as measured.

    Attributes:
        latency_ms: median over the sessions of the net median.
        lo_ms, hi_ms: widest of the sessions' own 95 % intervals, net.
        sessions_ms: net median of each session (a session is a process), oldest first.
        raw_ms: median over the sessions of the raw median, nothing subtracted.
        visits: valid visits in all sessions.
    """

    workload: Workload
    latency_ms: float
    lo_ms: float
    hi_ms: float
    sessions_ms: tuple[float, ...]
    raw_ms: float
    visits: int
    is_network: bool


def load_samples(
    store: Store,
    device_identity: str,
    profile: RuntimeProfile,
    *,
    purposes: Collection[str] = BLOCK_PURPOSES,
    graph_hashes: Collection[str] | None = None,
) -> list[Sample]:
    """All usable measurements of a device and profile, grouped by graph, in the order of first measurement."""
    found = store.measurements(
        device_identity=device_identity,
        profile_hash=profile.profile_hash,
        graph_hashes=graph_hashes,
        purposes=purposes,
    )
    typical = typical_overhead_ms(found)
    grouped: dict[str, list[Measurement]] = {}
    for measurement in found:
        grouped.setdefault(measurement.graph_hash, []).append(measurement)
    samples = []
    for graph_hash, measurements in grouped.items():
        workload = store.workload(graph_hash)
        if workload is not None:
            sample = _combine(workload, measurements, typical)
            if sample is not None:
                samples.append(sample)
    return samples


def usable_by_graph(
    store: Store, made: Sequence[Measurement], left_out: Callable[[Measurement], str]
) -> tuple[list[tuple[Workload, list[Measurement]]], dict[str, int]]:
    """Measurements of each graph that the store still has, and how many were left out, by reason.

    Args:
        left_out: why a measurement does not count; empty where it does.
    """
    reasons: Counter[str] = Counter()
    grouped: dict[str, list[Measurement]] = {}
    for measurement in made:
        reason = left_out(measurement)
        if reason:
            reasons[reason] += 1
        else:
            grouped.setdefault(measurement.graph_hash, []).append(measurement)
    found = ((store.workload(graph_hash), of_one) for graph_hash, of_one in grouped.items())
    return [(workload, of_one) for workload, of_one in found if workload is not None], dict(reasons)


def typical_overhead_ms(measurements: Sequence[Measurement]) -> float | None:
    """The median overhead where it was measured: stands in where a crash lost it. None when it never was."""
    known = [m.overhead_ms for m in measurements if m.overhead_ms is not None]
    return statistics.median(known) if known else None


def _combine(workload: Workload, measurements: Sequence[Measurement], typical_ms: float | None) -> Sample | None:
    sessions: dict[str, list[float]] = {}
    low, high, raw, visits = [], [], [], 0
    for measurement in measurements:
        latency = measurement.latency
        if latency is None:
            continue
        overhead = typical_ms if measurement.overhead_ms is None else measurement.overhead_ms
        if overhead is None or latency.median_ms <= overhead:
            # Overhead never measured, or nothing left after it: no number is better than a made-up one.
            continue
        # Two measurements in one process do not show what another process would give: they are one session.
        sessions.setdefault(measurement.session, []).append(latency.median_ms - overhead)
        low.append(max(latency.lo_ms - overhead, 0.0))
        high.append(latency.hi_ms - overhead)
        raw.append(latency.median_ms)
        visits += latency.visits
    if not sessions:
        return None
    is_timed_alone = measurements[0].purpose == "kernel" and measurements[0].status is not Status.SIMULATED
    if is_timed_alone and statistics.median(map(statistics.median, sessions.values())) < SHORT_MS:
        # The error of the overhead shows; its copies within one graph tell more.
        return None
    net = tuple(statistics.median(values) for values in sessions.values())
    return Sample(
        workload=workload,
        latency_ms=statistics.median(net),
        lo_ms=min(low),
        hi_ms=max(high),
        sessions_ms=net,
        raw_ms=statistics.median(raw),
        visits=visits,
        is_network=measurements[0].purpose in NETWORK_PURPOSES,
    )


def sample_kernels(samples: Sequence[Sample], profile: RuntimeProfile) -> list[tuple[Kernel, ...]]:
    """The kernels of each sample's graph under a profile."""
    return [priced_kernels(sample.workload, profile).kernels for sample in samples]
