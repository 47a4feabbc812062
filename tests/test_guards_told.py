"""What programs and drivers tell of a spoiled time: the firmware's clock, the kernel's log, NVIDIA's library."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from edgecost.devices.commands import Answer, RecordedCommands
from edgecost.devices.guards import BoardWatch
from edgecost.devices.guards.found import FIRMWARE_CLOCK, KERNEL_LOG, MEASURE_CLOCK, find_sources
from edgecost.devices.guards.judging import Manner, judge
from edgecost.devices.guards.nvidia import GpuReading, find_gpus, is_ours
from edgecost.devices.guards.quiet import QUIET_MAX_S, Patience
from edgecost.devices.guards.snapshot import ClockReading, Snapshot, look
from edgecost.profiler.records import RuntimeProfile
from tests.recorded_trees import NANO, PI, grow

TEGRA = {**NANO, "proc/device-tree/compatible": "nvidia,p3450-0000\0nvidia,tegra210\0"}
POLICY = "sys/devices/system/cpu/cpufreq/policy0"
PI_CLOCK = {
    **PI, f"{POLICY}/affected_cpus": "0 1 2 3", f"{POLICY}/scaling_cur_freq": "2400000",
    f"{POLICY}/scaling_min_freq": "1500000", f"{POLICY}/scaling_max_freq": "2400000",
    f"{POLICY}/scaling_governor": "ondemand",
}  # fmt: skip
BUSY = Manner(cpu_clocks={"policy0": frozenset({0, 1, 2, 3}), FIRMWARE_CLOCK: frozenset({0, 1, 2, 3})}, is_busy=True)


def log(*lines: str, code: int = 0) -> RecordedCommands:
    return RecordedCommands({KERNEL_LOG: Answer("".join(f"{line}\n" for line in lines), "", code)})


def kinds(begin: Snapshot, end: Snapshot, *between: Snapshot, manner: Manner | None = None) -> list[str]:
    return [fault.kind for fault in judge(begin, end, between, manner)]


OLD_ALARM = "[  90.250000] soctherm: OC ALARM 0x00000001"
NEW_ALARM = "[ 117.500000] soctherm: OC ALARM 0x00000001"


def test_a_jetson_without_counters_has_its_kernel_s_log_read(tmp_path: Path) -> None:
    root = grow(tmp_path, TEGRA)
    sources = find_sources(root, log("[    1.000000] soctherm: started"))
    assert sources.asks_log
    before = look(sources, log("[    1.000000] soctherm: started", OLD_ALARM))
    after = look(sources, log(OLD_ALARM, NEW_ALARM, "[ 118.000000] soctherm: OC ALARM 0x00000001"))
    forgotten = look(sources, log("[ 990.250000] wlan0: associated"))
    assert kinds(before, look(sources, log(OLD_ALARM))) == []
    assert kinds(before, after) == ["undervoltage"]
    assert "2 times" in judge(before, after)[0].message
    assert "[ 118.000000] soctherm: OC ALARM 0x00000001" in judge(before, after)[0].message
    assert kinds(before, forgotten) == []
    assert kinds(before, look(sources, log(code=1))) == ["unknown"]


class Log:
    """A kernel's log that grows."""

    def __init__(self, *lines: str) -> None:
        self.lines = [*lines]

    def run(self, argv: Sequence[str], timeout_s: float = 5.0) -> Answer | None:
        return log(*self.lines).run(argv, timeout_s)


def test_an_alarm_spoils_the_part_in_which_it_came_though_most_looks_leave_the_log_out(tmp_path: Path) -> None:
    told = Log(OLD_ALARM)
    watched = BoardWatch(find_sources(grow(tmp_path, TEGRA), told), told)
    with watched.watching(0.005) as looks:
        for alarm, expected in ((None, []), (NEW_ALARM, ["undervoltage"]), (None, [])):
            made = looks.looks_made()
            while looks.looks_made() < made + 3:
                pass
            begin = watched.glance()
            told.lines += [alarm] if alarm else []
            end = watched.glance()
            faults = looks.faults_between(begin.begin_ns, end.at_ns, is_busy=True)
            assert [fault.kind for fault in faults if fault.kind != "slow_clock"] == expected
        assert "undervoltage" in [fault.kind for fault in looks.faults()]


