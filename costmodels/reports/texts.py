"""Numbers and times as they stand in a report. The unit is in the head of the column; unknown is a dash, never 0."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

DASH = "–"
#: Beyond it all digits before the point are shown.
_LARGE = 1e4


def number(value: float | None) -> str:
    """Four significant digits."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:,.0f}" if abs(value) >= _LARGE or isinstance(value, int) else f"{value:.4g}"


def percent(value: float | None) -> str:
    """A share between 0 and 1."""
    return DASH if value is None or not math.isfinite(value) else f"{value * 100:.1f} %"


def signed_percent(value: float | None) -> str:
    """A change: 0.1 is ``+10.0 %``."""
    return DASH if value is None or not math.isfinite(value) else f"{value * 100:+.1f} %"


def interval(low: float | None, high: float | None) -> str:
    """Both ends."""
    return DASH if low is None or high is None else f"{number(low)} … {number(high)}"


def moment(text: str | None) -> str:
    """A time of the store, to the second."""
    return f"{text[:19].replace('T', ' ')} UTC" if text else DASH


def clock(text: str) -> str:
    """The same for a column whose head says that it is UTC; it is never broken."""
    return text[:19].replace("T", "\N{NO-BREAK SPACE}")


def seconds_between(first: str, last: str) -> float | None:
    """From one time of the store to another; None where the clock went backwards between them."""
    passed = (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()
    return passed if passed >= 0 else None


def time_unit(seconds: float) -> tuple[str, float]:
    """The unit that so much time is told in, and its length in seconds."""
    return next((unit for unit in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)) if seconds >= 2 * unit[1]), ("s", 1.0))


def duration(seconds: float | None) -> str:
    """With its unit."""
    if seconds is None:
        return DASH
    unit, length_s = time_unit(seconds)
    return f"{number(seconds / length_s)} {unit}"


def share(part: int, whole: int) -> float | None:
    """None of nothing."""
    return part / whole if whole else None


def counted(n: int, what: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def listed(counts: Mapping[str, int]) -> str:
    """``12 ok, 3 rejected``."""
    return ", ".join(f"{n:,} {name}" for name, n in counts.items())
