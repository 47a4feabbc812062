"""A meter outside the device, whose clock is its own: found out by a load pattern, and read at the right moments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.costmodels.local_setting import LocalSetting
from edgecost.devices.virtual import bench as virtual_bench
from edgecost.devices.virtual.door import meter_of, open_bench
from edgecost.devices.virtual.sensors import VirtualMeter
from edgecost.profiler.energy.alignment import clock_offset_ns
from edgecost.profiler.energy.meter import EXTERNAL, MeterFacts, Recording
from edgecost.profiler.energy.trace import Trace
from edgecost.profiler.energy.windows import EnergySettings, Span
from edgecost.profiler.protocol import Settings
from edgecost.profiler.readings import Energy, Reading
from edgecost.profiler.records import Measurement
from edgecost.profiler.runtimes import BUILT_IN, resolve
from edgecost.profiler.tasks import Task
from tests.small_tasks import conv


@given(shift_ms=st.integers(-400, 400), noise=st.integers(0, 50))
def test_a_meter_whose_clock_is_off_is_found_out_by_a_load_pattern(shift_ms: int, noise: int) -> None:
    millisecond = 1_000_000
    busy = [Span(1000 * millisecond, 1700 * millisecond), Span(2200 * millisecond, 2400 * millisecond)]
    times = list(range(0, 4000 * millisecond, 20 * millisecond))
    powers = [
        (5000.0 if any(span.begin_ns <= moment <= span.end_ns for span in busy) else 2000.0) + (n * 7919 % (noise + 1))
        for n, moment in enumerate(times)
    ]
    own = Trace([moment - shift_ms * millisecond for moment in times], powers)
    found = clock_offset_ns(own, busy, 500 * millisecond, 10 * millisecond)
    assert found is not None
    assert abs(found - shift_ms * millisecond) <= 20 * millisecond


def test_a_power_that_does_not_follow_the_pattern_has_no_offset() -> None:
    millisecond = 1_000_000
    times = list(range(0, 4000 * millisecond, 20 * millisecond))
    busy = [Span(1000 * millisecond, 1700 * millisecond)]
    for powers in ([2000.0] * len(times), [2000.0 + n * 7919 % 1000 for n in range(len(times))]):
        assert clock_offset_ns(Trace(times, powers), busy, 500 * millisecond, 10 * millisecond) is None
    assert clock_offset_ns(Trace([], []), busy, millisecond, millisecond) is None


class LateMeter(VirtualMeter):
    """One whose times are its own: all of them are off by a constant."""

    def __init__(self, meter: VirtualMeter, late_ns: int) -> None:
        self.__dict__.update(meter.__dict__)
        self.late_ns = late_ns

    @property
    def facts(self) -> MeterFacts:
        return replace(super().facts, driver=EXTERNAL)

    @contextmanager
    def recording(self) -> Iterator[Recording]:  # type: ignore[override]
        with super().recording() as recording:
            yield Late(recording, self.late_ns)


@dataclass(frozen=True)
class Late:
    recording: Recording
    late_ns: int

    def trace(self) -> Trace:
        found = self.recording.trace()
        return replace(found, times_ns=tuple(moment + self.late_ns for moment in found.times_ns))


def energy_with(late_s: float, *, is_aligned: bool) -> Measurement:
    """Of one graph on a virtual board, by its own meter that is so late."""
    profile = resolve(BUILT_IN["virtual-nano"])
    meter = meter_of(profile, None)
    assert isinstance(meter, VirtualMeter)
    late = LateMeter(meter, round(late_s * 1e9))
    setting = LocalSetting.here(profile)
    with open_bench(profile) as bench:
        measuring = virtual_bench.VirtualEnergyBench(Settings(), bench, late, EnergySettings())
        if not is_aligned:
            measuring._align = lambda *_: None  # type: ignore[method-assign]
        return measuring.measure(Task(conv(64).workload, "energy"), setting.stage)


def number(made: Measurement) -> Energy:
    assert made.energy is not None
    assert made.energy.status in (Reading.OK, Reading.UNCONVERGED), made.energy
    return made.energy


@pytest.fixture(autouse=True)
def same_chances(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every session has the same, so that two differ by their meter alone."""
    monkeypatch.setattr(virtual_bench, "_new_session", lambda seed: seed)


@pytest.mark.parametrize("late_s", [-2.0, 1.3, 2.6])
def test_a_meter_that_is_late_is_read_as_if_it_were_not(late_s: float) -> None:
    punctual, late = energy_with(0.0, is_aligned=True), energy_with(late_s, is_aligned=True)
    assert number(late).net_median_mj == pytest.approx(number(punctual).net_median_mj, rel=0.03)
    offset_ms = late.conditions["meter_offset_ms"]
    assert isinstance(offset_ms, float)
    assert offset_ms == pytest.approx(-late_s * 1e3, abs=60)


def test_without_it_a_late_meter_says_another_energy() -> None:
    # A test of the test: what is moved above has to matter.
    made = energy_with(2.6, is_aligned=False).energy
    assert made is not None
    right = number(energy_with(0.0, is_aligned=True)).net_median_mj
    assert made.net_median_mj is None or made.net_median_mj != pytest.approx(right, rel=0.1)
