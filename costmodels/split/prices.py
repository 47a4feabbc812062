"""What a half costs on its device: by the predictor of the device, by its simulator, or as it was measured there.

A half is a network of its own: its kernels are those that its own graph becomes, and what whole networks take beyond
their kernels is counted for each half. The call of the runtime is not in it, as in every prediction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from ...db import Store
from ...devices.simulators import SimulatedDevice, checked_cost
from ...profiler.errors import ArtefactError, ModelError
from ...profiler.kernels.by_runtime import priced_kernels
from ...profiler.kernels.graph import Kernel
from ...profiler.records import SIMULATOR, Json, RuntimeProfile
from ...profiler.workload import Workload
from ..coverage import unpriced_operators
from ..dataset import NETWORK_PURPOSES, Sample, load_samples
from ..metrics.energy_predictor import EnergyPredictor, GraphEnergy
from ..predictor import LatencyPredictor
from ..predictor_file import load_predictor
from ..prices import GraphPrice
from .sides import Side

#: Purpose of halves that were measured. No training reads it: they are networks that nobody uses whole.
SPLIT = "split"
#: Under which name the reason stands why a runtime takes no half at all.
_WHOLE = "the half as a whole"


@dataclass(frozen=True)
class HalfEnergy:
    """Gross energy of one run of a half.

    Attributes:
        lo_mj, hi_mj: 90 % interval; None where there is none.
        is_lower_bound: a kernel has no energy, and is left out.
    """

    energy_mj: float
    lo_mj: float | None = None
    hi_mj: float | None = None
    is_lower_bound: bool = False


@dataclass(frozen=True)
class HalfPrice:
    """One side of one cut.

    Attributes:
        source: ``nothing`` (there is nothing to do, which is 0), ``measured``, ``predicted`` or ``simulated``.
        latency_ms: net of the call; None where no kernel has a price.
        lo_ms, hi_ms: 90 % interval, of a measurement 95 %; None where there is none.
        is_lower_bound: a kernel has no price, and is left out.
        coverage: shares of the latency by source (``GraphPrice.coverage``).
        no_price: operators without a price, and why.
        energy: None where nobody knows it.
    """

    source: str
    latency_ms: float | None
    lo_ms: float | None = None
    hi_ms: float | None = None
    is_lower_bound: bool = False
    kernels: int = 0
    coverage: Mapping[str, float] = field(default_factory=dict)
    no_price: Mapping[str, str] = field(default_factory=dict)
    energy: HalfEnergy | None = None


class Pricer(Protocol):
    """Says what halves cost on one device."""

    def price(self, half: Workload) -> HalfPrice:
        """One half; what it cannot say is left out and named, never 0."""


class PredictorPricer:
    """Prices by a predictor of latency, and one of energy where there is one."""

    def __init__(self, profile: RuntimeProfile, latency: LatencyPredictor, energy: EnergyPredictor | None) -> None:
        self._profile = profile
        self._latency = latency
        self._energy = energy

    def price(self, half: Workload) -> HalfPrice:
        try:
            kernels = priced_kernels(half, self._profile).kernels
        except ModelError as error:
            return HalfPrice("predicted", None, is_lower_bound=True, no_price={_WHOLE: error.message})
        found = _of_price(self._latency.price([kernels], network=True)[0])
        return replace(found, energy=self._energy_of(kernels))

    def _energy_of(self, kernels: Sequence[Kernel]) -> HalfEnergy | None:
        return None if self._energy is None else _of_energy(self._energy.price([kernels], network=True)[0])


class SimulatorPricer:
    """Asks the simulator itself; it says all or nothing."""

    def __init__(self, simulator: SimulatedDevice) -> None:
        self._simulator = simulator

    def price(self, half: Workload) -> HalfPrice:
        cost = checked_cost(self._simulator, half)
        if cost.latency_ms is None:
            reasons = {text.partition(":")[0]: text.partition(":")[2].strip() for text in cost.unsupported}
            return HalfPrice("simulated", None, is_lower_bound=True, no_price=reasons)
        energy = None if cost.energy_mj is None else HalfEnergy(cost.energy_mj, cost.energy_mj, cost.energy_mj)
        exact = float(cost.latency_ms)
        return HalfPrice("simulated", exact, exact, exact, coverage={"simulated": 1.0}, energy=energy)


def nothing(*, has_energy: bool) -> HalfPrice:
    """The price of a half in which nothing is left to do: it is known to be 0."""
    energy = HalfEnergy(0.0, 0.0, 0.0) if has_energy else None
    return HalfPrice("nothing", 0.0, 0.0, 0.0, energy=energy)


def _of_price(price: GraphPrice) -> HalfPrice:
    has_none = price.is_lower_bound and all(one.latency_ms is None for one in price.kernels)
    return HalfPrice(
        source="predicted",
        latency_ms=None if has_none else price.total_ms,
        lo_ms=price.lo_ms,
        hi_ms=price.hi_ms,
        is_lower_bound=price.is_lower_bound,
        kernels=len(price.kernels),
        coverage=price.coverage(),
        no_price=unpriced_operators(price.kernels),
    )


def _of_energy(price: GraphEnergy) -> HalfEnergy | None:
    if price.is_lower_bound and all(one.energy_mj is None for one in price.kernels):
        return None
    return HalfEnergy(price.total_mj, price.lo_mj, price.hi_mj, price.is_lower_bound)


def open_pricer(side: Side, folder: Path, energy_folder: Path, *, asks_simulator: bool = True) -> Pricer:
    """What prices halves on a side: its simulator, else the predictors in these folders.

    Args:
        energy_folder: energies are not known where there is none.
        asks_simulator: False for a proxy in front of it: its predictors price then, as those of a machine.

    Raises:
        ArtefactError: there is no predictor of latency, or one was trained for another profile.
    """
    if side.simulator is not None and asks_simulator:
        return SimulatorPricer(side.simulator)
    if not (folder / "predictor.json").exists():
        raise ArtefactError(
            f"there is no predictor for {side.label}",
            remedy="train it: edgecost train (--all for every device of the database); or name its folder",
        )
    latency, provenance = load_predictor(folder, metric="latency")
    _check_trained_for(provenance, side)
    energy = None
    if (energy_folder / "predictor.json").exists():
        energy, provenance = EnergyPredictor.load(energy_folder)
        _check_trained_for(provenance, side)
    return PredictorPricer(side.profile, latency, energy)


def _check_trained_for(provenance: Mapping[str, Json], side: Side) -> None:
    if provenance.get("profile_hash") not in (None, side.profile.profile_hash):
        raise ArtefactError(
            f"the predictor was trained for {provenance.get('profile')}; {side.device.name} is to run"
            f" {side.profile.label}",
            remedy="name that runtime for this side, or train for this one: edgecost train",
        )


def measured_halves(halves: Sequence[Workload], store: Store, side: Side) -> dict[str, Sample]:
    """Those that the store has a latency of, on this side, by graph hash."""
    if side.profile.runtime == SIMULATOR:
        return {}
    found = load_samples(
        store,
        side.device.identity,
        side.profile,
        purposes=(*NETWORK_PURPOSES, SPLIT),
        graph_hashes=sorted({half.graph_hash for half in halves}),
    )
    return {sample.workload.graph_hash: sample for sample in found}


def as_measured(price: HalfPrice, sample: Sample | None) -> HalfPrice:
    """The price with the latency that was measured, where there is one; the energy stays as it was."""
    if sample is None:
        return price
    return replace(
        price, source="measured", latency_ms=sample.latency_ms, lo_ms=sample.lo_ms, hi_ms=sample.hi_ms,
        is_lower_bound=False, coverage={"measured": 1.0}, no_price={},
    )  # fmt: skip
