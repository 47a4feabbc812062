"""Waits until a board is as cool as it was, so that one measurement does not begin in the heat of another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

#: As FAI-PEP's ``--cooldown`` has it.
COOLDOWN_MAX_S = 180.0
#: Above the coolest that this process has seen: our choice, far from where anything throttles.
ABOVE_MAX_CELSIUS = 10.0
_LOOK_S = 2.0

#: Temperatures by zone; None where one could not be read.
Temperatures = Mapping[str, float | None]


@dataclass(frozen=True)
class Cooldown:
    """What became of waiting.

    Attributes:
        hot: the zones that were still above; empty when the board was cool.
    """

    waited_s: float
    hot: str = ""


@dataclass
class Baseline:
    """The coolest that each zone was seen: a board that starts hot gets a better one as it cools."""

    coolest: dict[str, float] = field(default_factory=dict)

    def learn(self, temperatures: Temperatures) -> None:
        for zone, celsius in temperatures.items():
            if celsius is not None:
                self.coolest[zone] = min(celsius, self.coolest.get(zone, celsius))

    def above(self, temperatures: Temperatures) -> str:
        """The zones that are too hot, and those that told before and do not now; empty for none."""
        found = []
        for zone, base in self.coolest.items():
            celsius = temperatures.get(zone)
            if celsius is None:
                found.append(f"{zone} unknown")
            elif celsius > base + ABOVE_MAX_CELSIUS:
                found.append(f"{zone} {celsius:.1f} °C, {celsius - base:.1f} above its coolest")
        return ", ".join(found)


def wait_until_cool(
    read: Callable[[], Temperatures],
    baseline: Baseline,
    *,
    most_s: float = COOLDOWN_MAX_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Cooldown:
    """Wait, but no longer than ``most_s``."""
    begin = clock()
    while True:
        now = read()
        baseline.learn(now)
        hot, waited_s = baseline.above(now), clock() - begin
        if not hot or waited_s >= most_s:
            return Cooldown(waited_s, hot)
        sleep(min(_LOOK_S, most_s - waited_s))
