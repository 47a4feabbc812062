"""A machine that is played around a law: a clock of its own, noise, drift, heat and faults. Everything from one seed.

It runs what costs so many milliseconds and milliwatts, and rests; real time does not pass. What a run costs is the
law's business, what a sensor makes of the power is ``sensors``'.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from .timeline import Timeline

_NS_PER_S = 1e9


@dataclass(frozen=True)
class Faults:
    """What goes wrong, and how often; nothing unless asked for.

    Attributes:
        failed_reads: share of a sensor's readings that fail.
        gaps_per_s, gap_s: how often a sensor falls silent, and for how long.
        stuck_per_s, stuck_s: how often it says one value again and again, and for how long.
        undervoltage_per_s, undervoltage_s: how often the supply sags, and for how long; the machine says so.
        hangs_per_run: share of the runs that never end.
    """

    failed_reads: float = 0.0
    gaps_per_s: float = 0.0
    gap_s: float = 1.0
    stuck_per_s: float = 0.0
    stuck_s: float = 5.0
    undervoltage_per_s: float = 0.0
    undervoltage_s: float = 0.5
    hangs_per_run: float = 0.0


@dataclass(frozen=True)
class Character:
    """How a machine is, beside its law. Powers are of the whole machine.

    Attributes:
        idle_mw: what it takes at rest.
        jitter: relative deviation of the time of a run (lognormal).
        outliers, outlier_factor: share of runs that something interrupts, and how much longer these take.
        flutter, flutter_s: relative deviation of the power from what it should be, and for how long it stays so.
        ripple: within a run the power is this share above the mean in the first half and below it in the second.
        drift, drift_s: relative deviation of the speed from session to session and within it, and its pace.
        session: relative deviation of the speed of a whole session: memory falls otherwise in every process.
        ambient_c, heat_c_per_w, heat_s: temperature without load, what a watt adds to it in the end, and how fast.
        leakage_per_c: what a degree above ambient adds to the power.
        throttle_c, throttle_speed: above this temperature the clock is this share of what it was; the power, too.
        memory_bytes: more cannot be had.
    """

    idle_mw: float
    jitter: float = 0.01
    outliers: float = 0.002
    outlier_factor: float = 1.5
    flutter: float = 0.02
    flutter_s: float = 0.3
    ripple: float = 0.1
    drift: float = 0.003
    drift_s: float = 600.0
    session: float = 0.003
    ambient_c: float = 25.0
    heat_c_per_w: float = 5.0
    heat_s: float = 60.0
    leakage_per_c: float = 0.001
    throttle_c: float = 80.0
    throttle_speed: float = 0.7
    memory_bytes: int = 4 << 30
    faults: Faults = field(default_factory=Faults)

    @property
    def mean_stretch(self) -> float:
        """How much longer runs are on average than the law says: the jitter has a mean of 1, interruptions add."""
        return 1.0 + self.outliers * (self.outlier_factor - 1.0)


class Machine:
    """A machine in a session. It is as warm as the room at first.

    Attributes:
        timeline: what it took until now.
        troubles: when it throttled or its supply sagged: beginning, end and what.
    """

    def __init__(self, character: Character, seed: int = 0, begin_ns: int = 1_000_000_000) -> None:
        self.character = character
        self.timeline = Timeline(begin_ns)
        self.troubles: list[tuple[int, int, str]] = []
        self.temperature_c = character.ambient_c
        self._dice = random.Random(seed)
        self._session = self._lognormal(character.session)
        self._flutter = self._dice.gauss(0.0, character.flutter)
        self._drift = self._dice.gauss(0.0, character.drift)
        self._is_throttled = False

    def now_ns(self) -> int:
        """By its own clock."""
        return self.timeline.end_ns

    @property
    def is_throttled(self) -> bool:
        return self._is_throttled

    def run(self, latency_ms: float, active_mw: float, times: int = 1) -> int:
        """Run so many times what takes this long and this power; ns that it took. ``times`` share their chance."""
        one, begin_ns = self.character, self.now_ns()
        stretch = self._session * math.exp(self._drift) * self._lognormal(one.jitter / math.sqrt(times))
        stretch *= 1.0 + self._interrupted(times) * (one.outlier_factor - 1.0)
        power_mw = active_mw
        if self._is_throttled:
            stretch /= one.throttle_speed
            power_mw = one.idle_mw + (active_mw - one.idle_mw) * one.throttle_speed
        length_ns = max(2, round(latency_ms * 1e6 * times * stretch))
        if times == 1 and one.ripple:
            self._take(length_ns // 2, power_mw * (1.0 + one.ripple))
            self._take(length_ns - length_ns // 2, power_mw * (1.0 - one.ripple))
        else:
            self._take(length_ns, power_mw)
        return self.now_ns() - begin_ns

    def rest(self, seconds: float, grain_s: float = 0.01) -> None:
        """Do nothing, in steps that the power of a machine at rest flutters in."""
        left_ns, grain_ns = round(seconds * _NS_PER_S), max(1, round(grain_s * _NS_PER_S))
        while left_ns > 0:
            step_ns = min(grain_ns, left_ns)
            self._take(step_ns, self.character.idle_mw)
            left_ns -= step_ns

    def hangs(self) -> bool:
        """Whether the next run never ends."""
        rate = self.character.faults.hangs_per_run
        return rate > 0 and self._dice.random() < rate

    def trouble(self, begin_ns: int, end_ns: int) -> str:
        """What was wrong with the machine in a time; empty when nothing was."""
        told = dict.fromkeys(what for begin, end, what in self.troubles if begin <= end_ns and end >= begin_ns)
        return ", ".join(told)

    def _take(self, length_ns: int, power_mw: float) -> None:
        one, seconds, begin_ns = self.character, length_ns / _NS_PER_S, self.now_ns()
        self._flutter = self._moved(self._flutter, one.flutter, seconds / one.flutter_s)
        self._drift = self._moved(self._drift, one.drift, seconds / one.drift_s)
        warmth = 1.0 + one.leakage_per_c * (self.temperature_c - one.ambient_c)
        taken_mw = max(0.0, power_mw * warmth * (1.0 + self._flutter))
        self.timeline.add(length_ns, taken_mw)
        target_c = one.ambient_c + one.heat_c_per_w * taken_mw / 1e3
        self.temperature_c = target_c + (self.temperature_c - target_c) * math.exp(-seconds / one.heat_s)
        self._watch(begin_ns, seconds)

    def _watch(self, begin_ns: int, seconds: float) -> None:
        """Heat slows the machine down until it is five degrees cooler; the supply sags when chance will have it."""
        one = self.character
        limit_c = one.throttle_c - (5.0 if self._is_throttled else 0.0)
        self._is_throttled = self.temperature_c > limit_c
        if self._is_throttled:
            self._note(begin_ns, self.now_ns(), "throttled by heat")
        rate = one.faults.undervoltage_per_s
        if rate > 0 and self._dice.random() < rate * seconds:
            self._note(begin_ns, begin_ns + round(one.faults.undervoltage_s * _NS_PER_S), "undervoltage")

    def _note(self, begin_ns: int, end_ns: int, what: str) -> None:
        if self.troubles and self.troubles[-1][2] == what and self.troubles[-1][1] >= begin_ns:
            begin_ns = self.troubles.pop()[0]
        self.troubles.append((begin_ns, end_ns, what))

    def _interrupted(self, times: int) -> float:
        """Share of the runs that something interrupts."""
        share = self.character.outliers
        return share if times > 1 else float(self._dice.random() < share)

    def _lognormal(self, deviation: float) -> float:
        """Around 1, which is its mean."""
        return math.exp(self._dice.gauss(-deviation * deviation / 2, deviation)) if deviation else 1.0

    def _moved(self, value: float, deviation: float, share: float) -> float:
        """One step of an Ornstein-Uhlenbeck process, exact for a step of any length (Gillespie 1996)."""
        kept = math.exp(-share)
        return value * kept + self._dice.gauss(0.0, deviation * math.sqrt(1.0 - kept * kept)) if deviation else 0.0
