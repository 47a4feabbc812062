"""A model that somebody dropped on the page → what it costs on every device that has a predictor; nothing is run.

A virtual device that nobody has trained a predictor for is priced by its own law.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ...costmodels.predictor_file import load_predictor
from ...costmodels.predictor_folder import default_predictor, predictor_folder
from ...costmodels.prices import GraphPrice
from ...costmodels.simulated.law import has_own_law, law_price
from ...db import Store
from ...profiler.errors import EdgecostError
from ...profiler.kernels.by_runtime import priced_kernels
from ...profiler.model_file import read_graph
from ...profiler.onnx_gate import check_onnx
from ...profiler.records import Device, RuntimeProfile
from ...profiler.workload import Workload
from .charts import Icicle, icicle

#: Kernels that a page lists, the most expensive first.
_SHOWN = 15
#: Devices that a page of a graph looks at for a predictor.
_PAIRS_MAX = 8
#: Purposes whose measurements a predictor was trained on.
_TRAINED_ON = ("cell", "support", "panel", "kernel", "repeated", "network", "profile")


@dataclass(frozen=True)
class KernelShare:
    """One kernel of a model on a device. ``latency_ms`` is None for one that has no price."""

    name: str
    count: int
    latency_ms: float | None
    share: float | None
    source: str


@dataclass(frozen=True)
class DevicePrice:
    """A model on one device.

    Attributes:
        measured_ms: of this very graph, where the store has it.
        problem: why there is no price; empty where there is one.
        is_lower_bound: some kernels have no price.
        coverage: share of the price by where it comes from.
    """

    device: str
    description: str
    profile: str
    measured_ms: float | None
    total_ms: float | None = None
    lo_ms: float | None = None
    hi_ms: float | None = None
    is_lower_bound: bool = False
    coverage: tuple[tuple[str, float], ...] = ()
    kernels: tuple[KernelShare, ...] = ()
    flame: Icicle | None = None
    problem: str = ""


@dataclass(frozen=True)
class AskView:
    """What was asked and what is known.

    Attributes:
        name: of the file; empty before anything was asked.
        without: devices that were measured and have no predictor.
    """

    name: str = ""
    graph_hash: str = ""
    prices: tuple[DevicePrice, ...] = ()
    without: tuple[str, ...] = ()


def ask(store: Store, name: str, model: bytes) -> AskView:
    """Price a model everywhere.

    Raises:
        ModelError: the gate does not let it through, or it is no model with fixed shapes.
    """
    check_onnx(model)
    with TemporaryDirectory(prefix="edgecost-") as folder:
        place = Path(folder) / "model.onnx"
        place.write_bytes(model)
        workload = read_graph(place)
    return ask_workload(store, name, workload)


def ask_workload(store: Store, name: str, workload: Workload) -> AskView:
    """Price a graph everywhere."""
    devices = {one.identity: one for one in store.devices()}
    prices, without = [], []
    for identity, profile_hash in store.measured_pairs(_TRAINED_ON):
        profile, device = store.profile(profile_hash), devices[identity]
        if profile is None:
            continue
        if (default_predictor(identity, profile) / "predictor.json").exists() or has_own_law(profile):
            prices.append(_on(store, workload, device, profile))
        else:
            without.append(f"{device.name}: {profile.label}")
    return AskView(name, workload.graph_hash, tuple(prices), tuple(without))


def breakdown(store: Store, graph_hash: str, pairs: Sequence[tuple[str, str]]) -> DevicePrice | None:
    """The price of a graph of the store, kernel by kernel, on the first of these pairs that has a predictor.

    Args:
        pairs: identity of a device and hash of a profile; the first few are looked at.
    """
    for identity, profile_hash in pairs[:_PAIRS_MAX]:
        if (predictor_folder(identity, profile_hash) / "predictor.json").exists():
            workload, profile = store.workload(graph_hash), store.profile(profile_hash)
            device = next((one for one in store.devices() if one.identity == identity), None)
            if workload is not None and profile is not None and device is not None:
                return _on(store, workload, device, profile)
    return None


def _on(store: Store, workload: Workload, device: Device, profile: RuntimeProfile) -> DevicePrice:
    made = store.latest(workload.graph_hash, device_identity=device.identity, profile_hash=profile.profile_hash)
    measured_ms = None if made is None or made.latency is None else made.latency.median_ms
    known = DevicePrice(device.name, device.description, profile.label, measured_ms)
    try:
        price, coverage = _priced(workload, device, profile)
    except EdgecostError as error:
        return replace(known, problem=error.message)
    return replace(
        known,
        total_ms=price.total_ms,
        lo_ms=price.lo_ms,
        hi_ms=price.hi_ms,
        is_lower_bound=price.is_lower_bound,
        coverage=tuple(coverage.items()),
        kernels=_kernels(price),
        flame=_flame(price, device.name),
    )


def _priced(workload: Workload, device: Device, profile: RuntimeProfile) -> tuple[GraphPrice, Mapping[str, float]]:
    """By the predictor where there is one, else by the law; and where the price comes from."""
    place = default_predictor(device.identity, profile)
    if not (place / "predictor.json").exists():
        return law_price(workload, profile), {"simulated": 1.0}
    predictor, _ = load_predictor(place, metric="latency")
    price = predictor.price([priced_kernels(workload, profile).kernels], network=True)[0]
    return price, price.coverage()


def _flame(price: GraphPrice, device: str) -> Icicle | None:
    """Operators, and below each the kernels that it became; what has no price has no width."""
    parts = [
        (one.kernel.op, one.kernel.signature, one.latency_ms, f"{one.latency_ms:.4g} ms, {one.source}")
        for one in price.kernels
        if one.latency_ms
    ]
    return icicle(f"Kernels by their share of the time on {device}", parts)


def _kernels(price: GraphPrice) -> tuple[KernelShare, ...]:
    """Equal kernels together, the most expensive first; those without a price before all."""
    counts: Counter[tuple[str, float | None, str]] = Counter(
        (one.kernel.signature, one.latency_ms, one.source) for one in price.kernels
    )
    found = [
        KernelShare(
            signature,
            count,
            None if latency_ms is None else latency_ms * count,
            None if latency_ms is None or not price.total_ms else latency_ms * count / price.total_ms,
            source,
        )
        for (signature, latency_ms, source), count in counts.items()
    ]
    found.sort(key=lambda one: (one.latency_ms is not None, -(one.latency_ms or 0.0)))
    return tuple(found[:_SHOWN])
