"""What a process holds in the memory of NVIDIA GPUs, by NVML. Nobody here has run this on a GPU.

NVML tells it by process, on some systems. Where it does not (a container, in which processes have other numbers; a GPU
in parts, by MIG; a driver that answers ``N/A``), what is used of the GPUs altogether says the same as long as nobody
else is on them.

A runtime's arena keeps what it took, ONNX Runtime's on CUDA by default: what a process holds at the end, its workload
still loaded, is then the most that its arena held, and no poll can miss it. What is asked for past the arena and given
back (cuDNN's search for an algorithm in the first run, TensorRT's building of an engine) shows only while it is there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, cast

from ..profiler.device_memory import DeviceMemory, Held
from ..profiler.records import RuntimeProfile
from .guards import nvidia
from .guards.nvidia import Gpu, Gpus, find_gpus, is_ours
from .nvml import nvml_library

#: What a process holds, as NVML accounts it; and all that is used while nobody else is there.
PROCESS, DEVICE = "nvml-process-1", "nvml-device-1"
#: A call takes a fraction of it.
POLL_S = 0.01
#: CUDA's drivers hand memory out in blocks of this size, as far as is known here, and nvidia-smi shows MiB.
RESOLUTION_BYTES = 2 << 20
#: NVML_VALUE_NOT_AVAILABLE, which the package hands on as None.
_NOT_AVAILABLE = (1 << 64) - 1
#: nvmlMemory_v2: the version 2, and 40, the size of the structure.
_MEMORY_V2 = 2 << 24 | 40


class Nvml(nvidia.Nvml, Protocol):
    """The part of ``pynvml`` that is used."""

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: object) -> Sequence[nvidia.Process]: ...  # noqa: N802

    def nvmlDeviceGetMemoryInfo(self, handle: object, version: int | None = None) -> MemoryInfo: ...  # noqa: N802

    def nvmlDeviceGetMigMode(self, handle: object) -> Sequence[int]: ...  # noqa: N802


class MemoryInfo(Protocol):
    """Of one GPU."""

    used: int


@dataclass(frozen=True)
class Poll:
    """One look at all GPUs.

    Attributes:
        held_bytes: of each process that computes, over all GPUs, None for one whose share is not told; None in all
            where it is not told who computes.
        drawing: processes that only draw.
        used_bytes: of all GPUs, by whomever, 0 before anybody came; None where one did not tell.
    """

    held_bytes: Mapping[int, int | None] | None
    drawing: frozenset[int] = frozenset()
    used_bytes: int | None = None


@dataclass(frozen=True)
class Sight:
    """What can be made of polls.

    Attributes:
        sees_all: whether processes have here the numbers that NVML calls them by.
        is_divided: whether a GPU is divided by MIG, so that the use of all of it is the use of several.
    """

    sees_all: bool = True
    is_divided: bool = False


def held(polls: Sequence[Poll], is_runners: Callable[[int], bool], sight: Sight) -> Held:
    """What a process held, or why nobody can say.

    Args:
        polls: the last one while its workload is still loaded.
        is_runners: whether a process is the one that is asked about, or was started by it.
    """
    last = polls[-1].held_bytes
    if last is None:
        return Held(message="NVML does not tell who uses the GPU")
    if not last:
        return Held(message="NVML lists nobody on the GPU, not even the runner")
    if not sight.sees_all:
        return _of_device(polls, frozenset(), sight)
    seen = {process for poll in polls for process in poll.held_bytes or ()}
    own = frozenset(process for process in seen if is_runners(process))
    if not own & last.keys():
        return Held(message="NVML does not list the runner among those on the GPU")
    sums = [_sum(poll, own) for poll in polls]
    known = [one for one in sums if one is not None]
    if sums[-1] is None:
        return _of_device(polls, own, sight)
    return Held(PROCESS, "", max(known), sums[-1], len(polls))


def _sum(poll: Poll, own: frozenset[int]) -> int | None:
    """What the processes held together; None where none of them was there, or one's share was not told."""
    shares = [share for process, share in (poll.held_bytes or {}).items() if process in own]
    known = [share for share in shares if share is not None]
    return sum(known) if shares and len(known) == len(shares) else None


def _of_device(polls: Sequence[Poll], own: frozenset[int], sight: Sight) -> Held:
    """All that is used, where that can only be the runner's.

    Args:
        own: its processes; empty where they cannot be told from others, and then only one may be there.
    """
    why = (
        "NVML does not tell what each process holds" if own else "in this container NVML's processes have other numbers"
    )
    if sight.is_divided:
        return Held(message=f"{why}, and the GPU is divided (MIG)")
    if any(poll.held_bytes is None for poll in polls):
        return Held(message=f"{why}, nor always who is there")
    there = {process for poll in polls for process in (*(poll.held_bytes or ()), *poll.drawing)}
    others = len(there - own) if own else len(there) - 1
    if others:
        return Held(message=f"{why}, and {others} other process{'es' if others > 1 else ''} used the GPU meanwhile")
    used = [poll.used_bytes for poll in polls if poll.used_bytes is not None]
    if len(used) < len(polls) or not used[-1]:
        return Held(message=f"{why}, nor what is used altogether")
    return Held(DEVICE, "", max(used), used[-1], len(polls))