@pytest.mark.parametrize("commands", [RecordedCommands({}), log(code=1), log("soctherm: started")])
def test_a_log_that_may_not_be_read_or_has_no_times_is_not_asked(commands: RecordedCommands, tmp_path: Path) -> None:
    assert not find_sources(grow(tmp_path, TEGRA), commands).asks_log


def test_an_alarm_without_its_time_could_be_an_old_one_and_is_unknown(tmp_path: Path) -> None:
    sources = find_sources(grow(tmp_path, TEGRA), log())
    assert sources.asks_log
    assert kinds(look(sources, log()), look(sources, log("soctherm: OC ALARM 0x00000001"))) == ["unknown"]


def firmware(hertz: str) -> RecordedCommands:
    return RecordedCommands({MEASURE_CLOCK: Answer(f"frequency(0)={hertz}\n", "", 0)})


def test_a_clock_that_the_firmware_capped_is_slow_though_the_kernel_shows_its_wish(tmp_path: Path) -> None:
    sources = find_sources(grow(tmp_path, PI_CLOCK), firmware("2400033792"))
    assert sources.asks_clock
    full, capped = look(sources, firmware("2400033792")), look(sources, firmware("1500019456"))
    assert full.clocks[FIRMWARE_CLOCK].now == 2400033
    assert kinds(full, full, full, manner=BUSY) == []
    ((fault),) = judge(full, full, [capped, capped], BUSY)
    assert fault.kind == "slow_clock"
    assert fault.message == f"{FIRMWARE_CLOCK} ran at 63% of what the kernel asked for"
    # At rest the firmware may do as it likes.
    assert kinds(full, full, capped, manner=replace(BUSY, is_busy=False)) == []


def test_settings_that_change_meanwhile_are_a_fault_and_a_cpu_that_is_off_tells_only_that() -> None:
    was = ClockReading(1000, 100, 1479, "schedutil")
    begin = Snapshot(0, 0, clocks={"policy0": was}, online="0-3")
    assert kinds(begin, begin) == []
    for changed in (replace(was, governor="performance"), replace(was, low=1479), replace(was, high=918)):
        assert kinds(begin, replace(begin, clocks={"policy0": changed})) == ["changed"]
    off = ClockReading(None, None, None, None)
    assert kinds(begin, replace(begin, clocks={"policy0": off}, online="0-1")) == ["changed"]


class LittleNvml:
    """As much of NVIDIA's library as is used, for a machine without one."""

    class NVMLError(Exception):
        """What the library raises."""

    def __init__(self, reasons: int | None = 0, users: tuple[int, ...] | None = ()) -> None:
        self.reasons, self.users = reasons, users

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> object:  # noqa: N802
        return index

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: object) -> int:  # noqa: N802
        if self.reasons is None:
            raise self.NVMLError("Not Supported")
        return self.reasons

    def nvmlDeviceGetComputeRunningProcesses(self, handle: object) -> list[User]:  # noqa: N802
        if self.users is None:
            raise self.NVMLError("Not Supported")
        return [User(pid) for pid in self.users]


@dataclass
class User:
    pid: int
    others: dict[str, int] = field(default_factory=dict)


ON_GPU = Manner(is_on_gpu=True)


def on_gpu(nvml: LittleNvml) -> list[tuple[str, str]]:
    gpus = find_gpus(LittleNvml())
    assert gpus is not None
    read = replace(gpus, nvml=nvml).look(lambda pid: {1: True, 2: False}.get(pid))
    begin = Snapshot(0, 0, gpus=read)
    return [(fault.kind, fault.message) for fault in judge(begin, begin, (), ON_GPU)]


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        (0x4, "the limit of power"), (0x20 | 0x1, "heat"), (0x40, "heat, by the hardware"),
        (0x48, "a slowdown by the hardware and heat, by the hardware"), (0x1000, "reason 0x1000"),
    ],
)  # fmt: skip
def test_what_holds_a_gpu_s_clock_down_is_said_by_its_name(reasons: int, said: str) -> None:
    assert on_gpu(LittleNvml(reasons)) == [("throttled", f"GPU 0 is held down by {said}")]


