"""RAPL by powercap: energy counters of Intel and AMD processors, unwrapped; most systems keep them to root.

``psys`` includes the packages and is never added to them; ``intel-rapl-mmio`` counts them again and is left out.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ...profiler.energy.meter import Counts, MeterFacts
from .source import CounterFault, FoundSensor, OpenFile, Problem, opened_together, text_of

#: New about every millisecond; read less often, since a counter forgets nothing and only its ends count.
_PERIOD_S = 0.01
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
        facts = _facts(f"rapl {label}", name, "package" if is_package else name)
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
            parts.append(FoundSensor(facts, opener, parent="" if name == "psys" else _parent_of(zone)))
    return [*_together(packages), *parts], problems


def _parent_of(zone: Path) -> str:
    """The package of ``intel-rapl:0:1``, whose folder lies beside its own."""
    return text_of(zone.with_name(zone.name.rpartition(":")[0]) / "name") or "package"


def _together(packages: list[FoundSensor]) -> list[FoundSensor]:
    """All packages as one sensor: a machine with two sockets takes what both take."""
    if len(packages) == 1:
        return [FoundSensor(packages[0].facts, packages[0].open, is_whole=True)]
    if not packages:
        return []
    names = "+".join(one.facts.rail for one in packages)
    facts = _facts(f"rapl {names}", names, "package")
    return [FoundSensor(facts, partial(opened_together, [one.open for one in packages]), is_whole=True), *packages]


def _facts(name: str, rail: str, scope: str) -> MeterFacts:
    # The unit of the counter stands in a register that only root may read, and of its gain the maker says nothing.
    return MeterFacts(name, "powercap", rail, scope, Counts.ENERGY, None, _PERIOD_S, note="without memory modules")


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
