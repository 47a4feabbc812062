"""Places of dots and lines in a picture of a fixed size; ``charts.html`` draws them, and CSS gives the colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640.0, 160.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 8.0, 8.0, 24.0


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    place: float
    text: str


@dataclass(frozen=True)
class Chart:
    """Dots, and a line through them where they are a course of time.

    Attributes:
        title: what a person who does not see it is told.
        dots: x and y in the picture.
        is_line: whether they are joined.
    """

    title: str
    unit: str
    dots: tuple[tuple[float, float], ...]
    ticks: tuple[Tick, ...]
    first: str
    last: str
    is_line: bool

    @property
    def points(self) -> str:
        """For a polyline."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.dots)


def course(
    title: str, unit: str, times: Sequence[str], values: Sequence[float], *, is_line: bool = True
) -> Chart | None:
    """Values over time, evenly spaced by their order; None for fewer than two.

    Args:
        times: as text, the oldest first.
    """
    if len(values) < 2:
        return None
    low, high = min(values), max(values)
    if low == high:
        low, high = low - abs(low) * 0.05 - 0.5, high + abs(high) * 0.05 + 0.5
    steps = ticks(low, high)
    low, high = min(low, steps[0]), max(high, steps[-1])
    width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    dots = [
        (_LEFT + width * at / (len(values) - 1), _TOP + height * (1 - (value - low) / (high - low)))
        for at, value in enumerate(values)
    ]
    marks = [Tick(_TOP + height * (1 - (step - low) / (high - low)), f"{step:g}") for step in steps]
    return Chart(title, unit, tuple(dots), tuple(marks), times[0], times[-1], is_line)


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers from ``low`` to ``high``: steps of 1, 2 or 5 of some power of ten."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    first = math.floor(low / step)
    return [round(at * step, 12) for at in range(first, math.ceil(high / step) + 1)]
