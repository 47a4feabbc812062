"""Places of dots, lines and boxes in a picture of a fixed size; ``charts.html`` draws, and CSS gives the colours."""

from __future__ import annotations

import math
import statistics
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


@dataclass(frozen=True)
class Strip:
    """Values of one measurement as dots side by side; ``middle`` is the place of their median."""

    label: str
    y: float
    dots: tuple[float, ...]
    middle: float


@dataclass(frozen=True)
class Strips:
    """Distributions one below the other, over one axis."""

    title: str
    unit: str
    rows: tuple[Strip, ...]
    ticks: tuple[Tick, ...]
    height: float
    is_logarithmic: bool
    width: float = WIDTH


_STRIP, _SIDE = 36.0, 16.0
#: Beyond this ratio of the largest to the smallest value the axis is logarithmic: else one device hides another's
#: spread.
_LINEAR_MAX = 4.0
_DECADE = (1, 2, 5)


def strips(title: str, unit: str, rows: Sequence[tuple[str, Sequence[float]]]) -> Strips | None:
    """One strip for each row that has values; None where none has.

    Args:
        rows: label, and values above 0.
    """
    known = [(label, values) for label, values in rows if values]
    if not known:
        return None
    low, high = min(min(values) for _, values in known), max(max(values) for _, values in known)
    is_logarithmic = high > _LINEAR_MAX * low
    if low == high:
        low, high = low * 0.95, high * 1.05
    steps = _decades(low, high) if is_logarithmic else ticks(low, high)
    low, high = min(low, steps[0]), max(high, steps[-1])

    def place(value: float) -> float:
        share = math.log(value / low) / math.log(high / low) if is_logarithmic else (value - low) / (high - low)
        return _SIDE + (WIDTH - 2 * _SIDE) * share

    drawn = tuple(
        Strip(label, _STRIP * at, tuple(place(value) for value in values), place(statistics.median(values)))
        for at, (label, values) in enumerate(known)
    )
    marks = tuple(Tick(place(step), f"{step:g}") for step in steps)
    return Strips(title, unit, drawn, marks, _STRIP * len(drawn) + _BOTTOM, is_logarithmic)


def _decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, from below the low to above the high."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = [factor * 10.0**power for power in range(first, last + 1) for factor in _DECADE]
    begin = max((at for at, value in enumerate(every) if value <= low), default=0)
    end = min((at for at, value in enumerate(every) if value >= high), default=len(every) - 1)
    return every[begin : end + 1]


#: Groups with a colour of their own; the others are grey.
COLOURED = 5
_ROW, _ICICLE_WIDTH = 34.0, 960.0
#: Narrower boxes have no room for a word; a letter takes about so much.
_WORD, _LETTER = 24.0, 6.6


@dataclass(frozen=True)
class Box:
    """One part of a whole. ``group`` is which colour; ``text`` is what fits into it, and may be nothing."""

    x: float
    y: float
    width: float
    group: int
    text: str
    title: str


@dataclass(frozen=True)
class Icicle:
    """Parts under their groups, as wide as their shares, the largest first."""

    title: str
    boxes: tuple[Box, ...]
    width: float = _ICICLE_WIDTH
    height: float = 2 * _ROW
    row: float = _ROW


def icicle(title: str, parts: Sequence[tuple[str, str, float, str]]) -> Icicle | None:
    """Two rows: groups, and below each its parts; None where nothing has a size.

    Args:
        parts: group, name, size above 0, and the size in words.
    """
    whole = math.fsum(size for _, _, size, _ in parts)
    if whole <= 0:
        return None
    groups: dict[str, list[tuple[str, float, str]]] = {}
    for group, name, size, words in parts:
        groups.setdefault(group, []).append((name, size, words))
    ordered = sorted(groups.items(), key=lambda one: -math.fsum(size for _, size, _ in one[1]))
    boxes, x = [], 0.0
    for number, (group, members) in enumerate(ordered):
        colour, begin = min(number, COLOURED), x
        for name, size, words in sorted(members, key=lambda one: -one[1]):
            width = _ICICLE_WIDTH * size / whole
            boxes.append(Box(x, _ROW, width, colour, _fitting(name, width), f"{name}: {words}"))
            x += width
        share = math.fsum(size for _, size, _ in members) / whole
        boxes.append(Box(begin, 0.0, x - begin, colour, _fitting(group, x - begin), f"{group}: {share:.1%}"))
    return Icicle(title, tuple(boxes))


def _fitting(text: str, width: float) -> str:
    """As much of a text as there is room for."""
    if width < _WORD:
        return ""
    room = int(width / _LETTER)
    return text if len(text) <= room else f"{text[: room - 1]}…"
