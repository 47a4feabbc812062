"""How the memory of a GPU is told, by every command that tells a peak memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .output import megabytes

if TYPE_CHECKING:
    from ..profiler.records import Measurement


def on_device(measurement: Measurement) -> str:
    """What was held of a GPU's memory, or why that is not known; empty where a GPU was not asked or all is said."""
    reading = measurement.peak_memory
    if reading is None:
        return ""
    if reading.device_bytes is None:
        # Without a number of the process the whole message is told anyway.
        return reading.message if reading.status.has_number else ""
    details = measurement.conditions.get("device_memory")
    empty = details.get("overhead_bytes") if isinstance(details, dict) else None
    above = f"{megabytes(empty)} of an empty graph" if isinstance(empty, int) else "an empty graph"
    told = f"{megabytes(reading.device_bytes)} on the GPU at the most, loading included, above {above}"
    return f"{told} ({reading.device_method})"
