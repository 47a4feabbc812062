"""Windows → millijoules of one run: gross and net, what chance does and what all windows err by together."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..readings import Energy, Reading
from ..statistics import median, median_interval
from .meter import Counts, MeterFacts
from .windows import EnergySettings, Window

#: A workload must stand out of the idle power by so many of its deviations, or by so many steps of the sensor.
DEVIATIONS_MIN, STEPS_MIN = 3.0, 2.0


def converged(windows: Sequence[Window], settings: EnergySettings) -> bool:
    """Whether the windows that count say gross energy as closely as asked for."""
    values = [window.gross_mj for window in windows if not window.reason]
    if len(values) < settings.windows_min:
        return False
    low, high = median_interval(values)
    return (high - low) / 2 <= settings.target * median(values)


def estimate(
    windows: Sequence[Window], facts: MeterFacts, settings: EnergySettings, *, overhead_mj: float | None = None
) -> Energy:
    """The energy of one run, or why there is none.

    Chance: the 95 % interval of the median over the windows (``median_interval``), which hold each other's rests in no
    part, so that they are independent. System: half a step of the sensor, its offset and its gain; the net energy is a
    difference, in which the offset cancels. It is None where gain or offset are not known.

    Args:
        windows: active ones with the rests around them, those that do not count among them.
        overhead_mj: of a run of an empty graph, measured in the same session.
    """
    good = [window for window in windows if not window.reason]
    sensor_hash = facts.sensor().sensor_hash
    if len(good) < settings.windows_min:
        reasons = "; ".join(dict.fromkeys(window.reason for window in windows if window.reason))
        told = f"{len(windows) - len(good)} of {len(windows)} windows were rejected: {reasons}"
        return Energy(Reading.REJECTED, facts.scope, told, sensor_hash)
    idle = [window.idle_mw for window in good if window.idle_mw is not None]
    active_mw, idle_mw = median([window.active_mw or 0.0 for window in good]), median(idle)
    deviation_mw = _deviation(idle)
    told = _below(facts, active_mw, idle_mw, deviation_mw, good[0].active_s)
    if told:
        return Energy(
            Reading.BELOW_RESOLUTION,
            facts.scope,
            told,
            sensor_hash,
            idle_mw=idle_mw,
            idle_deviation_mw=deviation_mw,
            active_mw=active_mw,
            window_ms=median([window.active_s for window in good]) * 1e3,
            windows=len(good),
            runs=sum(window.runs for window in good),
        )
    return _number(good, facts, settings, overhead_mj, active_mw, idle_mw, deviation_mw)


def _number(
    good: Sequence[Window],
    facts: MeterFacts,
    settings: EnergySettings,
    overhead_mj: float | None,
    active_mw: float,
    idle_mw: float,
    deviation_mw: float,
) -> Energy:
    gross, net = [window.gross_mj for window in good], [window.net_mj for window in good]
    gross_lo, gross_hi = median_interval(gross)
    net_lo, net_hi = median_interval(net)
    run_s = median([window.active_s / window.runs for window in good])
    offset_mw, gain = facts.offset_mw, facts.gain_error
    step_mw = _step_mw(facts, median([window.active_s for window in good])) / 2
    is_known = offset_mw is not None and gain is not None
    net_median = median(net)
    has_net = net_median > 0
    return Energy(
        Reading.OK if converged(good, settings) else Reading.UNCONVERGED,
        facts.scope,
        sensor_hash=facts.sensor().sensor_hash,
        gross_median_mj=median(gross),
        gross_lo_mj=gross_lo,
        gross_hi_mj=gross_hi,
        gross_systematic_mj=(step_mw + (offset_mw or 0.0) + (gain or 0.0) * active_mw) * run_s if is_known else None,
        net_median_mj=net_median if has_net else None,
        net_lo_mj=net_lo if has_net else None,
        net_hi_mj=net_hi if has_net else None,
        # Both powers are off by half a step, and not by the same half.
        net_systematic_mj=(2 * step_mw + (gain or 0.0) * (active_mw - idle_mw)) * run_s
        if is_known and has_net
        else None,
        idle_mw=idle_mw,
        idle_deviation_mw=deviation_mw,
        active_mw=active_mw,
        overhead_mj=overhead_mj,
        window_ms=median([window.active_s for window in good]) * 1e3,
        windows=len(good),
        runs=sum(window.runs for window in good),
    )


def _step_mw(facts: MeterFacts, window_s: float) -> float:
    """A step of the sensor as power; of a counter, over a window."""
    if facts.resolution is None:
        return 0.0
    return facts.resolution if facts.counts is Counts.POWER else facts.resolution / window_s


def _below(facts: MeterFacts, active_mw: float, idle_mw: float, deviation_mw: float, window_s: float) -> str:
    """Why a workload cannot be told from a device at rest; empty when it can."""
    step_mw, above_mw = _step_mw(facts, window_s), active_mw - idle_mw
    if not active_mw > 0:
        return f"{facts.name} reads {active_mw:.3g} mW while it runs"
    if above_mw < DEVIATIONS_MIN * deviation_mw:
        return f"{above_mw:.3g} mW above idle, which itself moves by {deviation_mw:.3g} mW from rest to rest"
    if above_mw < STEPS_MIN * step_mw:
        return f"{above_mw:.3g} mW above idle, where the sensor has steps of {step_mw:.3g} mW"
    return ""


def _deviation(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
