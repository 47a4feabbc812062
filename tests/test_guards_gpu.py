"""What NVIDIA's library tells of a spoiled time: reasons for a clock, others on the GPU, and what it leaves unsaid."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from edgecost.devices.commands import RecordedCommands
from edgecost.devices.guards import BoardWatch
from edgecost.devices.guards.coverage import coverage
from edgecost.devices.guards.found import Sources, find_sources
from edgecost.devices.guards.judging import Manner, judge
from edgecost.devices.guards.nvidia import GpuReading, find_gpus, is_ours
from edgecost.devices.guards.snapshot import Snapshot, look
from edgecost.profiler.records import RuntimeProfile
from tests.recorded_trees import TEGRA, X86, grow


class LittleNvml:
    """As much of NVIDIA's library as is used, for a machine without one: a driver of before 535."""

    class NVMLError(Exception):
        """What the library raises."""

    def __init__(self, reasons: int | None = 0, *users: tuple[int, ...] | None) -> None:
        #: Of each GPU; one that nobody uses without.
        self.reasons, self.users = reasons, users or ((),)

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.users)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> object:  # noqa: N802
        return index

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: object) -> int:  # noqa: N802
        if self.reasons is None:
            raise self.NVMLError("Not Supported")
        return self.reasons

    def nvmlDeviceGetComputeRunningProcesses(self, handle: object) -> list[User]:  # noqa: N802
        assert isinstance(handle, int)
        users = self.users[handle]
        if users is None:
            raise self.NVMLError("Not Supported")
        return [User(pid) for pid in users]


class NewerNvml(LittleNvml):
    """The package of today: it knows the newer name, whatever the driver knows."""

    has_events = True

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: object) -> int:  # noqa: N802
        if not self.has_events:
            raise self.NVMLError("Function Not Found")
        return 0x20


@dataclass
class User:
    pid: int


ON_GPU = Manner(is_on_gpu=True)
#: What is known of processes: ours, another's; the rest are gone.
WHOSE = {1: True, 2: False, 3: False}


def on_gpu(nvml: LittleNvml, *, first: LittleNvml | None = None, sees_all: bool = True) -> list[tuple[str, str]]:
    """Faults while ``nvml`` tells this, where ``first`` was told when the GPUs were looked for."""
    gpus = find_gpus(first or LittleNvml(0, *[()] * len(nvml.users)), sees_all=sees_all)
    assert gpus is not None
    begin = Snapshot(0, 0, gpus=replace(gpus, nvml=nvml).look(WHOSE.get))
    return [(fault.kind, fault.message) for fault in judge(begin, begin, (), ON_GPU)]


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        (0x4, "sw_power_cap (the limit of power)"), (0x20 | 0x1, "sw_thermal_slowdown (heat)"),
        (0x48, "hw_slowdown and hw_thermal_slowdown (heat)"), (0x80, "hw_power_brake_slowdown"),
        (0x100, "display_clock_setting"), (0x4000, "reason 0x4000"),
    ],
)  # fmt: skip
def test_what_holds_a_gpu_s_clock_down_is_said_by_its_name(reasons: int, said: str) -> None:
    assert on_gpu(LittleNvml(reasons)) == [("throttled", f"GPU 0 is held down by {said}")]


@pytest.mark.parametrize("reasons", [0, 0x1, 0x2, 0x3])
def test_an_idle_gpu_and_clocks_that_were_set_are_well(reasons: int) -> None:
    assert on_gpu(LittleNvml(reasons)) == []


def test_reasons_are_asked_for_by_the_newer_name_and_where_a_driver_does_not_know_it_by_the_older() -> None:
    newer, older = NewerNvml(0x80), NewerNvml(0x80)
    older.has_events = False
    assert on_gpu(newer) == [("throttled", "GPU 0 is held down by sw_thermal_slowdown (heat)")]
    assert on_gpu(older) == [("throttled", "GPU 0 is held down by hw_power_brake_slowdown")]

    class Last(NewerNvml):
        """One that dropped the older name."""

        nvmlDeviceGetCurrentClocksThrottleReasons = None  # type: ignore[assignment]  # noqa: N815

    assert on_gpu(Last()) == [("throttled", "GPU 0 is held down by sw_thermal_slowdown (heat)")]


@pytest.mark.parametrize(
    ("users", "foreign"), [((), ""), ((1,), ""), ((1, 2), "2"), ((3, 2), "2, 3"), ((1, 9), ""), ((9,), "")]
)
def test_a_foreign_process_on_the_gpu_rejects_the_window_and_one_that_is_gone_does_not(
    users: tuple[int, ...], foreign: str
) -> None:
    said = f"GPU 0 is used by others: process {foreign}"
    assert on_gpu(LittleNvml(0, users)) == ([("foreign_gpu_process", said)] if foreign else [])


