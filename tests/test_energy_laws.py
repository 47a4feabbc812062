"""Laws of gaps, gains, offsets and steps, beside those of ``test_energy.py``, on traces and a machine that is still."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecost.devices.virtual.load import VirtualLoad
from edgecost.devices.virtual.machine import Character, Machine
from edgecost.devices.virtual.power import PowerLaw, SensorErrors, VirtualBoard
from edgecost.devices.virtual.sensors import SENSORS, SensorError, VirtualMeter
from edgecost.devices.virtual.trials import play
from edgecost.profiler.energy.estimate import estimate
from edgecost.profiler.energy.meter import Counts, MeterFacts
from edgecost.profiler.energy.session import measure_load
from edgecost.profiler.energy.trace import Trace, longest_gap_s, mean_power_mw
from edgecost.profiler.energy.windows import EnergySettings, Span, Window, judge
from edgecost.profiler.readings import Reading

FACTS = MeterFacts("m", "virtual", "", "module", Counts.POWER, None, 0.01, gain_error=0.0, offset_mw=0.0)
SETTINGS = EnergySettings()
MS = 1_000_000

moments = st.lists(st.integers(1, 10_000 * MS), min_size=2, max_size=60, unique=True).map(sorted)
powers = st.floats(0.0, 1e5, allow_nan=False)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    times = draw(moments)
    values = draw(st.lists(powers, min_size=len(times), max_size=len(times)))
    return Trace(tuple(times), tuple(values))


@st.composite
def inside(draw: st.DrawFn, trace: Trace) -> tuple[int, int]:
    first, last = trace.times_ns[0], trace.times_ns[-1]
    begin = draw(st.integers(first, last - 1))
    return begin, draw(st.integers(begin + 1, last))


@given(trace=traces(), data=st.data())
def test_a_mean_power_lies_between_the_powers_that_were_read(trace: Trace, data: st.DataObject) -> None:
    mean = mean_power_mw(trace, *data.draw(inside(trace)))
    room = 1e-9 * (1 + max(trace.values))
    assert min(trace.values) - room <= mean <= max(trace.values) + room


@given(trace=traces(), gain=st.floats(0.01, 100.0), data=st.data())
def test_twice_the_gain_is_twice_the_power(trace: Trace, gain: float, data: st.DataObject) -> None:
    begin, end = data.draw(inside(trace))
    louder = Trace(trace.times_ns, [gain * value for value in trace.values])
    assert mean_power_mw(louder, begin, end) == pytest.approx(gain * mean_power_mw(trace, begin, end), rel=1e-9)


def steady(end_ms: int, *, without: range = range(0), power: float = 3000.0) -> Trace:
    """A reading every 10 ms; those that are left out failed."""
    places = range(0, end_ms + 1, 10)
    kept = [place for place in places if place not in without]
    failed = [place * MS for place in places if place in without]
    return Trace([place * MS for place in kept], [power] * len(kept), failed)


def judged(trace: Trace, facts: MeterFacts = FACTS) -> Window:
    spans = (Span(0, 500 * MS), Span(500 * MS, 2500 * MS, runs=100), Span(2500 * MS, 3000 * MS))
    return judge(trace, facts, *spans, SETTINGS, lambda _: "")


@given(begin=st.integers(0, 293), length=st.integers(0, 150))
def test_a_window_is_a_number_only_without_a_gap(begin: int, length: int) -> None:
    trace = steady(3000, without=range(10 * begin, 10 * (begin + length), 10))
    window = judged(trace)
    if longest_gap_s(trace, 0, 3000 * MS) > SETTINGS.gap_periods * FACTS.period_s or not trace.covers(0, 3000 * MS):
        assert window.reason
    if window.reason:
        assert (window.active_mw, window.idle_mw) == (None, None)
    else:
        assert window.gross_mj == pytest.approx(3000.0 * 2.0 / 100)


@settings(max_examples=40, deadline=None)
@given(
    share=st.floats(0.01, 0.5),
    period_s=st.floats(0.005, 0.2),
    active_mw=st.floats(2000.0, 9000.0),
    seed=st.integers(0, 99),
)
def test_a_reading_that_blocks_moves_no_edge(share: float, period_s: float, active_mw: float, seed: int) -> None:
    facts = replace(FACTS, period_s=period_s)
    board = VirtualBoard(PowerLaw(1000.0, active_mw, 0.011), facts, SensorErrors(blocks_s=share * period_s), seed)
    energy = measure_load(board, board, SETTINGS, seed=seed).energy
    assert energy.gross_median_mj == pytest.approx(active_mw * 0.011, rel=1e-9)
    assert energy.net_median_mj == pytest.approx((active_mw - 1000.0) * 0.011, rel=1e-9)


def windows_of(active: list[float], idle: list[float], runs: int = 100) -> list[Window]:
    return [Window(runs, 2.0, power, rest) for power, rest in zip(active, idle, strict=True)]


several = st.lists(st.floats(2000.0, 2100.0), min_size=6, max_size=20)


@given(active=several, factor=st.floats(0.1, 10.0))
def test_an_energy_goes_with_the_gain_of_its_sensor_and_against_the_number_of_runs(
    active: list[float], factor: float
) -> None:
    idle = [1000.0 + 0.1 * power for power in active]
    plain = estimate(windows_of(active, idle), FACTS, SETTINGS)
    scaled = estimate(windows_of([factor * p for p in active], [factor * p for p in idle]), FACTS, SETTINGS)
    more = estimate(windows_of(active, idle, runs=200), FACTS, SETTINGS)
    for name in ("gross_lo_mj", "gross_median_mj", "gross_hi_mj", "net_lo_mj", "net_median_mj", "net_hi_mj"):
        one = getattr(plain, name)
        assert getattr(scaled, name) == pytest.approx(factor * one)
        assert getattr(more, name) == pytest.approx(one / 2)


@given(active=several, offset=st.floats(-500.0, 500.0))
def test_an_offset_of_the_sensor_moves_gross_and_never_net(active: list[float], offset: float) -> None:
    idle = [1000.0] * len(active)
    plain = estimate(windows_of(active, idle), FACTS, SETTINGS)
    moved = estimate(windows_of([p + offset for p in active], [p + offset for p in idle]), FACTS, SETTINGS)
    assert plain.gross_median_mj is not None
    assert moved.gross_median_mj == pytest.approx(plain.gross_median_mj + offset * 2.0 / 100)
    assert moved.net_median_mj == pytest.approx(plain.net_median_mj)


@given(active=st.lists(st.floats(1000.0, 1010.0), min_size=6, max_size=20), wobble=st.floats(20.0, 100.0))
def test_what_does_not_stand_out_of_a_device_at_rest_has_no_number(active: list[float], wobble: float) -> None:
    idle = [1000.0 + wobble * (-1) ** place for place in range(len(active))]
    found = estimate(windows_of(active, idle), FACTS, SETTINGS)
    assert found.status is Reading.BELOW_RESOLUTION
    assert (found.gross_median_mj, found.net_median_mj) == (None, None)


@settings(max_examples=25, deadline=None)
@given(
    power=st.floats(2000.0, 20_000.0),
    latency_ms=st.floats(0.5, 60.0),
    gain=st.floats(-0.02, 0.02),
    kind=st.sampled_from(["ina3221x", "pmic", "rapl", "nvml", "ina226"]),
    seed=st.integers(0, 1000),
)
def test_a_machine_of_constant_power_takes_power_times_time_as_its_sensor_sees_it(
    power: float, latency_ms: float, gain: float, kind: str, seed: int
) -> None:
    still = Character(
        1000.0, jitter=0.0, outliers=0.0, flutter=0.0, ripple=0.0, drift=0.0, session=0.0, leakage_per_c=0.0,
        throttle_c=1e6,
    )  # fmt: skip
    machine, facts = Machine(still, seed), SENSORS[kind]
    load = VirtualLoad(machine, latency_ms, power)
    energy = play(load, VirtualMeter(machine, facts, seed, error=SensorError(gain)), seed).energy
    assert energy.gross_median_mj is not None
    seen = power * (1 + gain) * latency_ms / 1e3
    edges = 2 * facts.period_s / SETTINGS.window_s(facts) if facts.counts is Counts.ENERGY else 0.0
    step = 0.0 if facts.resolution is None else facts.resolution * latency_ms / 1e3
    assert energy.gross_median_mj == pytest.approx(seen, rel=1e-6 + edges, abs=0.51 * step)
