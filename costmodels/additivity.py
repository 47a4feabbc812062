"""The additivity audit: how far the sum of kernels measured alone stands from the network measured end to end.

Every distinct kernel of the networks is cut out of the optimised graph and measured as it stands there, without layout
changes at its borders; the networks are measured whole; and a correction is judged on networks that it was not fitted
on. For one network the audit says which kernels the difference comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from ..db import Store
from ..profiler.bench import Bench
from ..profiler.errors import UnstableMeasurement, UsageError
from ..profiler.kernels.cut import kernel_workloads
from ..profiler.kernels.graph import Kernel, kernels
from ..profiler.precision.convert import convert
from ..profiler.protocol import Settings
from ..profiler.workload import Workload
from .campaign import Planned
from .composition import Composition, bytes_moved, fit_composition, held_out, weight_bytes
from .kernel_shares import KernelShare, kernel_shares
from .kernel_times import kernel_latencies, measure_kernels, network_latencies
from .local_setting import LocalSetting
from .space_campaign import Narrator, measure_planned
from .validation import Accuracy, accuracy

#: Processes in which each network is measured: between processes whole networks differ by more than within one.
NETWORK_SESSIONS = 2


@dataclass(frozen=True)
class NetworkAudit:
    """One network.

    Attributes:
        moved_bytes: by kind, as in ``composition.MOVED``.
        kernels: how many it executes; ``missing`` of them have no measurement of their own.
        latency_ms: end to end, less the overhead of one call.
        sum_ms: of its kernels, each less the overhead of a call; a lower bound where some are missing.
        composed_ms: by the correction that was fitted on the other networks; None with too few of them.
    """

    name: str
    kernels: int
    missing: int
    moved_bytes: tuple[int, int, int]
    latency_ms: float
    sum_ms: float
    composed_ms: float | None

    @property
    def weight_bytes(self) -> int:
        return self.moved_bytes[0] + self.moved_bytes[1]

    @property
    def sum_error(self) -> float:
        return self.sum_ms / self.latency_ms - 1

    @property
    def composed_error(self) -> float | None:
        return None if self.composed_ms is None else self.composed_ms / self.latency_ms - 1


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
    """All networks, the correction fitted on all of them, and what it is worth on those held out."""

    networks: tuple[NetworkAudit, ...]
    distinct_kernels: int
    composition: Composition
    plain: Accuracy | None
    composed: Accuracy | None
    differences: tuple[KernelDifference, ...] = ()

    def document(self) -> dict[str, object]:
        """As JSON."""
        return {
            "networks": [
                {
                    **asdict(one),
                    "weight_bytes": one.weight_bytes,
                    "sum_error": one.sum_error,
                    "composed_error": one.composed_error,
                }
                for one in self.networks
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


def audit_additivity(
    networks: Sequence[Workload],
    store: Store,
    setting: LocalSetting,
    narrator: Narrator,
    *,
    settings: Settings | None = None,
) -> AdditivityAudit:
    """Measure networks and their kernels, as far as the store has not got them, and compare.

    Args:
        networks: as they were written; what is measured has been converted to the precision of the setting's profile.

    Raises:
        UsageError: no network, or a runtime whose kernels cannot be cut out.
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
    narrator.stage("cutting out kernels", len(networks))
    parts: dict[str, tuple[Kernel, ...]] = {}
    alone: dict[str, Workload | None] = {}
    made = [convert(network, setting.profile.precision) for network in networks]
    for network in made:
        parts[network.graph_hash] = kernels(network, setting.profile)
        alone.update({kernel.kernel_hash: cut for kernel, cut in kernel_workloads(network, setting.profile)})
        narrator.step(network.name)
    cuts = [cut for cut in alone.values() if cut is not None]
    _measure(made, cuts, store, setting, narrator, settings)
    latencies, alone_ms = network_latencies(store, setting, made), kernel_latencies(store, setting, cuts)
    times = {key: alone_ms.get(cut.graph_hash) if cut is not None else None for key, cut in alone.items()}
    # The audit calls networks what whoever asks for it calls them.
    named = [replace(one, name=network.name) for one, network in zip(made, networks, strict=True)]
    found = _compare(named, parts, times, latencies)
    if not found.networks:
        raise UnstableMeasurement(
            "no network could be measured end to end", remedy="`edgecost db info --failures` says what happened"
        )
    return found


def explain(
    network: Workload, audit: AdditivityAudit, store: Store, setting: LocalSetting, settings: Settings | None = None
) -> tuple[KernelDifference, ...]:
    """Which kernels the difference of one audited network comes from, the largest first.

    Args:
        network: as it was given to ``audit_additivity``.

    Raises:
        RunnerError: the runtime fails under its profiler.
    """
    (row,) = [one for one in audit.networks if one.name == network.name]
    network = convert(network, setting.profile.precision)
    with Bench.for_profile(setting.profile) as bench:
        shares = kernel_shares(network, setting.stage, settings or Settings(), bench, row.latency_ms)
    cuts = {kernel.kernel_hash: cut for kernel, cut in kernel_workloads(network, setting.profile)}
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
    networks: Sequence[Workload],
    parts: dict[str, tuple[Kernel, ...]],
    times: dict[str, float | None],
    latencies: dict[str, float],
) -> AdditivityAudit:
    rows = []
    for network in networks:
        # Of a network that takes no longer than an empty call nothing can be said.
        if latencies.get(network.graph_hash):
            made = [times[kernel.kernel_hash] for kernel in parts[network.graph_hash]]
            known = [value for value in made if value is not None]
            rows.append(
                NetworkAudit(
                    name=network.name,
                    kernels=len(made),
                    missing=len(made) - len(known),
                    moved_bytes=bytes_moved(parts[network.graph_hash]),
                    latency_ms=latencies[network.graph_hash],
                    sum_ms=sum(known),
                    composed_ms=None,
                )
            )
    # What is not known is not 0: a network with a kernel missing says nothing of the correction.
    complete = [place for place, row in enumerate(rows) if not row.missing and row.sum_ms]
    sums, measured = (
        np.array([float(getattr(rows[place], name)) for place in complete]) for name in ("sum_ms", "latency_ms")
    )
    moved = np.array([rows[place].moved_bytes for place in complete], np.float64).reshape(len(complete), 3)
    composed = held_out(sums, moved, measured)
    if composed is not None:
        for place, value in zip(complete, composed, strict=True):
            rows[place] = replace(rows[place], composed_ms=float(value))
    return AdditivityAudit(
        networks=tuple(rows),
        distinct_kernels=len(times),
        composition=Composition() if composed is None else fit_composition(sums, moved, measured),
        plain=accuracy(sums, measured),
        composed=None if composed is None else accuracy(composed, measured),
    )