@pytest.mark.parametrize(("users", "count"), [((), 0), ((9,), 0), ((2,), 0), ((9, 8), 1), ((1, 9), 1), ((1, 9, 8), 2)])
def test_in_a_container_one_process_may_be_ours_and_more_cannot_be(users: tuple[int, ...], count: int) -> None:
    found = on_gpu(LittleNvml(0, users), sees_all=False)
    assert [kind for kind, _ in found] == ["foreign_gpu_process"] * bool(count)
    assert not found or found[0][1].count(",") == count - 1


def test_others_on_a_gpu_that_is_not_ours_are_nobody_s_business() -> None:
    assert on_gpu(LittleNvml(0, (1,), (2,))) == []
    assert [kind for kind, _ in on_gpu(LittleNvml(0, (2,), (1, 2)))] == ["foreign_gpu_process"]
    # Which one is ours is not known yet.
    assert [kind for kind, _ in on_gpu(LittleNvml(0, (2,), ()))] == ["foreign_gpu_process"]
    begin = Snapshot(0, 0, gpus={"GPU 0": GpuReading(0x40, (3,))})
    assert judge(begin, begin, (), Manner()) == ()


def test_a_gpu_that_falls_silent_is_unknown_and_what_it_never_told_is_no_fault_of_any_window() -> None:
    assert [kind for kind, _ in on_gpu(LittleNvml(None, None))] == ["unknown", "unknown"]
    assert on_gpu(LittleNvml(None, ()), first=LittleNvml(None, ())) == []
    assert on_gpu(LittleNvml(0, None), first=LittleNvml(0, None)) == []
    assert find_gpus(LittleNvml(None, None)) is None


def unwatched(sources: Sources, *, gpu: bool) -> object:
    return BoardWatch(sources, RecordedCommands({})).on((0,), gpu=gpu).wait().get("unwatched")


def test_what_nothing_tells_of_stands_beside_the_measurement(tmp_path: Path) -> None:
    nano = find_sources(grow(tmp_path / "nano", TEGRA), RecordedCommands({}))
    assert "electrical throttling" in str(unwatched(nano, gpu=False))
    assert "GPU" not in str(unwatched(nano, gpu=False))
    host = find_sources(grow(tmp_path / "host", X86), RecordedCommands({}))
    assert "other programs on the GPU" in str(unwatched(host, gpu=True))
    outside = replace(host, gpus=find_gpus(LittleNvml(), sees_all=True))
    assert "GPU" not in str(unwatched(outside, gpu=True))
    inside = replace(host, gpus=find_gpus(LittleNvml(), sees_all=False))
    assert "other programs on the GPU" in str(unwatched(inside, gpu=True))
    assert "clock of the GPU" not in str(unwatched(inside, gpu=True))
    assert "GPU" not in str(unwatched(inside, gpu=False))


@pytest.mark.parametrize(
    ("nvml", "sees_all", "missing"),
    [
        (LittleNvml(), True, []), (LittleNvml(), False, ["other programs on the GPU"]),
        (LittleNvml(None, ()), True, ["clock of the GPU"]), (LittleNvml(0, None), True, ["other programs on the GPU"]),
        (None, True, ["clock of the GPU", "other programs on the GPU"]),
    ],
)  # fmt: skip
def test_what_a_gpu_does_not_tell_is_listed_as_missing(
    nvml: LittleNvml | None, sees_all: bool, missing: list[str], tmp_path: Path
) -> None:
    gpus = None if nvml is None else find_gpus(nvml, sees_all=sees_all)
    sources = find_sources(grow(tmp_path, X86), RecordedCommands({}), gpus)
    found = coverage(sources, "x86", look(sources, RecordedCommands({})), has_gpu=True)
    assert [guard.what for guard in found if guard.missing and "GPU" in guard.what] == missing


def test_a_gpu_that_nothing_is_measured_on_is_left_alone(tmp_path: Path) -> None:
    sources = find_sources(grow(tmp_path, X86), RecordedCommands({}), find_gpus(LittleNvml(0x80), sees_all=True))
    watched = BoardWatch(sources, RecordedCommands({}))
    assert watched.on((0,)).begin().gpus == {}
    assert watched.on((0,), gpu=True).begin().gpus == {"GPU 0": GpuReading(0x80, ())}
    assert watched.on((0,)).on((0,), gpu=True).glance().gpus == {"GPU 0": GpuReading(0x80, ())}


def test_a_process_that_we_started_is_ours_and_the_first_one_is_not() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert is_ours(Path("/"), child.pid)
        assert is_ours(Path("/"), os.getpid())
        assert is_ours(Path("/"), os.getppid()) is False
    finally:
        child.communicate()
    assert is_ours(Path("/"), 2**22 + 1) is None


def test_a_process_that_the_kernel_hides_is_another_s_and_not_gone(tmp_path: Path) -> None:
    assert is_ours(tmp_path, 1) is False
    assert is_ours(tmp_path, os.getppid()) is False


def test_measuring_on_a_gpu_watches_it() -> None:
    assert RuntimeProfile("onnxruntime", "1.32.0", "CUDAExecutionProvider").is_on_nvidia
    assert RuntimeProfile("tvm", "0.27.0", "cuda").is_on_nvidia
    assert not RuntimeProfile("onnxruntime", "1.32.0").is_on_nvidia
