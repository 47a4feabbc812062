"""How long a graph runs and the device rests, what a window is, and why one does not count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from ..records import Json
from .meter import Counts, MeterFacts
from .trace import Trace, counted_power_mw, longest_gap_s, mean_power_mw


@dataclass(frozen=True)
class EnergySettings:
    """How long to measure energy.

    Attributes:
        target: stop at this relative half-width of the 95 % interval of the median over windows.
        windows_min: active windows before stopping is considered: with fewer than six there is no such interval.
        windows_max: after which it is stored ``unconverged``.
        readings_min: readings of a power meter in a window, at the least.
        edge_error: what the beginning and the end of a window may err by, relative to its energy: where the meter says
            something new every τ seconds, a window of T is off by 2τ/T at the most.
        window_min_s: windows are no shorter than this, however fast the meter.
        settle_s: after a change of load the device settles so long before a window begins, at the least.
        rejected_max: windows in a row that may be rejected before the energy is.
        gap_periods, achieved_min, failures_max: a window is rejected where the meter was silent for so many periods,
            said less than this share of what it should, or failed for more than this share.
    """

    target: float = 0.02
    windows_min: int = 6
    windows_max: int = 20
    readings_min: int = 100
    edge_error: float = 0.02
    window_min_s: float = 0.5
    settle_s: float = 0.5
    rejected_max: int = 3
    gap_periods: float = 5.0
    achieved_min: float = 0.8
    failures_max: float = 0.01

    def window_s(self, facts: MeterFacts) -> float:
        """Length of an active window: enough readings, and edges that do not count."""
        of_edges = 2 * facts.period_s / self.edge_error
        of_readings = self.readings_min * facts.period_s if facts.counts is Counts.POWER else 0.0
        return max(self.window_min_s, of_edges, of_readings)

    def settle_for_s(self, facts: MeterFacts) -> float:
        """From a change of load to where readings say nothing of what was before."""
        return max(self.settle_s, facts.averages_s + 2 * facts.period_s)


@dataclass(frozen=True)
class Span:
    """A time, by the monotonic clock, in which the load stayed what it was."""

    begin_ns: int
    end_ns: int
    runs: int = 0

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.begin_ns) / 1e9


@dataclass(frozen=True)
class Window:
    """An active window and the rests before and after it.

    Attributes:
        active_mw: mean power while the graph ran.
        idle_mw: of the rests, each of them half; None where one could not be read.
        reason: why it does not count; empty when it does.
    """

    runs: int
    active_s: float
    active_mw: float | None
    idle_mw: float | None
    reason: str = ""

    @property
    def gross_mj(self) -> float:
        """Of one run."""
        assert self.active_mw is not None, "asked of windows that count"
        return self.active_mw * self.active_s / self.runs

    @property
    def net_mj(self) -> float:
        """Of one run, less what the device takes at rest; chance may bring it below 0."""
        assert self.active_mw is not None, "asked of windows that count"
        assert self.idle_mw is not None, "asked of windows that count"
        return (self.active_mw - self.idle_mw) * self.active_s / self.runs

    def document(self) -> dict[str, Json]:
        """As JSON, for whoever asks later why an attempt was rejected."""
        return asdict(self)


#: What else is wrong with a time (throttling, too low a supply): empty when nothing is.
Guard = Callable[[Span], str]


def judge(
    trace: Trace, facts: MeterFacts, before: Span, active: Span, after: Span, settings: EnergySettings, guard: Guard
) -> Window:
    """What the meter said of one active window and the rests around it, or why that does not count."""
    for span in (before, active, after):
        reason = _reading_fault(trace, facts, span, settings) or guard(span)
        if reason:
            return Window(active.runs, active.seconds, None, None, reason)
    power = mean_power_mw if facts.counts is Counts.POWER else counted_power_mw
    active_mw, *idle_mw = (power(trace, span.begin_ns, span.end_ns) for span in (active, before, after))
    reason = _impossible(facts, [active_mw, *idle_mw])
    return Window(active.runs, active.seconds, active_mw, sum(idle_mw) / len(idle_mw), reason)


def _reading_fault(trace: Trace, facts: MeterFacts, span: Span, settings: EnergySettings) -> str:
    """What was wrong with the readings of a time; empty when nothing was."""
    begin, end = span.begin_ns, span.end_ns
    if any(begin <= moment <= end for moment in trace.faults_ns):
        return f"{facts.name} said what cannot be"
    if not trace.covers(begin, end):
        return f"{facts.name} said nothing from the beginning to the end of the window"
    inside = trace.between(begin, end)
    made = inside.stop - inside.start
    failed = sum(begin <= moment <= end for moment in trace.failures_ns)
    if failed > settings.failures_max * (made + failed):
        return f"{failed} of {made + failed} readings of {facts.name} failed"
    gap_s = longest_gap_s(trace, begin, end)
    if gap_s > settings.gap_periods * facts.period_s:
        return f"{facts.name} said nothing for {gap_s:.3g} s, and should say something every {facts.period_s:.3g} s"
    expected = span.seconds / facts.period_s
    if made < settings.achieved_min * expected - 1:
        return f"{facts.name} said {made} values of about {expected:.0f}"
    return ""


def _impossible(facts: MeterFacts, powers_mw: list[float]) -> str:
    for power in powers_mw:
        if power < 0 or (facts.most_mw is not None and power > facts.most_mw):
            return f"{power:.0f} mW cannot be: {facts.name} reads 0 to {facts.most_mw or 'any'} mW"
    return ""
