"""The additivity audit: how far the sum of kernels measured alone stands from the network measured end to end.

Every distinct kernel of the networks is cut out of the optimised graph and measured as it stands there, without layout
changes at its borders; the networks are measured whole; and a correction is judged on networks that it was not fitted
on. For one network the audit says which kernels the difference comes from. Every way through a network's control flow
is measured like a network.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ..db import Store
from ..devices.virtual.door import open_bench
from ..profiler.errors import UnstableMeasurement, UsageError
from ..profiler.kernels.cut import kernel_workloads
from ..profiler.kernels.graph import Kernel, kernels
from ..profiler.precision.convert import convert
from ..profiler.protocol import Settings
from ..profiler.workload import Workload
from .campaign import Planned
from .composition import OWN, Composition, fit_composition, held_out, network_bytes, weight_bytes
from .control_flow import ControlFlow
from .kernel_shares import KernelShare, kernel_shares
from .kernel_times import kernel_latencies, measure_kernels, network_latencies
from .local_setting import LocalSetting
from .planned_campaign import Narrator, measure_planned
from .validation import Accuracy, accuracy

#: Processes in which each network is measured: between processes whole networks differ by more than within one.
NETWORK_SESSIONS = 2


@dataclass(frozen=True)
class NetworkAudit:
    """One network, or one way through its control flow.

    Attributes:
        name: of the network and of the way: ``net [If_3=then]``.
        model: of the network as it was given.
        probability: that the way is taken; 1 where there is one only.
        own_bytes: what the correction looks at (``composition.own_bytes``), of all its kernels.
        kernels: how many it executes; ``missing`` of them have no measurement of their own.
        latency_ms: end to end, less the overhead of one call.
        sum_ms: of its kernels, each less the overhead of a call; a lower bound where some are missing.
        composed_ms: by the correction that was fitted on the other networks; None with too few of them.
    """

    name: str
    model: str
    probability: float
    kernels: int
    missing: int
    weight_bytes: int
    own_bytes: tuple[float, ...]
    latency_ms: float
    sum_ms: float
    composed_ms: float | None

    @property
    def sum_error(self) -> float:
        return self.sum_ms / self.latency_ms - 1

    @property
    def composed_error(self) -> float | None:
        return None if self.composed_ms is None else self.composed_ms / self.latency_ms - 1


@dataclass(frozen=True)
class ExpectedAudit:
    """The mean of a model's ways by their probabilities; None where a way has no such number.

    Attributes:
        missing: kernels without a measurement of their own, over all ways; then the sum is a lower bound.
    """

    model: str
    ways: int
    missing: int
    latency_ms: float | None
    sum_ms: float | None
    composed_ms: float | None

    @property
    def sum_error(self) -> float | None:
        return _relative(self.sum_ms, self.latency_ms)

    @property
    def composed_error(self) -> float | None:
        return _relative(self.composed_ms, self.latency_ms)


@dataclass(frozen=True)
class KernelDifference:
    """One executed kernel of a network: its share of the end-to-end latency against what it takes alone."""

    op: str
    nodes: tuple[str, ...]
    signature: str
    inside_ms: float
    alone_ms: float | None
    weight_bytes: int | None


@dataclass(frozen=True)
class AdditivityAudit:
    """All networks, the correction fitted on all of them, and what it is worth on those held out.

    Attributes:
        networks: the ways of one model stand together, the likeliest first.
        expected: of each model that has several ways.
    """

    networks: tuple[NetworkAudit, ...]
    distinct_kernels: int
    composition: Composition
    plain: Accuracy | None
    composed: Accuracy | None
    expected: tuple[ExpectedAudit, ...] = ()
    differences: tuple[KernelDifference, ...] = ()

    def document(self) -> dict[str, object]:
        """As JSON."""
        return {
            "networks": [
                {
                    **asdict(one),
                    "sum_error": one.sum_error,
                    "composed_error": one.composed_error,
                }
                for one in self.networks
            ],
            "expected": [
                {**asdict(one), "sum_error": one.sum_error, "composed_error": one.composed_error}
                for one in self.expected
            ],
            "distinct_kernels": self.distinct_kernels,
            "composition": {
                **asdict(self.composition),
                "bandwidths_gb_s": self.composition.bandwidths_gb_s,
            },
            "plain_sum": None if self.plain is None else asdict(self.plain),
            "composed_held_out": None if self.composed is None else asdict(self.composed),
            "differences": [asdict(one) for one in self.differences],
        }


@dataclass(frozen=True)
class _Way:
    """One way through a network, in the precision of the setting; most networks have one.

    Attributes:
        name: what it is called by whoever asks for the audit; the workload has a name of its own.
        network: place among the networks that were given, two of which may have one name.
    """

    name: str
    model: str
    network: int
    probability: float
    workload: Workload


def audit_additivity(
    networks: Sequence[Workload],
    store: Store,
    setting: LocalSetting,
    narrator: Narrator,
    *,
    settings: Settings | None = None,
    control_flow: ControlFlow | None = None,
) -> AdditivityAudit:
    """Measure networks and their kernels, as far as the store has not got them, and compare.

    Args:
        networks: as they were written; what is measured has been converted to the precision of the setting's profile.
        control_flow: needed where a network's cost depends on what is fed; a network takes what is about its own nodes.

    Raises:
        UsageError: no network, a runtime whose kernels cannot be cut out, or a branch or loop without a statement.
        UnstableMeasurement: no network was measured end to end.
        UnsupportedPrecision: a network cannot be had in that precision.
        ModelError: the runtime does not take a network.
    """
    if setting.profile.runtime != "onnxruntime" or setting.profile.interpreter:
        raise UsageError(
            f"kernels of {setting.profile.label} cannot be cut out and measured alone",
            remedy="audit with the ONNX Runtime that is installed beside edgecost: --runtime ort",
        )
    if not networks:
        raise UsageError("no network to audit", remedy="give a MODEL.onnx, or --space NAME")
    made = [convert(network, setting.profile.precision) for network in networks]
    flow = control_flow or ControlFlow()
    flow.check(made)
    with tempfile.TemporaryDirectory(prefix="edgecost-") as scratch:
        ways = _ways(networks, made, flow, Path(scratch))
        found = _audit(ways, store, setting, narrator, settings)
    if not found.networks:
        raise UnstableMeasurement(
            "no network could be measured end to end", remedy="`edgecost db info --failures` says what happened"
        )
    return found


def _ways(networks: Sequence[Workload], made: Sequence[Workload], flow: ControlFlow, scratch: Path) -> list[_Way]:
    """Every way through every network, as written and as converted."""
    found = []
    for place, (network, converted) in enumerate(zip(networks, made, strict=True)):
        # Two models of one name write graphs of one name.
        folder = scratch / str(place)
        folder.mkdir()
        for way in flow.about(converted).ways(converted, folder):
            name = f"{network.name} [{way.label}]" if way.label else network.name
            found.append(_Way(name, network.name, place, way.probability, way.workload))
    return found


def _audit(
    ways: Sequence[_Way], store: Store, setting: LocalSetting, narrator: Narrator, settings: Settings | None
) -> AdditivityAudit:
    narrator.stage("cutting out kernels", len(ways))
    parts: dict[str, tuple[Kernel, ...]] = {}
    alone: dict[str, Workload | None] = {}
    for way in ways:
        parts[way.workload.graph_hash] = kernels(way.workload, setting.profile)
        alone.update({kernel.kernel_hash: cut for kernel, cut in kernel_workloads(way.workload, setting.profile)})
        narrator.step(way.name)
    cuts = [cut for cut in alone.values() if cut is not None]
    workloads = [way.workload for way in ways]
    _measure(workloads, cuts, store, setting, narrator, settings)
    latencies, alone_ms = network_latencies(store, setting, workloads), kernel_latencies(store, setting, cuts)
    times = {key: alone_ms.get(cut.graph_hash) if cut is not None else None for key, cut in alone.items()}
    return _compare(ways, parts, times, latencies, setting.core_cache_bytes)


def explain(
    network: Workload,
    audit: AdditivityAudit,
    store: Store,
    setting: LocalSetting,
    settings: Settings | None = None,
    *,
    control_flow: ControlFlow | None = None,
) -> tuple[KernelDifference, ...]:
    """Which kernels the difference of one audited network comes from, the largest first.

    Args:
        network: as it was given to ``audit_additivity``, and so is ``control_flow``. One way of it was measured.

    Raises:
        RunnerError: the runtime fails under its profiler.
    """
    (row,) = [one for one in audit.networks if one.model == network.name]
    converted, flow = convert(network, setting.profile.precision), control_flow or ControlFlow()
    with (
        tempfile.TemporaryDirectory(prefix="edgecost-") as scratch,
        open_bench(setting.profile) as bench,
    ):
        ways = _ways([network], [converted], flow, Path(scratch))
        (workload,) = [way.workload for way in ways if way.name == row.name]
        shares = kernel_shares(workload, setting.stage, settings or Settings(), bench, row.latency_ms)
        cuts = {kernel.kernel_hash: cut for kernel, cut in kernel_workloads(workload, setting.profile)}
    latencies = kernel_latencies(store, setting, [cut for cut in cuts.values() if cut is not None])
    found = [_difference(share, cuts, latencies) for share in shares]
    return tuple(sorted(found, key=lambda one: -abs(one.inside_ms - (one.alone_ms or 0.0))))


def _difference(share: KernelShare, cuts: dict[str, Workload | None], latencies: dict[str, float]) -> KernelDifference:
    kernel = share.kernel
    cut = None if kernel is None else cuts.get(kernel.kernel_hash)
    return KernelDifference(
        op=share.op,
        nodes=share.nodes,
        signature=share.name if kernel is None else kernel.signature,
        inside_ms=share.latency_ms,
        alone_ms=None if cut is None else latencies.get(cut.graph_hash),
        weight_bytes=None if kernel is None else weight_bytes([kernel]),
    )


def _measure(
    networks: Sequence[Workload],
    cuts: Sequence[Workload],
    store: Store,
    setting: LocalSetting,
    narrator: Narrator,
    settings: Settings | None,
) -> None:
    base, name = settings or Settings(), f"additivity-{setting.profile.profile_hash[:8]}"
    measure_kernels(cuts, store, setting, narrator, base, f"{name}-kernels")
    wanted = [
        # Networks of one round share a process, and rounds do not: priorities keep them apart.
        Planned(network, "network", network.name, priority=-1 - session, round=session)
        for session in range(NETWORK_SESSIONS)
        for network in networks
    ]
    measure_planned(store, setting, name, "additivity", wanted, narrator, "measuring networks", settings=base)


def _compare(
    ways: Sequence[_Way],
    parts: dict[str, tuple[Kernel, ...]],
    times: dict[str, float | None],
    latencies: dict[str, float],
    core_cache_bytes: int | None = None,
) -> AdditivityAudit:
    # Of a network that takes no longer than an empty call nothing can be said.
    rows = {
        place: _row(way, parts[way.workload.graph_hash], times, latencies[way.workload.graph_hash], core_cache_bytes)
        for place, way in enumerate(ways)
        if latencies.get(way.workload.graph_hash)
    }
    # What is not known is not 0: a network with a kernel missing says nothing of the correction.
    complete = [place for place, row in rows.items() if not row.missing and row.sum_ms]
    sums, measured = (
        np.array([float(getattr(rows[place], name)) for place in complete]) for name in ("sum_ms", "latency_ms")
    )
    own = np.array([rows[place].own_bytes for place in complete], np.float64).reshape(len(complete), len(OWN))
    counts = np.array([rows[place].kernels for place in complete], np.float64)
    composed = held_out(sums, own, measured, [ways[place].network for place in complete], counts)
    if composed is not None:
        for place, value in zip(complete, composed, strict=True):
            rows[place] = replace(rows[place], composed_ms=float(value))
    return AdditivityAudit(
        networks=tuple(rows.values()),
        distinct_kernels=len(times),
        composition=Composition() if composed is None else fit_composition(sums, own, measured, counts),
        plain=accuracy(sums, measured),
        composed=None if composed is None else accuracy(composed, measured),
        expected=_expected(ways, rows),
    )


def _row(
    way: _Way,
    parts: Sequence[Kernel],
    times: Mapping[str, float | None],
    latency_ms: float,
    core_cache_bytes: int | None,
) -> NetworkAudit:
    made = [times[kernel.kernel_hash] for kernel in parts]
    known = [value for value in made if value is not None]
    return NetworkAudit(
        name=way.name,
        model=way.model,
        probability=way.probability,
        kernels=len(made),
        missing=len(made) - len(known),
        weight_bytes=weight_bytes(parts),
        own_bytes=tuple(network_bytes(parts, core_cache_bytes).tolist()),
        latency_ms=latency_ms,
        sum_ms=sum(known),
        composed_ms=None,
    )


def _expected(ways: Sequence[_Way], rows: Mapping[int, NetworkAudit]) -> tuple[ExpectedAudit, ...]:
    """Of the networks with several ways; both sides of the comparison are linear in the probabilities."""
    families: dict[int, list[int]] = {}
    for place, way in enumerate(ways):
        families.setdefault(way.network, []).append(place)
    found = []
    for places in families.values():
        if len(places) > 1:
            family = [rows.get(place) for place in places]
            found.append(
                ExpectedAudit(
                    model=ways[places[0]].model,
                    ways=len(places),
                    missing=sum(row.missing for row in family if row is not None),
                    latency_ms=_mean(family, lambda row: row.latency_ms),
                    sum_ms=_mean(family, lambda row: row.sum_ms),
                    composed_ms=_mean(family, lambda row: row.composed_ms),
                )
            )
    return tuple(found)


def _mean(family: Sequence[NetworkAudit | None], number: Callable[[NetworkAudit], float | None]) -> float | None:
    """By the probabilities of the ways; None where one has no number."""
    total = 0.0
    for row in family:
        value = None if row is None else number(row)
        if row is None or value is None:
            return None
        total += row.probability * value
    return total


def _relative(value_ms: float | None, measured_ms: float | None) -> float | None:
    return None if value_ms is None or measured_ms is None else value_ms / measured_ms - 1
