"""What a reading costs and how often a sensor is read for it: a core's time slows it down, waiting hardly does."""

from __future__ import annotations

import errno
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.devices.commands import RecordedCommands
from edgecost.devices.sensors import find_sensors
from edgecost.devices.sensors.pace import NO_COST, ReadCost, paced, read_cost, stride_of
from edgecost.devices.sensors.sampler import SensorMeter
from edgecost.devices.sensors.source import FoundSensor
from edgecost.devices.sensors.survey import survey
from edgecost.profiler.energy.meter import Counts, MeterFacts
from edgecost.profiler.energy.windows import EnergySettings

NO_PROGRAMS = RecordedCommands({})
#: A Nano's, and an Orin's: each read of the kernel's driver waits for a conversion, and two make a power.
NANO = MeterFacts("ina3221x 6-0040 POM_5V_IN", "ina3221x", "POM_5V_IN", "module", Counts.POWER, 40.0, 0.02)
ORIN = MeterFacts("ina3221 1-0040 VDD_IN", "ina3221", "VDD_IN", "module", Counts.POWER, 40.0, 0.0132)
ORIN_COST = ReadCost(13.2, 14.0, 1.1)

milliseconds = st.floats(0.001, 200.0)


class Source:
    """A sensor of 1 mW that takes a core's time, or sleeps."""

    def __init__(self, core_s: float = 0.0, sleeps_s: float = 0.0) -> None:
        self._core_s, self._sleeps_s = core_s, sleeps_s

    def read(self) -> float:
        end = time.thread_time() + self._core_s
        while time.thread_time() < end:
            pass
        time.sleep(self._sleeps_s)
        return 1.0

    def close(self) -> None:
        """Nothing is open."""


def test_an_orin_whose_driver_sleeps_is_read_often_enough_for_windows_of_seconds() -> None:
    cheap = paced(ORIN, replace(ORIN_COST, core_ms=0.1))
    assert cheap.period_s == 2 * ORIN.period_s  # so that there is room for a random moment beside 13 ms of waiting
    assert EnergySettings().window_s(cheap) == pytest.approx(2.64)
    assert EnergySettings().window_s(paced(ORIN, ORIN_COST)) == pytest.approx(21.12)


def test_a_sensor_whose_reading_costs_little_is_read_at_its_own_pace() -> None:
    assert paced(NANO, ReadCost(2.0, 3.0, 0.19)) == NANO
    assert paced(NANO, NO_COST) == NANO


def test_a_chip_that_takes_the_board_s_time_may_take_it_and_still_has_to_answer() -> None:
    pmic = replace(NANO, period_s=0.1, disturbs=True)
    assert paced(pmic, ReadCost(24.0, 26.0, 20.0)) == pmic
    assert paced(pmic, ReadCost(60.0, 70.0, 20.0)).period_s == 0.2


@given(taken_ms=milliseconds, share=st.floats(0.0, 1.0))
def test_a_reading_takes_a_hundredth_of_a_core_at_the_most_and_is_over_in_half_of_its_period(
    taken_ms: float, share: float
) -> None:
    cost = ReadCost(taken_ms, taken_ms, share * taken_ms)
    found = paced(NANO, cost)
    slower = found.period_s / NANO.period_s
    assert slower >= 1
    assert math.log2(slower).is_integer()
    assert share * taken_ms <= 0.01 * found.period_s * 1e3
    assert taken_ms <= 0.5 * found.period_s * 1e3
    if slower > 1:  # and no slower than that
        assert share * taken_ms > 0.005 * found.period_s * 1e3 or taken_ms > 0.25 * found.period_s * 1e3


@given(costs=st.lists(st.tuples(milliseconds, st.floats(0.0, 1.0)), max_size=5))
def test_rails_take_a_hundredth_of_a_core_and_a_quarter_of_the_time_all_together(
    costs: list[tuple[float, float]],
) -> None:
    rails = [ReadCost(taken, taken, share * taken) for taken, share in costs]
    stride = stride_of(rails, NANO.period_s)
    assert sum(one.core_ms or 0.0 for one in rails) <= 0.01 * stride * NANO.period_s * 1e3 * (1 + 1e-9)
    assert sum(one.median_ms or 0.0 for one in rails) <= 0.25 * stride * NANO.period_s * 1e3 * (1 + 1e-9)
    assert stride == 1 or stride >= len(rails)


