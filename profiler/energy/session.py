"""The windows of one workload: run, rest, run, until they agree or the limit; by the clock that the meter goes by."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..readings import Energy
from .estimate import converged, estimate
from .meter import Meter, MeterFacts
from .rails import RailSession, judge_rails, rails_of
from .windows import EnergySettings, Guard, Span, Window, judge

#: How many windows' worth of readings may be missing at the end of a trace before the last ones are judged: the meter
#: may say the last value of a window a little after its end.
_PATIENCE_PERIODS = 3.0


class Load(Protocol):
    """What can be run again and again, and left alone."""

    def run(self, lead_s: float, window_s: float) -> Span:
        """Run for a lead, then for a window at the least, then for a lead again; the window, and the runs in it.

        The window begins and ends between two runs; the load is the same before its beginning and after its end.
        """

    def rest(self, seconds: float) -> Span:
        """Do nothing for a time: from its beginning to its end."""


@dataclass(frozen=True)
class EnergySession:
    """What became of one workload.

    Attributes:
        windows: in order of time, with those that do not count.
        rails: the same windows of each rail that the meter reads beside the whole.
    """

    energy: Energy
    windows: tuple[Window, ...]
    rails: tuple[RailSession, ...] = ()

    @property
    def gross_by_rail_mj(self) -> Mapping[str, float | None]:
        """Gross energies of the rails by name."""
        return {one.facts.rail: one.energy.gross_median_mj for one in self.rails}


def measure_load(
    load: Load,
    meter: Meter,
    settings: EnergySettings,
    *,
    guard: Guard = lambda _: "",
    overhead_mj: float | None = None,
    rail_overheads_mj: Mapping[str, float | None] | None = None,
    seed: int = 0,
) -> EnergySession:
    """Interleave rests and active windows until the energy is known as closely as asked for, or will not be.

    A rest between two active windows belongs to both: its first half to the one before, its second to the one after,
    so that no reading counts twice and windows stay independent. Before each window the load runs on for a random part
    of the meter's period, so that it is never read at the same phase.

    Rails have the windows of the whole, which alone says when there are enough.

    Raises:
        MeterError: the meter cannot be read.
    """
    facts, dice = meter.facts, random.Random(seed)
    window_s, settle_s = settings.window_s(facts), settings.settle_for_s(facts)
    windows: list[Window] = []
    spans: list[tuple[Span, Span, Span]] = []
    with meter.recording() as recording:
        rest = _rest(load, facts, settle_s, window_s, dice)
        rejected = 0
        while rejected <= settings.rejected_max and _good(windows) < settings.windows_max:
            active = load.run(settle_s + dice.uniform(0, facts.period_s), window_s)
            after = _rest(load, facts, settle_s, window_s, dice)
            spans.append((_second_half(rest), active, _first_half(after)))
            made = judge(recording.trace(), facts, *spans[-1], settings, guard)
            windows.append(made)
            rejected, rest = (rejected + 1 if made.reason else 0), after
            if converged(windows, settings):
                break
        rails = judge_rails(recording, rails_of(meter), spans, windows, settings, rail_overheads_mj or {})
    return EnergySession(estimate(windows, facts, settings, overhead_mj=overhead_mj), tuple(windows), rails)


def _rest(load: Load, facts: MeterFacts, settle_s: float, window_s: float, dice: random.Random) -> Span:
    """The part of a rest in which readings say nothing of the load before, nor of the one after."""
    whole = load.rest(settle_s + dice.uniform(0, facts.period_s) + window_s + _PATIENCE_PERIODS * facts.period_s)
    begin = whole.end_ns - round((window_s + _PATIENCE_PERIODS * facts.period_s) * 1e9)
    return Span(begin, begin + round(window_s * 1e9))


def _first_half(span: Span) -> Span:
    return Span(span.begin_ns, (span.begin_ns + span.end_ns) // 2)


def _second_half(span: Span) -> Span:
    return Span((span.begin_ns + span.end_ns) // 2, span.end_ns)


def _good(windows: Sequence[Window]) -> int:
    return sum(not window.reason for window in windows)