@dataclass(frozen=True)
class GpuMemory:
    """The GPUs of this machine, as ``profiler.device_memory.DeviceMemory``."""

    nvml: Nvml
    gpus: Gpus
    root: Path = Path("/")
    poll_s: float = POLL_S
    resolution_bytes: int = RESOLUTION_BYTES

    @contextmanager
    def watching(self, process: int) -> Iterator[Callable[[], Held]]:
        """As ``DeviceMemory.watching``."""
        poller = _Poller(self.poll, self.poll_s)
        is_runners = partial(self._is_of, process)
        sight = Sight(self.gpus.sees_all, any(self._is_divided(gpu.handle) for gpu in self.gpus.gpus))
        try:
            yield lambda: held(poller.polled(), is_runners, sight)
        finally:
            poller.stop()

    def poll(self) -> Poll:
        """Look once."""
        computing: dict[int, int | None] | None = {}
        drawing: set[int] = set()
        used: list[int | None] = []
        for gpu in self.gpus.gpus:
            shares = self._shares(gpu)
            computing = None if computing is None or shares is None else _added(computing, shares)
            drawing |= self._drawing(gpu.handle)
            used.append(self._used(gpu.handle))
        known = [one for one in used if one is not None]
        return Poll(computing, frozenset(drawing), sum(known) if known and len(known) == len(used) else None)

    def _is_of(self, ancestor: int, process: int) -> bool:
        return is_ours(self.root, process, ancestor) is True

    def _shares(self, gpu: Gpu) -> list[tuple[int, int | None]] | None:
        try:
            found = self.nvml.nvmlDeviceGetComputeRunningProcesses(gpu.handle)
        except self.nvml.NVMLError:
            return None
        return [(one.pid, _told(getattr(one, "usedGpuMemory", None))) for one in found]

    def _drawing(self, handle: object) -> set[int]:
        try:
            return {one.pid for one in self.nvml.nvmlDeviceGetGraphicsRunningProcesses(handle)}
        except self.nvml.NVMLError:
            # A GPU that cannot draw.
            return set()

    def _used(self, handle: object) -> int | None:
        # Version 2 is of drivers from 510 on; what it counts beside is the driver's own, and the same without a graph.
        for version in (_MEMORY_V2, None):
            try:
                return self.nvml.nvmlDeviceGetMemoryInfo(handle, version).used
            except self.nvml.NVMLError:
                continue
        return None

    def _is_divided(self, handle: object) -> bool:
        try:
            return self.nvml.nvmlDeviceGetMigMode(handle)[0] == 1
        except self.nvml.NVMLError:
            return False


def _told(size_bytes: int | None) -> int | None:
    """A process that is on a GPU holds something: 0 is no answer."""
    return None if size_bytes in (None, 0, _NOT_AVAILABLE) else size_bytes


def _added(computing: dict[int, int | None], shares: Sequence[tuple[int, int | None]]) -> dict[int, int | None]:
    together = dict(computing)
    for process, share in shares:
        before = together.get(process, 0)
        together[process] = None if before is None or share is None else before + share
    return together


class _Poller:
    """Polls in a thread of its own until it is stopped."""

    def __init__(self, poll: Callable[[], Poll], period_s: float) -> None:
        self._poll = poll
        self._period_s = period_s
        self._polls = [poll()]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu-memory", daemon=True)
        self._thread.start()

    def polled(self) -> list[Poll]:
        """All polls, with one of this moment; ends the polling."""
        self.stop()
        self._polls.append(self._poll())
        return self._polls

    def stop(self) -> None:
        """Safe to call twice."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._period_s):
            self._polls.append(self._poll())


@dataclass(frozen=True)
class Unread:
    """GPUs that nothing here can read, as ``profiler.device_memory.DeviceMemory``."""

    why: str
    poll_s: float = POLL_S
    resolution_bytes: int = RESOLUTION_BYTES

    @contextmanager
    def watching(self, process: int) -> Iterator[Callable[[], Held]]:
        """As ``DeviceMemory.watching``."""
        del process
        yield lambda: Held(message=self.why)


def gpu_memory(
    profile: RuntimeProfile, nvml: nvidia.Nvml | None = None, *, sees_all: bool | None = None
) -> DeviceMemory | None:
    """What reads the GPU's memory under a profile; None for one that runs on no NVIDIA GPU, which is not asked then.

    Args:
        sees_all: as ``Gpus.sees_all``; None to look.
    """
    if not profile.is_on_nvidia:
        return None
    found = nvml or cast("nvidia.Nvml | None", nvml_library())
    if found is None:
        return Unread("NVML is not installed: pip install nvidia-ml-py, and measure again")
    gpus = find_gpus(found, sees_all=sees_all)
    if gpus is None:
        return Unread("NVML tells nothing of a GPU here")
    return GpuMemory(cast("Nvml", found), gpus)
