"""Energy from a meter's readings: laws of traces and windows, and what comes out where the truth is known."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecost.devices.virtual.power import PowerLaw, SensorErrors, VirtualBoard
from edgecost.devices.virtual.presets import LAWS, SENSORS
from edgecost.profiler.energy.estimate import converged, estimate
from edgecost.profiler.energy.meter import Counts, MeterFacts
from edgecost.profiler.energy.session import EnergySession, measure_load
from edgecost.profiler.energy.trace import Trace, at, counted_power_mw, longest_gap_s, mean_power_mw
from edgecost.profiler.energy.windows import EnergySettings, Span, Window, judge
from edgecost.profiler.errors import UsageError
from edgecost.profiler.readings import Reading

S = 1_000_000_000
SETTINGS = EnergySettings()
FACTS = MeterFacts("m", "virtual", "", "module", Counts.POWER, 1.0, 0.01, gain_error=0.01, offset_mw=5.0)
COUNTER = replace(FACTS, counts=Counts.ENERGY)

times = st.lists(st.integers(0, 10 * S), min_size=2, max_size=40, unique=True).map(sorted)
powers = st.floats(0.0, 1e5)


@given(times, powers, st.data())
def test_a_constant_power_is_the_mean_of_any_time_however_unevenly_it_was_read(
    moments: list[int], power: float, data: st.DataObject
) -> None:
    trace = Trace(moments, [power] * len(moments))
    begin = data.draw(st.integers(moments[0], moments[-1] - 1))
    end = data.draw(st.integers(begin + 1, moments[-1]))
    assert mean_power_mw(trace, begin, end) == pytest.approx(power, rel=1e-9, abs=1e-9)


@given(times, st.floats(-100, 100), powers, st.data())
def test_a_power_that_grows_evenly_is_the_mean_of_its_ends(
    moments: list[int], slope: float, start: float, data: st.DataObject
) -> None:
    trace = Trace(moments, [start + slope * moment / S for moment in moments])
    begin = data.draw(st.integers(moments[0], moments[-1] - 1))
    end = data.draw(st.integers(begin + 1, moments[-1]))
    middle = start + slope * (begin + end) / 2 / S
    assert mean_power_mw(trace, begin, end) == pytest.approx(middle, rel=1e-6, abs=1e-6)


@given(times, powers, st.data())
def test_a_counter_says_the_power_by_what_it_grew(moments: list[int], power: float, data: st.DataObject) -> None:
    trace = Trace(moments, [7.0 + power * moment / S for moment in moments])
    begin = data.draw(st.integers(moments[0], moments[-1] - 1))
    end = data.draw(st.integers(begin + 1, moments[-1]))
    assert counted_power_mw(trace, begin, end) == pytest.approx(power, rel=1e-3, abs=1e-1) or end - begin < S / 1000


@given(times, st.lists(powers, min_size=40, max_size=40), st.data())
def test_the_energies_of_two_times_add_up_to_that_of_both(
    moments: list[int], some: list[float], data: st.DataObject
) -> None:
    trace = Trace(moments, some[: len(moments)])
    first, last = moments[0], moments[-1]
    if last - first < 2:
        return
    middle = data.draw(st.integers(first + 1, last - 1))
    parts = mean_power_mw(trace, first, middle) * (middle - first) + mean_power_mw(trace, middle, last) * (
        last - middle
    )
    assert parts == pytest.approx(mean_power_mw(trace, first, last) * (last - first), rel=1e-9, abs=1e-3)


def test_there_is_no_power_where_nothing_was_read() -> None:
    trace = Trace([S, 2 * S], [5.0, 5.0])
    for begin, end in ((0, 2 * S), (S, 3 * S), (2 * S, S), (S, S)):
        with pytest.raises(ValueError, match=r"no readings|no time"):
            mean_power_mw(trace, begin, end)
    with pytest.raises(ValueError, match="no readings"):
        at(Trace([], []), S)
    assert longest_gap_s(Trace([], []), 0, S) == 1.0
    assert longest_gap_s(Trace([0, S, 4 * S], [1.0] * 3), S, 2 * S) == 3.0


def read(seconds: float, *, without: tuple[float, float] = (0.0, 0.0)) -> list[int]:
    return [n * S // 100 for n in range(round(seconds * 100)) if not without[0] <= n / 100 < without[1]]


def judged(trace: Trace, facts: MeterFacts = FACTS, *, guard: str = "") -> Window:
    before, active, after = Span(0, S), Span(2 * S, 4 * S, 50), Span(5 * S, 6 * S)
    return judge(trace, facts, before, active, after, SETTINGS, lambda span: guard if span is active else "")


def test_a_window_says_the_energy_of_a_run_and_what_of_it_is_above_idle() -> None:
    moments = read(7)
    trace = Trace(moments, [4000.0 if 1.5 * S < moment < 4.5 * S else 1000.0 for moment in moments])
    window = judged(trace)
    assert (window.gross_mj, window.net_mj, window.reason) == (160.0, 120.0, "")


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        (Trace(read(7, without=(2.5, 2.6)), [1.0] * 690), "said nothing for 0.11 s"),
        (Trace(read(3), [1.0] * 300), "from the beginning to the end"),
        (Trace([], []), "from the beginning to the end"),
        (Trace(read(7), [1.0] * 700, failures_ns=[3 * S, 3 * S + 1, 3 * S + 2]), "3 of 204 readings"),
        (Trace(read(7), [1.0] * 700, faults_ns=[3 * S]), "what cannot be"),
        (Trace(read(7), [-1.0] * 700), "cannot be"),
        (Trace(read(7)[::2], [1.0] * 350), "said 51 values of about 100"),
    ],
)
def test_readings_that_cannot_be_trusted_reject_the_window_and_leave_no_number(trace: Trace, said: str) -> None:
    window = judged(trace)
    assert said in window.reason


def test_what_the_guards_say_and_what_is_beyond_the_sensor_rejects_too() -> None:
    trace = Trace(read(7), [9000.0] * 700)
    assert judged(trace, guard="throttled").reason == "throttled"
    assert "cannot be" in judged(trace, replace(FACTS, most_mw=8000.0)).reason
    assert judged(trace).reason == ""


good_windows = st.lists(
    st.tuples(st.floats(0.9, 1.1), st.floats(0.95, 1.05)).map(
        lambda one: Window(100, 2.0 * one[0], 4000.0 * one[1], 1000.0 * one[0])
    ),
    min_size=6,
    max_size=20,
)


@given(good_windows, st.floats(0.5, 4.0))
def test_a_gain_goes_through_to_the_energies_and_to_nothing_else(windows: list[Window], gain: float) -> None:
    seen = [replace(w, active_mw=(w.active_mw or 0) * gain, idle_mw=(w.idle_mw or 0) * gain) for w in windows]
    one, other = (estimate(some, replace(FACTS, resolution=None), SETTINGS) for some in (windows, seen))
    assert one.status == other.status
    for name in ("gross_median_mj", "gross_lo_mj", "gross_hi_mj", "net_median_mj"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert (mine is None) == (theirs is None)
        assert mine is None or theirs == pytest.approx(mine * gain)


@given(good_windows, st.integers(0, 5))
def test_a_rejected_window_changes_nothing(windows: list[Window], place: int) -> None:
    rejected = Window(100, 2.0, None, None, "throttled")
    assert estimate([*windows[:place], rejected, *windows[place:]], FACTS, SETTINGS) == estimate(
        windows, FACTS, SETTINGS
    )


def test_too_few_windows_are_no_energy_and_say_why() -> None:
    rejected = Window(100, 2.0, None, None, "throttled")
    found = estimate([Window(100, 2.0, 4000.0, 1000.0)] * 5 + [rejected] * 4, FACTS, SETTINGS)
    assert (found.status, found.gross_median_mj) == (Reading.REJECTED, None)
    assert found.message == "4 of 9 windows were rejected: throttled"


@pytest.mark.parametrize(
    ("active_mw", "idle_mw", "said"),
    [(1001.5, (1000.0,) * 6, "steps of 1 mW"), (1010.0, (990.0, 1010.0, 985.0, 1015.0, 1000.0, 1000.0), "moves by")],
)
def test_what_does_not_stand_out_of_a_device_at_rest_is_below_resolution(
    active_mw: float, idle_mw: tuple[float, ...], said: str
) -> None:
    found = estimate([Window(100, 2.0, active_mw, idle) for idle in idle_mw], FACTS, SETTINGS)
    assert (found.status, found.gross_median_mj, found.net_median_mj) == (Reading.BELOW_RESOLUTION, None, None)
    assert said in found.message


def test_an_unknown_gain_or_offset_leaves_the_systematic_error_unknown() -> None:
    windows = [Window(100, 2.0, 4000.0 + n, 1000.0) for n in range(6)]
    for facts in (replace(FACTS, gain_error=None), replace(FACTS, offset_mw=None)):
        found = estimate(windows, facts, SETTINGS)
        assert found.gross_median_mj is not None
        assert (found.gross_systematic_mj, found.net_systematic_mj) == (None, None)
    known = estimate(windows, FACTS, SETTINGS)
    # Half a step, the offset and one per cent of the power, for 20 ms; in the difference the offset is gone.
    assert known.gross_systematic_mj == pytest.approx((0.5 + 5.0 + 40.025) * 0.02, rel=1e-3)
    assert known.net_systematic_mj == pytest.approx((1.0 + 30.025) * 0.02, rel=1e-3)


def test_a_meter_without_a_pace_is_refused() -> None:
    with pytest.raises(UsageError, match="something new every 0"):
        replace(FACTS, period_s=0.0)


def session(law: PowerLaw, errors: SensorErrors, facts: MeterFacts = FACTS, *, seed: int = 0) -> EnergySession:
    board = VirtualBoard(law, facts, errors, seed)
    return measure_load(board, board, SETTINGS, seed=seed)


LAW = PowerLaw(1500.0, 4000.0, 0.02, 0.001, 0.002, rise_s=0.05)


@pytest.mark.parametrize("facts", [FACTS, COUNTER])
def test_a_perfect_meter_finds_the_truth(facts: MeterFacts) -> None:
    made = session(replace(LAW, power_deviation=0.0), SensorErrors(), facts)
    assert made.energy.status is Reading.OK
    assert made.energy.gross_median_mj == pytest.approx(LAW.gross_mj, rel=0.005)
    assert made.energy.net_median_mj == pytest.approx(LAW.net_mj, rel=0.005)


def test_a_board_that_warms_up_is_measured_right_since_rests_stand_on_both_sides() -> None:
    made = session(replace(LAW, drift_mw_per_s=5.0), SensorErrors())
    assert made.energy.net_median_mj == pytest.approx(LAW.net_mj, rel=0.01)


def test_failing_readings_and_silences_are_rejected_windows_and_the_number_stays_right() -> None:
    made = session(LAW, SensorErrors(silences=((6.0, 6.4), (14.0, 14.2))))
    assert {bool(window.reason) for window in made.windows} == {True, False}
    assert made.energy.gross_median_mj == pytest.approx(LAW.gross_mj, rel=0.01)
    hopeless = session(LAW, SensorErrors(failing=0.3))
    assert (hopeless.energy.status, hopeless.energy.gross_median_mj) == (Reading.REJECTED, None)
    assert len(hopeless.windows) == SETTINGS.rejected_max + 1
    assert "readings of m failed" in hopeless.energy.message


def test_windows_that_never_agree_are_unconverged_and_keep_their_wide_interval() -> None:
    made = session(replace(LAW, power_deviation=0.2), SensorErrors())
    assert (made.energy.status, made.energy.windows) == (Reading.UNCONVERGED, SETTINGS.windows_max)
    assert not converged(made.windows, SETTINGS)


def test_the_same_seed_measures_the_same() -> None:
    assert session(LAW, SENSORS["ina3221x"].errors) == session(LAW, SENSORS["ina3221x"].errors)


@pytest.mark.parametrize("kind", sorted(SENSORS))
def test_each_kind_of_sensor_is_right_within_what_it_says_of_itself(kind: str) -> None:
    """Twenty sessions: the full evidence is ``benchmarks/energy_coverage.py``."""
    law, sensor = LAWS[kind], SENSORS[kind]
    made = [session(law, sensor.errors, sensor.facts, seed=seed).energy for seed in range(20)]
    gross = statistics.mean(one.gross_median_mj or 0.0 for one in made)
    net = statistics.mean(one.net_median_mj or 0.0 for one in made)
    assert abs(gross - law.gross_mj) <= statistics.mean(one.gross_systematic_mj or 0.0 for one in made)
    assert abs(net - law.net_mj) <= statistics.mean(one.net_systematic_mj or 0.0 for one in made)
    seen = (law.active_mw * sensor.errors.gain + sensor.errors.offset_mw) * law.run_s
    held = sum((one.gross_lo_mj or 0.0) <= seen <= (one.gross_hi_mj or 0.0) for one in made)
    # Of twenty 95 % intervals fewer than fifteen hold it once in three thousand times.
    assert held >= 15


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(sorted(SENSORS)), st.integers(0, 10_000))
def test_whatever_the_sensor_no_number_is_without_its_words(kind: str, seed: int) -> None:
    energy = session(LAWS[kind], SENSORS[kind].errors, SENSORS[kind].facts, seed=seed).energy
    assert energy.status.has_number == (energy.gross_median_mj is not None)
    assert energy.scope == SENSORS[kind].facts.scope
