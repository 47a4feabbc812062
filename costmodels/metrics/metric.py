"""What can be predicted, and in which unit: a number of one metric is never taken for one of another."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ...profiler.errors import ArtefactError
from ...profiler.records import Quantity


@dataclass(frozen=True)
class Metric:
    """A quantity as predictors and commands name it.

    Attributes:
        is_additive: whether that of a network follows from those of its kernels.
    """

    name: str
    unit: str
    quantity: Quantity
    is_additive: bool


LATENCY = Metric("latency", "ms", Quantity.LATENCY, is_additive=True)
ENERGY = Metric("energy", "mJ", Quantity.ENERGY, is_additive=True)
MEMORY = Metric("memory", "bytes", Quantity.MEMORY, is_additive=False)

METRICS = {metric.name: metric for metric in (LATENCY, ENERGY, MEMORY)}


def require_metric(folder: Path, metric: str) -> None:
    """Make sure that a folder does not hold a predictor of something else, which is no damage and has another remedy.

    Raises:
        ArtefactError: it does. A folder that holds no predictor at all passes: whoever loads it says so.
    """
    try:
        content = json.loads((folder / "predictor.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return
    provenance = content.get("provenance") if isinstance(content, dict) else None
    found = METRICS.get(str(provenance.get("metric", LATENCY.name))) if isinstance(provenance, dict) else None
    if found is not None and found.name != metric:
        wanted = METRICS[metric]
        raise ArtefactError(
            f"{folder} predicts {found.name} in {found.unit}, not {wanted.name} in {wanted.unit}",
            remedy=f"ask for what it has: --metric {found.name}; or name another folder: --predictor",
        )