def test_waiting_is_told_from_working() -> None:
    asleep, at_work = read_cost(Source(sleeps_s=0.013)), read_cost(Source(core_s=0.002))
    assert asleep.median_ms is not None
    assert asleep.core_ms is not None
    assert at_work.core_ms is not None
    assert asleep.core_ms < 0.2 * asleep.median_ms
    assert at_work.core_ms >= 2.0


def test_a_program_that_is_run_for_a_reading_costs_what_it_takes() -> None:
    class Program(Source):
        def read(self) -> float:
            subprocess.run([sys.executable, "-S", "-c", "sum(range(300_000))"], check=True)
            return 1.0

    cost = read_cost(Program(), 5)
    assert cost.core_ms is not None
    assert cost.core_ms > read_cost(Source(), 5).core_ms  # type: ignore[operator]  # it gave readings


def test_a_sensor_that_costs_too_much_is_read_less_often() -> None:
    made = SensorMeter(FoundSensor(NANO, lambda: Source(core_s=0.0015)))
    assert made.facts.period_s >= 8 * NANO.period_s


def test_one_that_only_waits_is_not() -> None:
    made = SensorMeter(FoundSensor(replace(NANO, period_s=0.5), lambda: Source(sleeps_s=0.013)))
    assert made.facts.period_s == 0.5


class Flaky:
    """A sensor that fails now and then, as an INA3221 does when its conversion is not ready."""

    def __init__(self) -> None:
        self.asked = 0

    def read(self) -> float:
        self.asked += 1
        if self.asked % 5 == 0:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return 1000.0

    def close(self) -> None:
        """Nothing is open."""


def test_failures_are_counted_beside_the_readings() -> None:
    with SensorMeter(FoundSensor(NANO, Flaky)).recording() as recording:
        while len(recording.trace().times_ns) < 20:
            time.sleep(0.01)
        trace = recording.trace()
    assert set(trace.values) == {1000.0}
    assert len(trace.failures_ns) >= 4
    assert not set(trace.failures_ns) & set(trace.times_ns)


def nano(root: Path) -> Path:
    folder = root / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    folder.mkdir(parents=True)
    (folder / "rail_name_0").write_text("POM_5V_IN\n")
    (folder / "in_power0_input").write_text("1600\n")
    return root


def test_what_a_reading_takes_is_measured_where_the_sensor_is_and_not_said_of_a_recording(tmp_path: Path) -> None:
    found = find_sensors(nano(tmp_path), NO_PROGRAMS)
    (here, *_), (elsewhere, *_) = survey(found)[0], survey(found, is_timed=False)[0]
    assert here.cost is not None
    assert here.cost.median_ms is not None
    assert elsewhere.cost is None
    assert here.power_mw == elsewhere.power_mw == 1600.0
    assert any("a reading takes" in line and "ms of a core" in line for line in here.lines("POM_5V_IN"))
    assert not any("a reading takes" in line for line in elsewhere.lines("POM_5V_IN"))
    assert here.document()["read_core_ms"] == here.cost.core_ms
    assert elsewhere.document()["read_core_ms"] is None


def test_doctor_says_how_often_a_slow_sensor_is_read(tmp_path: Path) -> None:
    found = find_sensors(nano(tmp_path), NO_PROGRAMS)
    slow = replace(found.sensors[0], open=lambda: Source(core_s=0.0015))
    (told,), _ = survey(replace(found, sensors=(slow,)))
    assert told.period_s >= 8 * NANO.period_s
    assert told.window_s == pytest.approx(EnergySettings().window_s(replace(NANO, period_s=told.period_s)))
    assert f"so it is read {1 / told.period_s:.3g} times a second" in told.lines("")[-1]
