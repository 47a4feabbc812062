"""What NVIDIA GPUs say of themselves while something is measured on one: why a clock is low, and who else is there."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from ..nvml import nvml_library

#: nvml.h, nvmlClocksEventReasons: gpu_idle, and applications_clocks_setting, which somebody set.
_HARMLESS = 0x1 | 0x2
#: The others, by their names there; the last two are of older drivers.
_REASONS = {
    0x4: "sw_power_cap (the limit of power)", 0x8: "hw_slowdown", 0x10: "sync_boost (another GPU)",
    0x20: "sw_thermal_slowdown (heat)", 0x40: "hw_thermal_slowdown (heat)", 0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting", 0x200: "board_limit", 0x400: "reliability",
}  # fmt: skip
#: The newer name first: drivers before 535 know only the older one, and CUDA 14 is to drop that.
_REASON_CALLS = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
#: Of the kernel's first namespace of processes (PROC_PID_INIT_INO): any other one is a container's.
_FIRST_NAMESPACE = "pid:[4026531836]"


class Nvml(Protocol):
    """The part of ``pynvml`` that is used, besides ``_REASON_CALLS``."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...  # noqa: N802  # its name

    def nvmlDeviceGetCount(self) -> int: ...  # noqa: N802

    def nvmlDeviceGetHandleByIndex(self, index: int) -> object: ...  # noqa: N802

    def nvmlDeviceGetComputeRunningProcesses(self, handle: object) -> Sequence[Process]: ...  # noqa: N802


class Process(Protocol):
    """One that uses a GPU."""

    pid: int


@dataclass(frozen=True)
class GpuReading:
    """One GPU at a moment.

    Attributes:
        reasons: bits of what holds its clock down; None where it did not tell.
        foreign: processes on it that are not this one's; None where it did not tell.
        is_used: whether one of ours is on it.
        has_reasons, has_users: whether each is asked: what never was told is not.
    """

    reasons: int | None
    foreign: tuple[int, ...] | None
    is_used: bool = False
    has_reasons: bool = True
    has_users: bool = True

    def told(self) -> str:
        """What holds its clock down and should not; empty for nothing."""
        bits = (self.reasons or 0) & ~_HARMLESS
        known = [what for bit, what in _REASONS.items() if bits & bit]
        rest = bits & ~sum(_REASONS)
        return " and ".join([*known, *([f"reason {rest:#x}"] if rest else [])])


@dataclass(frozen=True)
class Gpu:
    """One GPU, by a name for people, and what it tells."""

    name: str
    handle: object = field(repr=False)
    tells_reasons: bool = True
    tells_users: bool = True


@dataclass(frozen=True)
class Gpus:
    """The GPUs of this machine by NVML.

    Attributes:
        sees_all: whether every process of the machine is seen from here, by its own number; not so in a container.
    """

    nvml: Nvml = field(repr=False)
    gpus: tuple[Gpu, ...]
    sees_all: bool = True

    def look(self, is_ours: Callable[[int], bool | None]) -> dict[str, GpuReading]:
        """Each GPU now.

        Args:
            is_ours: whether a process is this one or was started by it; None for one that is gone.
        """
        return {gpu.name: self._reading(gpu, is_ours) for gpu in self.gpus}

    def _reading(self, gpu: Gpu, is_ours: Callable[[int], bool | None]) -> GpuReading:
        users = self._users(gpu.handle) if gpu.tells_users else None
        ours = {pid: is_ours(pid) for pid in users or ()}
        others = [pid for pid, own in ours.items() if own is not True]
        if self.sees_all:
            others = [pid for pid in others if ours[pid] is False]
        elif True not in ours.values():
            others = others[1:]  # its number may be of outside: one of them is our runner
        return GpuReading(
            self._reasons(gpu.handle) if gpu.tells_reasons else None,
            None if users is None else tuple(others),
            True in ours.values(),
            gpu.tells_reasons,
            gpu.tells_users,
        )

    def _reasons(self, handle: object) -> int | None:
        for name in _REASON_CALLS:
            ask: Callable[[object], int] | None = getattr(self.nvml, name, None)
            if ask is None:
                continue
            try:
                return int(ask(handle))
            except self.nvml.NVMLError:
                continue  # the package may know what the driver does not
        return None

    def _users(self, handle: object) -> list[int] | None:
        try:
            return [process.pid for process in self.nvml.nvmlDeviceGetComputeRunningProcesses(handle)]
        except self.nvml.NVMLError:
            return None


def find_gpus(nvml: Nvml | None = None, *, sees_all: bool | None = None) -> Gpus | None:
    """The GPUs; None without NVML or without one that says anything.

    Args:
        sees_all: as ``Gpus.sees_all``; None to look.
    """
    found = nvml or cast("Nvml | None", nvml_library())
    if found is None:
        return None
    try:
        found.nvmlInit()
        count = found.nvmlDeviceGetCount()
        gpus = tuple(Gpu(f"GPU {at}", found.nvmlDeviceGetHandleByIndex(at)) for at in range(count))
    except found.NVMLError:
        return None
    told = Gpus(found, gpus).look(lambda _: None)
    known = tuple(
        Gpu(gpu.name, gpu.handle, told[gpu.name].reasons is not None, told[gpu.name].foreign is not None)
        for gpu in gpus
    )
    telling = tuple(gpu for gpu in known if gpu.tells_reasons or gpu.tells_users)
    return Gpus(found, telling, _sees_all() if sees_all is None else sees_all) if telling else None


def is_ours(root: Path, process: int, ancestor: int | None = None) -> bool | None:
    """Whether a process is this one, or ``ancestor``, or descends from it; None for one that is gone."""
    own, at = ancestor or os.getpid(), process
    while at > 1:
        if at == own:
            return True
        try:
            at = int((root / f"proc/{at}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            # A kernel may hide the processes of others (hidepid), and ours it does not.
            return False if _lives(process) else None
    return False


def _lives(process: int) -> bool:
    """Asked with the signal that is none."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sees_all() -> bool:
    try:
        return os.readlink("/proc/self/ns/pid") == _FIRST_NAMESPACE
    except OSError:
        return False
