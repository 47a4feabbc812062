"""What spoils a time on a board, judged on recorded trees that change between two looks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.devices.commands import Commands, RecordedCommands
from edgecost.devices.guards import BoardWatch, board_watch, judge
from edgecost.devices.guards.cooling import ABOVE_MAX_CELSIUS, COOLDOWN_MAX_S, Baseline, wait_until_cool
from edgecost.devices.guards.judging import Manner
from edgecost.devices.guards.snapshot import ClockReading, Snapshot, _ticks_of
from edgecost.profiler.watching import Affects, Fault
from tests.recorded_trees import NANO, ORIN, PI, X86, Firmware, grow

NOTHING = RecordedCommands({})
COUNTER = "sys/class/hwmon/hwmon3/oc3_event_cnt"
LOCKED_GPU = "sys/class/devfreq/17000000.ga10b/cur_freq"
SUPPLY = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_voltage0_input"


def watch(root: Path, commands: Commands = NOTHING) -> BoardWatch:
    found = board_watch(root, commands)
    assert found is not None
    return found


def faults(root: Path, changed: dict[str, str], commands: Commands = NOTHING) -> list[tuple[str, str]]:
    """Of a time in which files changed, without the third word."""
    watched = watch(root, commands)
    begin = watched.begin()
    grow(root, changed)
    return [(fault.kind, fault.message) for fault in watched.judge(begin, watched.begin())]


def test_a_machine_that_tells_nothing_is_not_watched(tmp_path: Path) -> None:
    files = {"proc/stat": "cpu  1 2 3 4 5 6 7 8 9", "sys/class/thermal/thermal_zone0/type": "acpitz"}
    assert board_watch(grow(tmp_path, files), NOTHING) is None


@pytest.mark.parametrize("board", [ORIN, NANO, PI, X86])
def test_a_quiet_time_has_no_faults(board: dict[str, str], tmp_path: Path) -> None:
    assert faults(grow(tmp_path, board), {}) == []


@pytest.mark.parametrize(
    ("board", "path", "text", "kind", "said"),
    [
        (ORIN, COUNTER, "48", "throttled", "oc3_event_cnt grew by 7"),
        (X86, "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "10", "throttled", "grew by 1"),
        (ORIN, "sys/class/thermal/cooling_device1/cur_state", "3", "cooling", "cpu-throttle-alert"),
        (PI, "sys/class/hwmon/hwmon2/in0_lcrit_alarm", "1", "undervoltage", "rpi_volt"),
        (NANO, SUPPLY, "4690", "undervoltage", "POM_5V_IN fell to 4.69 V"),
    ],
)
def test_what_slows_a_board_down_is_a_fault(
    board: dict[str, str], path: str, text: str, kind: str, said: str, tmp_path: Path
) -> None:
    ((found, message),) = faults(grow(tmp_path, board), {path: text})
    assert found == kind
    assert said in message


def test_a_fan_a_dimmed_screen_and_an_idle_powerclamp_slow_nothing_down(tmp_path: Path) -> None:
    changed = {"sys/class/thermal/cooling_device0/cur_state": "5"}
    assert faults(grow(tmp_path / "orin", ORIN), changed) == []
    assert faults(grow(tmp_path / "x86", X86), {"sys/class/thermal/cooling_device1/cur_state": "90"}) == []


@pytest.mark.parametrize("path", [COUNTER, "sys/class/thermal/cooling_device1/cur_state"])
def test_what_vanishes_meanwhile_is_unknown_and_not_well(path: str, tmp_path: Path) -> None:
    watched = watch(grow(tmp_path, ORIN))
    begin = watched.begin()
    (tmp_path / path).unlink()
    assert [fault.kind for fault in watched.judge(begin, watched.begin())] == ["unknown"]


def test_what_never_could_be_read_is_no_fault_of_any_window(tmp_path: Path) -> None:
    grow(tmp_path, {**ORIN, "sys/class/thermal/cooling_device1/cur_state": "garbage"})
    assert faults(tmp_path, {}) == []


@given(st.lists(st.one_of(st.none(), st.integers(0, 50)), min_size=2, max_size=8))
def test_a_counter_says_no_throttling_only_where_every_look_read_the_same(values: list[int | None]) -> None:
    looks = [Snapshot(at, at, counters={"oc3": value}) for at, value in enumerate(values)]
    found = judge(looks[0], looks[-1], looks[1:-1])
    assert (found == ()) == (None not in values and len(set(values)) == 1)
    if any(a is not None and b is not None and b < a for a, b in pairwise(values)):
        assert "unknown" in {fault.kind for fault in found}


@given(st.lists(st.one_of(st.none(), st.sampled_from([0, 1, 2, 4, 8, 0x10000, 0x50005])), min_size=2, max_size=6))
def test_bits_of_now_and_silence_of_the_firmware_are_never_well(values: list[int | None]) -> None:
    looks = [Snapshot(at, at, has_bits=True, bits=value) for at, value in enumerate(values)]
    found = {fault.kind for fault in judge(looks[0], looks[-1], looks[1:-1])}
    assert ("unknown" in found) == (None in values)
    assert {"undervoltage", "throttled"} & found or not any(value and value & 0xF for value in values)


def test_a_bit_that_was_set_before_says_nothing_and_one_set_meanwhile_does(tmp_path: Path) -> None:
    firmware = Firmware(0x50000)
    watched = watch(grow(tmp_path, PI), firmware)
    begin = watched.begin()
    assert watched.judge(begin, watched.begin()) == ()
    firmware.bits = 0xD0000
    (fault,) = watched.judge(begin, watched.begin())
    assert (fault.kind, fault.affects) == ("throttled", Affects.BOTH)
    assert "bit 19" in fault.message


def test_a_pi_whose_supply_sags_is_told_by_its_volts(tmp_path: Path) -> None:
    firmware = Firmware()
    watched = watch(grow(tmp_path, PI), firmware)
    begin = watched.begin()
    firmware.supply_v = "4.61"
    (fault,) = watched.judge(begin, watched.begin())
    assert (fault.kind, fault.message) == ("undervoltage", "EXT5V fell to 4.61 V")


def clocks(*now: int | None, locked_khz: int | None = None) -> list[Snapshot]:
    low = locked_khz or 600_000
    readings = [ClockReading(one, low, locked_khz or 1_800_000, "ondemand") for one in now]
    return [Snapshot(at, at, clocks={"policy0": reading}) for at, reading in enumerate(readings)]


def slow(looks: Sequence[Snapshot], manner: Manner) -> list[str]:
    return [fault.message for fault in judge(Snapshot(0, 0), Snapshot(99, 99), looks, manner)]


def test_a_locked_clock_is_compared_to_its_lock_and_a_free_one_to_the_first_time_under_load() -> None:
    manner = Manner(frozenset({3}), {"policy0": frozenset({2, 3})})
    assert slow(clocks(1_479_000, 1_300_000, locked_khz=1_479_000), manner) == [
        "policy0 ran at 94% of what it is locked to"
    ]
    assert slow(clocks(1_479_000, 1_460_000, locked_khz=1_479_000), manner) == []
    assert slow(clocks(600_000), manner) == []
    busy = replace(manner, is_busy=True, first_clocks={"policy0": 1_800_000.0})
    assert slow(clocks(1_700_000), busy) == ["policy0 ran at 94% of what it was at first"]
    assert slow(clocks(1_700_000), replace(busy, cpus=frozenset({0}))) == []
    assert slow(clocks(None), busy) == []


def test_a_locked_gpu_that_falls_below_its_lock_is_a_fault(tmp_path: Path) -> None:
    watched = watch(grow(tmp_path, ORIN))
    begin = watched.begin()
    grow(tmp_path, {LOCKED_GPU: "306000000"})
    (fault,) = watched.judge(begin, watched.begin(), [watched.glance()])
    assert fault == Fault("slow_clock", "GPU 17000000.ga10b ran at 49% of what it is locked to")


def test_others_on_the_cpu_spoil_energies_and_swapping_spoils_both() -> None:
    begin = Snapshot(0, 0, foreign_busy_s=10.0, swapped_pages=5)
    second = 1_000_000_000
    found = judge(begin, Snapshot(second, second, foreign_busy_s=10.2, swapped_pages=8))
    assert [(fault.kind, fault.spoils_latency, fault.spoils_energy) for fault in found] == [
        ("foreign_load", False, True),
        ("swap", True, True),
    ]
    assert judge(begin, Snapshot(second, second, foreign_busy_s=10.04, swapped_pages=5)) == ()
    assert judge(begin, Snapshot(second, second)) == ()


def test_a_rest_is_none_where_most_looks_find_a_task_that_could_run() -> None:
    looks = [Snapshot(at, at, runnable=runnable) for at, runnable in enumerate([1, 3, 2, 1, 4])]
    assert [fault.kind for fault in judge(looks[0], looks[-1], looks[1:-1], Manner(is_rest=True))] == ["foreign_load"]
    assert judge(looks[0], looks[-1], looks[1:-1], Manner(is_busy=True)) == ()
    assert judge(looks[0], looks[3], looks[1:3], Manner(is_rest=True)) == ()


def test_what_the_process_and_its_children_take_is_not_foreign(tmp_path: Path) -> None:
    pid, ticks = os.getpid(), os.sysconf("SC_CLK_TCK")
    times = "0 " * 10
    grow(
        tmp_path,
        {
            **X86,
            "proc/stat": f"cpu  {9 * ticks} 0 0 100 0 0 0 0 0 0",
            f"proc/{pid}/stat": f"{pid} (python (a) b) S {times}{ticks} {ticks} 0 {ticks} 0 0",
            f"proc/{pid}/task/{pid}/children": "77 78 ",
            "proc/77/stat": f"77 (runner) R {times}{2 * ticks} 0 0 0 0 0",
        },
    )
    assert watch(tmp_path).begin().foreign_busy_s == 9 - 3 - 2
    (tmp_path / f"proc/{pid}/task/{pid}/children").unlink()
    assert watch(tmp_path).begin().foreign_busy_s is None


def test_what_a_living_child_takes_is_ours() -> None:
    burning = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True); input()"
    if not any(Path(f"/proc/{os.getpid()}/task").glob("*/children")):
        pytest.skip("this kernel does not list children")
    before = _ticks_of(Path("/"), os.getpid())
    with subprocess.Popen(
        [sys.executable, "-c", burning], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "done\n"
        alive = _ticks_of(Path("/"), os.getpid())
        child.communicate("\n")
    assert alive - before >= 0.2 * os.sysconf("SC_CLK_TCK")
    # It is waited for now, and what it took is not lost.
    assert _ticks_of(Path("/"), os.getpid()) >= alive


def test_a_time_is_judged_from_the_last_look_before_it_to_the_first_after_it(tmp_path: Path) -> None:
    watched = watch(grow(tmp_path, ORIN))
    with watched.watching(3600.0) as looks:
        first = watched.begin()
        assert looks.faults_between(first.begin_ns, first.at_ns, is_busy=True) == ()
        grow(tmp_path, {COUNTER: "42"})
        second = watched.begin()
        (fault,) = looks.faults_between(second.begin_ns, second.at_ns, is_busy=True)
        assert fault.kind == "throttled"
        third = watched.begin()
        assert looks.faults_between(third.begin_ns, third.at_ns, is_busy=True) == ()
        # But the whole time was spoiled, whatever its parts were.
        assert [fault.kind for fault in looks.faults()] == ["throttled"]


def test_what_comes_and_goes_between_beginning_and_end_is_seen_by_the_thread(tmp_path: Path) -> None:
    watched = watch(grow(tmp_path, ORIN))
    seen = "sys/class/thermal/cooling_device1/cur_state"
    with watched.watching(0.005) as looks:
        grow(tmp_path, {seen: "2"})
        while not looks.looks_made() > 3:
            pass
        grow(tmp_path, {seen: "0"})
        assert "cooling" in [fault.kind for fault in looks.faults()]


class Heat:
    """A zone that cools by so much in a second, and a clock that only waiting moves."""

    def __init__(self, celsius: float, per_s: float) -> None:
        self.now_s, self.start, self.per_s = 0.0, celsius, per_s

    def read(self) -> dict[str, float | None]:
        return {"CPU-therm": self.start - self.per_s * self.now_s}

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@given(st.floats(20, 100), st.floats(0, 2))
def test_a_board_is_waited_for_until_it_is_cool_or_the_limit_is_reached(start: float, per_s: float) -> None:
    heat, baseline = Heat(start, per_s), Baseline({"CPU-therm": 40.0})
    done = wait_until_cool(heat.read, baseline, clock=lambda: heat.now_s, sleep=heat.sleep)
    assert done.waited_s <= COOLDOWN_MAX_S
    end = heat.read()["CPU-therm"]
    assert end is not None
    assert bool(done.hot) == (end > baseline.coolest["CPU-therm"] + ABOVE_MAX_CELSIUS)
    assert not done.hot or done.waited_s == COOLDOWN_MAX_S


def test_a_zone_that_stops_telling_is_not_taken_for_cool() -> None:
    heat, baseline = Heat(0, 0), Baseline({"GPU-therm": 40.0})
    done = wait_until_cool(heat.read, baseline, clock=lambda: heat.now_s, sleep=heat.sleep)
    assert done.hot == "GPU-therm unknown"


def test_pmic_die_is_no_temperature_and_only_boards_are_waited_for(tmp_path: Path) -> None:
    assert watch(grow(tmp_path / "orin", ORIN)).begin().temperatures_celsius == {"AO-therm": 41.5}
    assert watch(tmp_path / "orin").wait()["cooldown_s"] == 0.0
    hot = {"sys/class/thermal/thermal_zone0/type": "x86_pkg_temp", "sys/class/thermal/thermal_zone0/temp": "50000"}
    watched = watch(grow(tmp_path / "x86", {**X86, **hot}))
    grow(tmp_path / "x86", {"sys/class/thermal/thermal_zone0/temp": "90000"})
    assert watched.wait().keys() == {"unwatched"}


def test_waiting_ends_when_the_work_is_called_off(tmp_path: Path) -> None:
    def stop() -> None:
        raise InterruptedError("called off")

    watched = watch(grow(tmp_path, ORIN)).checking(stop).on((1,))
    with pytest.raises(InterruptedError):
        watched.wait()