@pytest.mark.parametrize("reasons", [0, 0x1, 0x2, 0x3, 0x100])
def test_an_idle_gpu_and_clocks_that_were_set_are_well(reasons: int) -> None:
    assert on_gpu(LittleNvml(reasons)) == []


@pytest.mark.parametrize(
    ("users", "foreign"),
    [((1,), 0), ((1, 2), 1), ((2, 2), 2), ((9,), 0), ((9, 8), 1), ((1, 9), 1)],
)
def test_others_on_the_gpu_are_a_fault_and_one_that_cannot_be_seen_may_be_ours(
    users: tuple[int, ...], foreign: int
) -> None:
    expected = [("foreign_load", f"{foreign} other processes use GPU 0")] if foreign else []
    assert on_gpu(LittleNvml(users=users)) == expected


def test_a_gpu_that_does_not_tell_is_unknown_and_one_that_is_not_used_is_nobody_s_business() -> None:
    assert [kind for kind, _ in on_gpu(LittleNvml(None, None))] == ["unknown", "unknown"]
    assert find_gpus(LittleNvml(None, None)) is None
    begin = Snapshot(0, 0, gpus={"GPU 0": GpuReading(0x40, 3)})
    assert judge(begin, begin, (), Manner()) == ()


def test_drivers_that_speak_of_events_are_asked_for_events() -> None:
    class Newer(LittleNvml):
        def nvmlDeviceGetCurrentClocksEventReasons(self, handle: object) -> int:  # noqa: N802
            return 0x20

    assert on_gpu(Newer(0)) == [("throttled", "GPU 0 is held down by heat")]


def test_a_process_that_we_started_is_ours_and_the_first_one_is_not() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert is_ours(Path("/"), child.pid)
        assert is_ours(Path("/"), os.getpid())
        assert is_ours(Path("/"), os.getppid()) is False
    finally:
        child.communicate()
    assert is_ours(Path("/"), 2**22 + 1) is None


def test_measuring_on_a_gpu_watches_it() -> None:
    assert RuntimeProfile("onnxruntime", "1.32.0", "CUDAExecutionProvider").is_on_nvidia
    assert RuntimeProfile("tvm", "0.27.0", "cuda").is_on_nvidia
    assert not RuntimeProfile("onnxruntime", "1.32.0").is_on_nvidia


@dataclass
class Clock:
    """Time that passes by sleeping, and others who take a share of a CPU until some moment."""

    share: float
    until_s: float
    now_s: float = 0.0

    def read(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def busy_s(self) -> float | None:
        return self.share * min(self.now_s, self.until_s)


def waited(patience: Patience, clock: Clock) -> tuple[float, float]:
    found = patience.wait(clock.busy_s, 0.05, clock=clock.read, sleep=clock.sleep)
    return found.waited_s, found.share


def test_others_are_waited_for_until_they_stop() -> None:
    assert waited(Patience(), Clock(0.01, 1e9)) == (1.0, 0.0)
    assert waited(Patience(), Clock(0.5, 10.0)) == (11.0, 0.0)


def test_those_who_never_stop_are_waited_for_less_and_less_and_it_is_said() -> None:
    patience = Patience()
    assert waited(patience, Clock(0.5, 1e9)) == (QUIET_MAX_S, pytest.approx(0.5))
    assert waited(patience, Clock(0.5, 1e9)) == (QUIET_MAX_S / 2, pytest.approx(0.5))
    assert waited(patience, Clock(0.01, 1e9)) == (1.0, 0.0)
    assert waited(patience, Clock(0.5, 1e9))[0] == QUIET_MAX_S


def test_where_others_cannot_be_told_from_us_nobody_is_waited_for(tmp_path: Path) -> None:
    clock = Clock(0.5, 1e9)
    found = Patience().wait(lambda: None, 0.05, clock=clock.read, sleep=clock.sleep)
    assert (found.waited_s, found.share) == (0.0, 0.0)
    sources = find_sources(grow(tmp_path, NANO), RecordedCommands({}))
    assert BoardWatch(sources, RecordedCommands({})).wait() == {}
