"""What prices networks: lookup tables of a chain space, and devices that were onboarded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...profiler.errors import UsageError
from ...profiler.records import Json
from ..energy_table import energy_table
from ..lut import Lut
from ..lut_formats.card import Metric
from ..onboarding.arch_space import Archs, ArchSpace
from ..onboarding.portable_file import OnboardedDevice
from ..space import Space
from .costs import About, Costs, Floats
from .networks import Networks

_UNITS: dict[Metric, str] = {"latency": "ms", "energy": "mJ", "memory": "bytes"}


def table_costs(luts: Sequence[Lut], spaces: Sequence[Space], networks: Networks, metric: Metric) -> Costs:
    """Networks from the table of their resolution: corrected latencies, sums of energies.

    Args:
        luts, spaces: a table and its space for each resolution.

    Raises:
        GateError: a table lacks a cell that a network has, or its energy.
        UsageError: peak memory, which does not add up over cells.
    """
    if metric == "memory":
        raise UsageError("a network's peak memory is no sum of its cells'", remedy="give memories in a file: --values")
    values = np.full(len(networks), np.nan)
    sides = np.array(networks.resolutions)
    for lut, space in zip(luts, spaces, strict=True):
        rows = sides == space.resolution
        if rows.any():
            chosen = networks.choices[rows]
            values[rows] = lut.price(chosen, space=space) if metric == "latency" else _energy_mj(lut, space, chosen)
    return Costs(metric, _UNITS[metric], values)


def _energy_mj(lut: Lut, space: Space, choices: Archs) -> Floats:
    """Sums of the cells' energies; no correction was fitted for them."""
    return energy_table(lut, space.used_by(choices)).price(choices, space=space)


def table_about(luts: Sequence[Lut], name: str | None, metrics: Sequence[Metric]) -> About:
    """Of tables that belong together.

    Args:
        name: what the device shall be called; None for the tables' own name.

    Raises:
        UsageError: they are of different devices, profiles or precisions.
    """
    told = luts[0].provenance
    for field in ("space", "device", "profile_hash", "precision", "batch", "environment_hash"):
        if len({str(lut.provenance[field]) for lut in luts}) > 1:
            raise UsageError(f"the tables differ in {field}: they do not belong together")
    corrections: dict[str, Json] = {
        str(lut.provenance["resolution"]): {
            "scale": lut.scale,
            "offset_ms": lut.offset_ms,
            "fitted_on": lut.scale_fitted_on,
        }
        for lut in luts
    }
    applied = "latencies: scale times the sum of the cells, and offset_ms beside it; other metrics: the sum alone"
    batch = told["batch"]
    return About(
        device=name or str(told["device"]),
        source=f"sums of the cells of {len(luts)} lookup table{'s' * (len(luts) > 1)}",
        device_description=str(told.get("device_description", told["device"])),
        precision=str(told["precision"]),
        batch=batch if isinstance(batch, int) else None,
        created=str(told["created"]),
        correction={"policy": applied, "by_resolution": corrections} if "latency" in metrics else {"policy": applied},
        provenance={"lut_sha256": [lut.content_sha256 for lut in luts], **told},
    )


def onboarded_costs(device: OnboardedDevice, space: ArchSpace, networks: Networks, metric: Metric) -> Costs:
    """Latencies with their 90 % intervals; NaN for a network that hands nothing of its input on.

    Raises:
        UsageError: another metric, which such a device has not learnt.
    """
    if metric != "latency":
        raise UsageError(f"an onboarded device knows no {metric}", remedy="give the numbers in a file: --values")
    found = device.price(networks.choices, space=space)
    return Costs(metric, "ms", found.latency_ms, found.lo_ms, found.hi_ms)


def onboarded_about(device: OnboardedDevice, name: str | None) -> About:
    """What `edgecost onboard` kept of the device."""
    told = device.provenance
    return About(
        device=name or str(told["device"]),
        source="a device that was learnt from few measurements",
        device_description=str(told["device_description"]),
        created=str(told["made_at"]),
        correction="none: whole networks were learnt",
        batch=1,
        provenance=told,
    )
