"""The power chip of the Raspberry Pi 5, by ``vcgencmd pmic_read_adc``: amperes times volts, summed over its rails.

Pairs are made by name: the numbers in brackets of a rail's current and of its voltage differ. What is missing in it is
what the 5 V rail feeds itself (USB, fan) and what conversion loses; so the sum has a scope of its own, ``pmic_sum``.
Each reading takes about 23 ms of the firmware, which is why latencies are not measured meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from ...profiler.energy.meter import Counts, MeterFacts
from ..commands import Commands
from .source import FoundSensor, Known, Problem, Railed

_ARGV = ("vcgencmd", "pmic_read_adc")
_LINE = re.compile(r"\s*(\w+)_([AV])\s+(?:current|volt)\(\d+\)=([0-9.]+|nan)[AV]\s*")
_PERIOD_S = 0.1
_FACTS = MeterFacts(
    "pmic", "pmic", "", "pmic_sum", Counts.POWER, None, _PERIOD_S, disturbs=True,
    note="without USB, fan and conversion losses",
)  # fmt: skip


def find(commands: Commands) -> tuple[list[FoundSensor], list[Problem]]:
    """The sum of the rails, where there is such a chip."""
    answer = commands.run(_ARGV)
    if answer is None or "not registered" in answer.stdout:
        return [], []  # no Raspberry Pi, or one without it
    if answer.returncode != 0 or not answer.stdout.strip():
        what = (answer.stderr or answer.stdout).strip().partition("\n")[0]
        return [], [Problem(f"vcgencmd cannot be used: {what}", "join the group video, and log in again", True)]
    try:
        names = list(rails_mw(answer.stdout))
    except ValueError as error:
        return [], [Problem(f"vcgencmd pmic_read_adc says something unknown: {error}")]
    # What hangs on a rail is known by its name only: its scope is no more than that.
    rails = tuple(
        replace(_FACTS, name=f"pmic {name}", rail=name, scope="rail", note="", parent=_FACTS.name) for name in names
    )
    return [FoundSensor(_FACTS, partial(_opened, commands, names), is_whole=True, rails=rails)], []


def _opened(commands: Commands, names: Sequence[str]) -> Railed:
    whole = _Pmic(commands)
    return Railed(whole, [Known(partial(whole.last, name)) for name in names])


def power_mw(text: str) -> float:
    """The sum over all rails; raises as ``rails_mw``."""
    return sum(rails_mw(text).values())


def rails_mw(text: str) -> dict[str, float]:
    """Each rail that has both a current and a voltage, by name.

    Raises:
        ValueError: there is none, or a value of one is no number: a sum without it would be too low.
    """
    amperes: dict[str, float] = {}
    volts: dict[str, float] = {}
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is not None:
            (amperes if found.group(2) == "A" else volts)[found.group(1)] = float(found.group(3))
    pairs = amperes.keys() & volts.keys()
    if not pairs:
        raise ValueError(f"no rail in {text[:80]!r}")
    rails = {name: amperes[name] * volts[name] * 1e3 for name in sorted(pairs)}
    if any(value != value for value in rails.values()):
        raise ValueError("a rail is not a number")
    return rails


class _Pmic:
    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._last: Mapping[str, float] = {}

    def read(self) -> float:
        self._last = {}
        answer = self._commands.run(_ARGV)
        if answer is None or answer.returncode != 0:
            raise OSError("vcgencmd gave no answer")
        self._last = rails_mw(answer.stdout)
        return sum(self._last.values())

    def last(self, name: str) -> float:
        """What a rail took in the last reading; raises OSError where that gave nothing."""
        if name not in self._last:
            raise OSError(f"{name} was not read")
        return self._last[name]

    def close(self) -> None:
        """Nothing is kept open."""
