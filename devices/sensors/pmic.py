"""The power chip of the Raspberry Pi 5, by ``vcgencmd pmic_read_adc``: amperes times volts, summed over its rails.

Pairs are made by name: the numbers in brackets of a rail's current and of its voltage differ. What is missing in it is
what the 5 V rail feeds itself (USB, fan) and what conversion loses; so the sum has a scope of its own, ``pmic_sum``.
Each reading takes about 23 ms of the firmware, which is why latencies are not measured meanwhile.
"""

from __future__ import annotations

import re
from functools import partial

from ...profiler.energy.meter import Counts, MeterFacts
from ..commands import Commands
from .source import FoundSensor, Problem

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
        power_mw(answer.stdout)
    except ValueError as error:
        return [], [Problem(f"vcgencmd pmic_read_adc says something unknown: {error}")]
    return [FoundSensor(_FACTS, partial(_Pmic, commands), is_whole=True)], []


def power_mw(text: str) -> float:
    """The sum over all rails that have both a current and a voltage.

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
    total = sum(amperes[name] * volts[name] for name in sorted(pairs))
    if total != total:
        raise ValueError("a rail is not a number")
    return total * 1e3


class _Pmic:
    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    def read(self) -> float:
        answer = self._commands.run(_ARGV)
        if answer is None or answer.returncode != 0:
            raise OSError("vcgencmd gave no answer")
        return power_mw(answer.stdout)

    def close(self) -> None:
        """Nothing is kept open."""
