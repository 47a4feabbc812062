"""NVIDIA GPUs by NVML, through the package ``nvidia-ml-py`` where it is installed: energy counters in mJ.

The counter moves about every 100 ms, and on A100 and H100 only a quarter of the time is sampled (Yang et al., SC'24,
"Part-time Power Measurements"): what helps is many windows with a random phase, which is how windows are made anyway.
How far the counter itself is off NVIDIA does not say. Nobody here has run this on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from ...profiler.energy.meter import Counts, MeterFacts
from .source import FoundSensor, Problem

_PERIOD_S, _STEP_MJ = 0.1, 1.0


class Nvml(Protocol):
    """The part of ``pynvml`` that is used."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...  # noqa: N802  # its name

    def nvmlDeviceGetCount(self) -> int: ...  # noqa: N802

    def nvmlDeviceGetHandleByIndex(self, index: int) -> object: ...  # noqa: N802

    def nvmlDeviceGetName(self, handle: object) -> str | bytes: ...  # noqa: N802

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int: ...  # noqa: N802


def find(nvml: Nvml | None) -> tuple[list[FoundSensor], list[Problem]]:
    """Each GPU that has a counter; the only one of a machine counts as its whole."""
    if nvml is None:
        return [], []
    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError as error:
        return [], [Problem(f"NVML is installed and cannot be used: {error}")]
    return _counted(nvml, handles)


def _counted(nvml: Nvml, handles: Sequence[object]) -> tuple[list[FoundSensor], list[Problem]]:
    found, problems = [], []
    for index, handle in enumerate(handles):
        try:
            model = nvml.nvmlDeviceGetName(handle)
            name = f"nvml {index} {model.decode() if isinstance(model, bytes) else model}"
            nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        except nvml.NVMLError as error:
            problems.append(Problem(f"GPU {index} has no energy counter: {error}"))
            continue
        facts = MeterFacts(name, "nvml", "", "gpu", Counts.ENERGY, _STEP_MJ, _PERIOD_S)
        found.append(FoundSensor(facts, partial(_Counter, nvml, handle), is_whole=len(handles) == 1))
    return found, problems


class _Counter:
    def __init__(self, nvml: Nvml, handle: object) -> None:
        self._nvml = nvml
        self._handle = handle

    def read(self) -> float:
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        except self._nvml.NVMLError as error:
            raise OSError(str(error)) from error

    def close(self) -> None:
        """The library stays open: others may use it."""
