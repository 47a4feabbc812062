"""RAPL by powercap: energy counters of Intel and AMD processors, unwrapped; most systems keep them to root.

``psys`` includes the packages and is never added to them; ``intel-rapl-mmio`` counts them again and is left out.
``dram`` lies below its package's folder and counts what the package does not.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from ...profiler.energy.meter import Counts, MeterFacts
from .source import CounterFault, FoundSensor, OpenFile, Problem, opened_together, text_of

#: New about every millisecond; read less often, since a counter forgets nothing and only its ends count.
_PERIOD_S = 0.01
#: What a scope has in it and what not, by what Intel's zones are of.
_NOTES = {"package": "without memory modules", "psys": "the platform, with the packages in it"}
#: Zones that no package includes.
_BESIDE = frozenset({"psys", "dram"})
_REMEDY = (
    "as root, until the next start: chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj; for good, a line in"
    " /etc/tmpfiles.d/rapl.conf: z /sys/class/powercap/intel-rapl:*/energy_uj 0444 - - -"
)


def find(root: Path) -> tuple[list[FoundSensor], list[Problem]]:
    """The packages together as the whole, and every zone by itself."""
    zones = [one for one in sorted(root.glob("sys/class/powercap/intel-rapl:*")) if "mmio" not in one.name]
    packages, parts, problems = [], [], list[Problem]()
    for zone in zones:
        name = text_of(zone / "name")
        if name is None:
            continue
        is_package = name.startswith("package") and zone.name.count(":") == 1
        label = name if is_package or name == "psys" else f"{_parent_of(zone)} {name}"
        facts = _facts(f"rapl {label}", name, "package" if is_package else name, _step_mj(zone))
        opener = partial(_Counter, zone)
        try:
            opener().close()
        except PermissionError:
            problems.append(Problem(f"rapl {label} may not be read", _REMEDY, True))
            continue
        except OSError as error:
            problems.append(Problem(f"rapl {label} cannot be read: {error.strerror}"))
            continue
        if is_package:
            packages.append(FoundSensor(facts, opener))
        else:
            parts.append(FoundSensor(facts, opener, parent="" if name in _BESIDE else _parent_of(zone)))
    return [*_together(packages, parts), *parts], problems


def _parent_of(zone: Path) -> str:
    """The package of ``intel-rapl:0:1``, whose folder lies beside its own."""
    return text_of(zone.with_name(zone.name.rpartition(":")[0]) / "name") or "package"


def _together(packages: list[FoundSensor], parts: list[FoundSensor]) -> list[FoundSensor]:
    """All packages as one sensor: a machine with two sockets takes what both take. The zones are its rails."""
    if not packages:
        return []
    beside = [one.open for one in parts]
    rails = tuple(_rail(one, one.parent) for one in parts)
    if len(packages) == 1:
        opener = partial(opened_together, [packages[0].open], beside)
        return [FoundSensor(packages[0].facts, opener, is_whole=True, rails=rails)]
    names = "+".join(one.facts.rail for one in packages)
    steps = [one.facts.resolution for one in packages if one.facts.resolution is not None]
    facts = _facts(f"rapl {names}", names, "package", sum(steps) if len(steps) == len(packages) else None)
    opener = partial(opened_together, [one.open for one in packages], beside)
    rails = (*(_rail(one, facts.name) for one in packages), *rails)
    return [FoundSensor(facts, opener, is_whole=True, rails=rails), *packages]


def _rail(zone: FoundSensor, parent: str) -> MeterFacts:
    """A zone as a rail. Two sockets have a zone ``core`` each: with the package's name they are two."""
    return replace(zone.facts, rail=zone.facts.name.removeprefix("rapl "), parent=parent)


def _step_mj(zone: Path) -> float | None:
    """A step of the counter: its unit stands in a register for root, and its range is 2^32 - 1 of them."""
    most_uj = text_of(zone / "max_energy_range_uj")
    if most_uj is None or not most_uj.isdecimal() or int(most_uj) == 0:
        return None
    return float(f"{int(most_uj) / (2**32 - 1) / 1e3:.3g}")


def _facts(name: str, rail: str, scope: str, step_mj: float | None) -> MeterFacts:
    # Of its gain the maker says nothing.
    return MeterFacts(name, "powercap", rail, scope, Counts.ENERGY, step_mj, _PERIOD_S, note=_NOTES.get(scope, ""))


class _Counter:
    """A counter in mJ that does not wrap."""

    def __init__(self, zone: Path) -> None:
        self._file = OpenFile(zone / "energy_uj")
        most = text_of(zone / "max_energy_range_uj")
        self._most_uj = int(most) if most is not None and most.isdecimal() and int(most) > 0 else None
        self._last_uj: int | None = None
        self._wrapped_uj = 0

    def read(self) -> float:
        now_uj = self._file.number()
        last_uj, self._last_uj = self._last_uj, now_uj
        if last_uj is not None and now_uj < last_uj:
            if self._most_uj is None or last_uj > self._most_uj:
                raise CounterFault(f"the counter went from {last_uj} to {now_uj} µJ, and nobody says where it wraps")
            self._wrapped_uj += self._most_uj
        return (self._wrapped_uj + now_uj) / 1e3

    def close(self) -> None:
        self._file.close()
