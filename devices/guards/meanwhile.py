"""What moved while something was measured, as numbers that stay with it: lowest, highest, and mean over the looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ...profiler.records import Json
from .judging import Manner
from .snapshot import Snapshot

#: Of a file of cpufreq, and of one of devfreq.
_KHZ_PER_MHZ, _HZ_PER_MHZ = 1e3, 1e6


def meanwhile(looks: Sequence[Snapshot], manner: Manner) -> dict[str, Json]:
    """Clocks of what was measured on, all temperatures and the supply; what no look could read is left out.

    The kernel's clock of a Raspberry Pi is its wish; the firmware's, beside it, is what was given.
    """
    clocks = (
        {
            name: None if reading.now is None else reading.now / _per_mhz(name, manner)
            for name, reading in look.clocks.items()
            if manner.concerns(name) or name not in manner.cpu_clocks
        }
        for look in looks
    )
    found = {
        "clocks_mhz": _spans(clocks),
        "temperatures_celsius": _spans(look.temperatures_celsius for look in looks),
        "supplies_mv": _spans(look.supplies_mv for look in looks),
    }
    kept: dict[str, Json] = {what: spans for what, spans in found.items() if spans}
    return {"meanwhile": {"looks": len(looks), **kept}} if kept else {}


def _per_mhz(name: str, manner: Manner) -> float:
    return _KHZ_PER_MHZ if name in manner.cpu_clocks else _HZ_PER_MHZ


def _spans(looks: Iterable[Mapping[str, float | None]]) -> dict[str, Json]:
    read: dict[str, list[float]] = {}
    for look in looks:
        for name, value in look.items():
            if value is not None:
                read.setdefault(name, []).append(value)
    return {
        name: {"min": min(values), "mean": round(sum(values) / len(values), 3), "max": max(values)}
        for name, values in sorted(read.items())
    }
