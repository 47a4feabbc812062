"""Are the energies true? Hundreds of sessions on virtual machines whose energies are known, and how they came out.

The statement that is put to the test is that of ``profiler.energy.estimate``: its interval is what chance does, its
systematic bound what all windows of a sensor err by together.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from ...profiler.energy.meter import MeterFacts
from ...profiler.energy.session import EnergySession, Load, measure_load
from ...profiler.energy.windows import EnergySettings, Span
from ...profiler.records import Json
from ...profiler.statistics import median
from .load import VirtualLoad
from .machine import Character, Machine
from .sensors import SensorError, VirtualMeter

#: A machine as warm as it will be, that does not drift: there one number is the truth of every session.
STEADY = Character(1500.0, drift=0.0, session=0.0, leakage_per_c=0.0)


@dataclass(frozen=True)
class Scene:
    """What a session meets.

    Attributes:
        latency_ms, active_mw: of a run; a range draws one for each session.
        is_jittered: as ``VirtualMeter``.
    """

    name: str
    character: Character = STEADY
    latency_ms: tuple[float, float] = (2.0, 30.0)
    active_mw: tuple[float, float] = (2200.0, 6000.0)
    is_jittered: bool = True


#: What could bias the number or its interval, one after the other.
SCENES: Mapping[str, Scene] = {
    one.name: one
    for one in (
        Scene("steady"),
        # The steps of the sensor are all that there is to see.
        Scene("quiet", replace(STEADY, flutter=0.0005, jitter=0.001, ripple=0.0, outliers=0.0)),
        Scene("noisy", replace(STEADY, flutter=0.08, jitter=0.03, outliers=0.02)),
        # Runs as long as the period of a Nano's sensor, with two halves of different power.
        Scene("in step", replace(STEADY, jitter=0.0002, ripple=0.25, outliers=0.0), latency_ms=(20.0, 20.0)),
        Scene(
            "in step, read at a steady pace",
            replace(STEADY, jitter=0.0002, ripple=0.25, outliers=0.0),
            latency_ms=(20.0, 20.0),
            is_jittered=False,
        ),
        # It begins cold and warms up; its speed wanders.
        Scene("warming up", Character(1500.0, leakage_per_c=0.003)),
    )
}


@dataclass(frozen=True)
class Side:
    """How one of the two energies came out, relative to the truth; None where no session said a number.

    Attributes:
        bias, bias_error: mean of all sessions, and its standard error.
        spread: deviation from session to session.
        chance: share of the intervals that hold what this very sensor would say of the truth.
        bounds: share of the intervals, widened by the systematic bound, that hold the truth.
        systematic: the stated bound, median.
    """

    bias: float | None
    bias_error: float | None
    spread: float | None
    chance: float | None
    bounds: float | None
    systematic: float | None


@dataclass(frozen=True)
class Outcome:
    """What became of the sessions with one sensor in one scene."""

    sensor: str
    scene: str
    sessions: int
    statuses: Mapping[str, int]
    windows: float
    gross: Side
    net: Side

    def document(self) -> dict[str, Json]:
        """As JSON."""
        return {**asdict(self), "statuses": dict(self.statuses)}


@dataclass
class _Spans:
    """A load that keeps what it ran."""

    load: VirtualLoad
    kept: list[Span] = field(default_factory=list)

    def run(self, lead_s: float, window_s: float) -> Span:
        self.kept.append(self.load.run(lead_s, window_s))
        return self.kept[-1]

    def rest(self, seconds: float) -> Span:
        return self.load.rest(seconds)


@dataclass(frozen=True)
class _Trial:
    """One session: what is true, what its sensor would say of it, and what was measured, in mJ of a run."""

    truth: float
    shown: float
    low: float
    median: float
    high: float
    systematic: float


def play(load: Load, meter: VirtualMeter, seed: int, settings: EnergySettings | None = None) -> EnergySession:
    """One session by the clock of the meter's machine, which says what ails it."""
    machine = meter.machine

    def guard(span: Span) -> str:
        return machine.trouble(span.begin_ns, span.end_ns)

    return measure_load(load, meter, settings or EnergySettings(), guard=guard, seed=seed)


def try_sensor(facts: MeterFacts, scene: Scene, sessions: int, *, seed: int = 0) -> Outcome:
    """So many sessions, each on another machine, with another copy of the sensor and another workload."""
    gross: list[_Trial] = []
    net: list[_Trial] = []
    statuses: Counter[str] = Counter()
    windows = 0
    for session in range(seed, seed + sessions):
        dice = random.Random(session)
        machine = Machine(scene.character, session)
        grain_s = max(0.002, facts.period_s / 8)
        load = _Spans(VirtualLoad(machine, dice.uniform(*scene.latency_ms), dice.uniform(*scene.active_mw), grain_s))
        error = SensorError.drawn(facts, session)
        made = play(load, VirtualMeter(machine, facts, session, error=error, is_jittered=scene.is_jittered), session)
        energy = made.energy
        statuses[energy.status.value] += 1
        windows += len(made.windows)
        true_gross, true_net = _truths(load, scene)
        run_s = sum(span.seconds for span in load.kept) / sum(span.runs for span in load.kept)
        shown = true_gross * (1 + error.gain) + error.offset_mw * run_s
        gross += _trial(
            true_gross, shown,
            energy.gross_lo_mj, energy.gross_median_mj, energy.gross_hi_mj, energy.gross_systematic_mj,
        )  # fmt: skip
        net += _trial(
            true_net, true_net * (1 + error.gain),
            energy.net_lo_mj, energy.net_median_mj, energy.net_hi_mj, energy.net_systematic_mj,
        )  # fmt: skip
    return Outcome(
        facts.name.removeprefix("virtual "), scene.name, sessions, dict(statuses), windows / sessions,
        _side(gross), _side(net),
    )  # fmt: skip


def _truths(load: _Spans, scene: Scene) -> tuple[float, float]:
    """Gross and net: by the law where the machine is steady, else what it did take in its windows."""
    one = scene.character
    if not one.drift and not one.session and not one.leakage_per_c:
        return load.load.gross_mj, load.load.net_mj
    line = load.load.machine.timeline
    runs = sum(span.runs for span in load.kept)
    taken = sum(line.energy_mj(span.end_ns) - line.energy_mj(span.begin_ns) for span in load.kept)
    # Heat and flutter change both powers by the same share.
    return taken / runs, taken / runs * (1 - one.idle_mw / load.load.active_mw)


def _trial(
    truth: float, shown: float, low: float | None, middle: float | None, high: float | None, systematic: float | None
) -> list[_Trial]:
    if low is None or middle is None or high is None or systematic is None:
        return []
    return [_Trial(truth, shown, low, middle, high, systematic)]


def _side(trials: Sequence[_Trial]) -> Side:
    if len(trials) < 2:
        return Side(None, None, None, None, None, None)
    errors = [one.median / one.shown - 1 for one in trials]
    mean = sum(errors) / len(errors)
    spread = (sum((error - mean) ** 2 for error in errors) / (len(errors) - 1)) ** 0.5
    return Side(
        bias=mean,
        bias_error=spread / len(errors) ** 0.5,
        spread=spread,
        chance=sum(one.low <= one.shown <= one.high for one in trials) / len(trials),
        bounds=sum(one.low - one.systematic <= one.truth <= one.high + one.systematic for one in trials) / len(trials),
        systematic=median([one.systematic / one.truth for one in trials]),
    )
