"""Pictures that more than one report has: counts as bars, values over time, spreads of groups. Within ``drawing``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..pictures import plain_text, set_ticks
from .texts import time_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe & Ito, Color Universal Design, 2008; told apart by every kind of colour vision, and by the markers.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_MARKERS = ("o", "^", "s", "D")
#: Courses in one picture; of more, the last ones are left to the tables.
COURSES_MAX = len(_COLOURS)
#: Rows of a picture of spreads; more are not legible.
GROUPS_MAX = 24
#: Points drawn of a group; of more, evenly spaced ranks stand for all.
_POINTS_MAX = 200
_LABEL_LENGTH = 40


@dataclass(frozen=True)
class Course:
    """Values in the order of time."""

    label: str
    values: Sequence[float]


def bars(counts: Mapping[str, int], unit: str) -> Figure:
    """A bar for each count, the first on top."""
    from matplotlib.figure import Figure

    names, values = list(counts), list(counts.values())
    figure = Figure(figsize=(6.6, 0.9 + 0.32 * max(len(names), 2)), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(names)), values, color=_COLOURS[0], height=0.7)
    for place, value in enumerate(values):
        axes.annotate(f"{value:,}", (value, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, max(*values, 1) * 1.15)
    axes.set_xlabel(unit)
    _grid(axes, "x")
    return figure


def courses(found: Sequence[Course], unit: str, across: str) -> Figure:
    """Lines over the order of time."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6.6, 3.4), layout="constrained")
    axes = figure.subplots()
    for rank, course in enumerate(found[:COURSES_MAX]):
        places = range(1, len(course.values) + 1)
        label = plain_text(course.label)
        style = {"color": _COLOURS[rank], "marker": _MARKERS[rank], "markersize": 4, "linewidth": 1.0}
        axes.plot(places, course.values, label=label, **style)  # type: ignore[arg-type]  # matplotlib's keywords
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(across)
    axes.set_ylabel(unit)
    if len(found) > 1:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=8.0)
    _grid(axes, "both")
    return figure


def spreads(groups: Mapping[str, Sequence[float]], unit: str) -> Figure:
    """Values of each group on a logarithmic axis, with a bar at the median; all values are above 0."""
    from matplotlib.figure import Figure

    shown = list(groups.items())[:GROUPS_MAX]
    figure = Figure(figsize=(6.6, 1.1 + 0.34 * max(len(shown), 2)), layout="constrained")
    axes = figure.subplots()
    for place, (_, values) in enumerate(shown):
        drawn = thinned(values)
        heights = [place + (rank * 0.6180339887 % 1.0 - 0.5) * 0.5 for rank in range(len(drawn))]
        axes.scatter(drawn, heights, s=9, color=_COLOURS[0], alpha=0.65, linewidths=0)
        axes.plot([float(np.median(values))], [place], marker="|", color="black", markersize=12, markeredgewidth=1.6)
    _logarithmic(axes, [value for _, values in shown for value in values])
    axes.set_yticks(range(len(shown)), [f"{short(name)} ({len(values):,})" for name, values in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel(f"{unit}; logarithmic, bar: median")
    _grid(axes, "x")
    return figure


def shares_within(values: Sequence[float], unit: str) -> Figure:
    """Which share of the values is no larger than each: a step for every value; all are above 0."""
    from matplotlib.figure import Figure

    ordered = np.sort(np.asarray(values, dtype=np.float64))
    figure = Figure(figsize=(6.6, 3.4), layout="constrained")
    axes = figure.subplots()
    drawn = np.array(thinned(ordered.tolist()))
    ranks = np.searchsorted(ordered, drawn, side="right") / len(ordered) * 100.0
    axes.step(drawn, ranks, where="post", color=_COLOURS[0], linewidth=1.4, marker=".", markersize=3)
    _logarithmic(axes, drawn.tolist())
    axes.set_ylim(0, 101)
    axes.set_xlabel(f"{unit}; logarithmic")
    axes.set_ylabel("% are no wider")
    _grid(axes, "both")
    return figure


def progress(seconds: Sequence[float], unit: str) -> Figure:
    """How many there are at each time; ``seconds`` is in order."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.6, 3.4), layout="constrained")
    axes = figure.subplots()
    ranks = np.unique(np.linspace(0, len(seconds) - 1, min(len(seconds), _POINTS_MAX)).round().astype(int))
    span, length_s = time_unit(seconds[-1])
    axes.step([seconds[rank] / length_s for rank in ranks], ranks + 1, where="post", color=_COLOURS[0], linewidth=1.4)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"time since the first attempt began, {span}")
    axes.set_ylabel(unit)
    _grid(axes, "both")
    return figure


def thinned(values: Sequence[float]) -> list[float]:
    """In order, and evenly spaced ranks of many."""
    ordered = sorted(values)
    if len(ordered) <= _POINTS_MAX:
        return ordered
    return [ordered[round(rank)] for rank in np.linspace(0, len(ordered) - 1, _POINTS_MAX)]


def short(name: str) -> str:
    """A name that fits beside a picture."""
    text = plain_text(name)
    return text if len(text) <= _LABEL_LENGTH else f"{text[: _LABEL_LENGTH - 1]}…"


def _logarithmic(axes: Axes, values: Sequence[float]) -> None:
    """The axis of values above 0, with some room beside them, also where all are alike."""
    low, high = min(values), max(values)
    room = max((high / low) ** 0.05, 1.02)
    # The limits first: the scale would look for its own, and find none where all values are alike.
    axes.set_xlim(low / room, high * room)
    axes.set_xscale("log")
    set_ticks(axes.xaxis, low / room, high * room)


def _grid(axes: Axes, axis: str) -> None:
    axes.grid(axis="x" if axis == "x" else "both", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
