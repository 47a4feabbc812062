"""Energies of virtual machines: bias and coverage for each kind of sensor, and what faults do to them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgecost.devices.virtual.load import VirtualLoad
from edgecost.devices.virtual.machine import Faults, Machine
from edgecost.devices.virtual.sensors import SENSORS, SensorError, VirtualMeter
from edgecost.devices.virtual.trials import SCENES, STEADY, play, try_sensor
from edgecost.profiler.energy.meter import Meter
from edgecost.profiler.energy.session import EnergySession
from edgecost.profiler.readings import Reading


@pytest.mark.parametrize("kind", SENSORS)
def test_energies_are_unbiased_and_their_intervals_hold_for_every_kind_of_sensor(kind: str) -> None:
    facts = SENSORS[kind]
    made = try_sensor(facts, SCENES["steady"], 30)
    assert made.statuses.get("ok", 0) >= 27
    for side in (made.gross, made.net):
        assert side.bias is not None
        assert side.bias_error is not None
        assert side.systematic is not None
        assert abs(side.bias) < max(4 * side.bias_error, side.systematic / 2)
        assert side.bounds is not None
        assert side.bounds >= 0.96
        assert side.chance is not None
        # 30 sessions know a share of 95 % within 8 %; benchmarks/energy_scenes.py looks closer. A plug's steps are
        # wider than what moves at rest: every window errs by the same part of a step, which is no chance.
        assert side.chance >= 0.8 or (kind == "plug" and side is made.net)


def test_a_sensor_is_what_its_kind_says_and_errs_inside_its_bounds() -> None:
    for kind, facts in SENSORS.items():
        machine = Machine(STEADY)
        meter = VirtualMeter(machine, facts)
        assert isinstance(meter, Meter)
        with meter.recording() as recording:
            machine.run(10.0, 3000.0, times=round(50e5 * facts.period_s / 1e3))
            trace = recording.trace()
        assert len(trace.values) > 10, kind
        assert facts.resolution is not None
        assert all(abs(value / facts.resolution - round(value / facts.resolution)) < 1e-6 for value in trace.values)
        assert list(trace.times_ns) == sorted(set(trace.times_ns))
        for seed in range(50):
            error = SensorError.drawn(facts, seed)
            assert abs(error.gain) <= (facts.gain_error or 0.0)
            assert abs(error.offset_mw) <= (facts.offset_mw or 0.0)


def session(faults: Faults, *, kind: str = "ina3221x", seed: int = 3, wraps_mj: float | None = None) -> EnergySession:
    machine = Machine(replace(STEADY, faults=faults), seed)
    load = VirtualLoad(machine, 8.0, 4000.0)
    return play(load, VirtualMeter(machine, SENSORS[kind], seed, error=SensorError(), wraps_mj=wraps_mj), seed)


def test_the_same_seed_plays_the_same_session_and_another_does_not() -> None:
    one = session(Faults(failed_reads=0.002))
    assert session(Faults(failed_reads=0.002)) == one
    assert session(Faults(failed_reads=0.002), seed=4) != one


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        (Faults(failed_reads=0.2), "failed"),
        (Faults(gaps_per_s=0.5), "said nothing"),
        (Faults(undervoltage_per_s=0.5), "undervoltage"),
    ],
)
def test_what_goes_wrong_all_the_time_leaves_no_number_and_is_named(faults: Faults, reason: str) -> None:
    made = session(faults)
    assert made.energy.status is Reading.REJECTED
    assert made.energy.gross_median_mj is None
    assert reason in made.energy.message


@pytest.mark.parametrize(
    "faults",
    [Faults(failed_reads=0.002), Faults(gaps_per_s=0.02), Faults(undervoltage_per_s=0.02), Faults(stuck_per_s=0.01)],
)
def test_what_goes_wrong_now_and_then_costs_windows_and_not_the_truth(faults: Faults) -> None:
    truth = VirtualLoad(Machine(STEADY), 8.0, 4000.0).gross_mj
    for seed in range(6):
        energy = session(faults, seed=seed).energy
        if energy.gross_median_mj is not None:
            assert energy.gross_median_mj == pytest.approx(truth, rel=0.06)


def test_a_counter_that_begins_anew_where_nobody_says_is_a_fault_and_no_energy() -> None:
    made = session(Faults(), kind="rapl", wraps_mj=1500.0)
    assert made.energy.status is Reading.REJECTED
    assert "cannot be" in made.energy.message


def test_a_sensor_that_is_stuck_all_the_time_tells_nothing() -> None:
    made = session(Faults(stuck_per_s=50.0, stuck_s=1e6))
    assert made.energy.status is Reading.BELOW_RESOLUTION


def test_a_machine_heats_up_slows_down_and_says_so_and_cools_at_rest() -> None:
    machine = Machine(replace(STEADY, heat_c_per_w=15.0, throttle_c=70.0, heat_s=10.0))
    quick = machine.run(10.0, 6000.0)
    while not machine.is_throttled:
        machine.run(10.0, 6000.0)
    begin = machine.now_ns()
    assert machine.run(10.0, 6000.0) > 1.3 * quick
    assert machine.trouble(begin, machine.now_ns()) == "throttled by heat"
    machine.rest(60.0)
    assert not machine.is_throttled
    assert machine.temperature_c < 50.0
    assert machine.trouble(machine.now_ns() - 10**9, machine.now_ns()) == ""
    assert abs(machine.run(10.0, 6000.0) / quick - 1) < 0.1
