"""What NVIDIA GPUs say of themselves while something is measured on one: why a clock is low, and who else is there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from ..nvml import nvml_library

#: Reasons for a clock (nvml.h, nvmlClocksEventReasons): what it is when nothing is asked of it, and what was set.
_HARMLESS = 0x1 | 0x2 | 0x100
_REASONS = {
    0x4: "the limit of power", 0x8: "a slowdown by the hardware", 0x10: "another GPU that it is in step with",
    0x20: "heat", 0x40: "heat, by the hardware", 0x80: "the power brake",
}  # fmt: skip


class Nvml(Protocol):
    """The part of ``pynvml`` that is used; drivers before 535 call reasons for a clock reasons to throttle."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...  # noqa: N802  # its name

    def nvmlDeviceGetCount(self) -> int: ...  # noqa: N802

    def nvmlDeviceGetHandleByIndex(self, index: int) -> object: ...  # noqa: N802

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: object) -> int: ...  # noqa: N802

    def nvmlDeviceGetComputeRunningProcesses(self, handle: object) -> Sequence[Process]: ...  # noqa: N802


class Process(Protocol):
    """One that uses a GPU."""

    pid: int


@dataclass(frozen=True)
class GpuReading:
    """One GPU at a moment; None where it does not tell.

    Attributes:
        reasons: bits of what holds its clock down.
        foreign: processes on it that are not this one's.
    """

    reasons: int | None
    foreign: int | None

    def told(self) -> str:
        """What holds its clock down and should not; empty for nothing."""
        bits = (self.reasons or 0) & ~_HARMLESS
        known = [what for bit, what in _REASONS.items() if bits & bit]
        rest = bits & ~sum(_REASONS)
        return " and ".join([*known, *([f"reason {rest:#x}"] if rest else [])])


@dataclass(frozen=True)
class Gpus:
    """The GPUs of this machine by NVML.

    Attributes:
        handles: by a name for people.
    """

    nvml: Nvml = field(repr=False)
    handles: Mapping[str, object]

    def look(self, is_ours: Callable[[int], bool | None]) -> dict[str, GpuReading]:
        """Each GPU now.

        Args:
            is_ours: whether a process is this one or was started by it; None where it cannot be seen from here.
        """
        return {
            name: GpuReading(self._reasons(handle), self._foreign(handle, is_ours))
            for name, handle in self.handles.items()
        }

    def _reasons(self, handle: object) -> int | None:
        ask = getattr(
            self.nvml, "nvmlDeviceGetCurrentClocksEventReasons", self.nvml.nvmlDeviceGetCurrentClocksThrottleReasons
        )
        try:
            return int(ask(handle))
        except self.nvml.NVMLError:
            return None

    def _foreign(self, handle: object, is_ours: Callable[[int], bool | None]) -> int | None:
        try:
            found = [is_ours(process.pid) for process in self.nvml.nvmlDeviceGetComputeRunningProcesses(handle)]
        except self.nvml.NVMLError:
            return None
        # In a container the numbers are those of outside: one that is not seen from here may be our runner.
        unseen = max(0, found.count(None) - (0 if True in found else 1))
        return found.count(False) + unseen


def find_gpus(nvml: Nvml | None = None) -> Gpus | None:
    """The GPUs; None without NVML or without one that says anything."""
    found = nvml or cast("Nvml | None", nvml_library())
    if found is None:
        return None
    try:
        found.nvmlInit()
        handles = {f"GPU {at}": found.nvmlDeviceGetHandleByIndex(at) for at in range(found.nvmlDeviceGetCount())}
    except found.NVMLError:
        return None
    gpus = Gpus(found, handles)
    told = gpus.look(lambda _: None)
    known = {name: handle for name, handle in handles.items() if told[name] != GpuReading(None, None)}
    return Gpus(found, known) if known else None


def is_ours(root: Path, process: int) -> bool | None:
    """Whether a process is this one or descends from it; None where there is no such process to be seen."""
    own, seen = os.getpid(), False
    while process > 1:
        if process == own:
            return True
        try:
            fields = (root / f"proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return False if seen else None
        seen, process = True, int(fields[1])
    return False
