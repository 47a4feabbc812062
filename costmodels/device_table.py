"""The table of a space on one device with everything that stands ready: predictors in their place, the factor too."""

from __future__ import annotations

from ..db import Store
from ..profiler.records import Device, RuntimeProfile
from .lut import Lut
from .lut_build import build_lut
from .lut_others import Others
from .metrics.energy_predictor import EnergyPredictor
from .metrics.peak_memory import PeakMemoryPredictor
from .network_scale import scale_from_store
from .predictor import LatencyPredictor
from .predictor_folder import default_predictor
from .space import Space


def device_table(
    store: Store,
    space: Space,
    device: Device,
    profile: RuntimeProfile,
    environment_hash: str,
    predictor: LatencyPredictor | None,
    *,
    measured_only: bool = False,
) -> Lut:
    """As ``build_lut``, with the predictors of energy and memory that `train` wrote, and the factor to whole networks.

    Args:
        measured_only: take no predictor of energy and memory.

    Raises:
        GateError, UsageError, ArtefactError: as ``build_lut`` and the predictors' ``load``.
    """
    others = Others() if measured_only else _others(device, profile)
    table = build_lut(store, space, device, profile, environment_hash, predictor, others)
    return scale_from_store(store, device.identity, profile, space, table)


def _others(device: Device, profile: RuntimeProfile) -> Others:
    energy, memory = (default_predictor(device.identity, profile, metric) for metric in ("energy", "memory"))
    return Others(
        energy=EnergyPredictor.load(energy)[0] if (energy / "predictor.json").exists() else None,
        memory=PeakMemoryPredictor.load(memory)[0] if (memory / "predictor.json").exists() else None,
    )
