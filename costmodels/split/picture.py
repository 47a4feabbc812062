"""Latency by cut as a picture: head, link and tail stacked, as SVG. Same input, same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..pictures import drawing, svg_text
from .table import Split, SplitCut

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Told apart by every kind of colour vision (Okabe & Ito, 2008), and by their place in the stack.
_HEAD, _LINK, _TAIL = "#D55E00", "#999999", "#0072B2"
#: Cuts that a picture shows: more bars are too thin to be told apart. The ends and the fastest are always among them.
CUTS_MAX = 120
_LABELS_MAX = 30
_LABEL_LENGTH = 28


def split_svg(split: Split, title: str) -> str:
    """A bar for each cut, in the order of the network. What has a kernel without a price is hatched: it takes longer.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    with drawing():
        from matplotlib.figure import Figure

        shown = shown_cuts(split, CUTS_MAX)
        figure = Figure(figsize=(max(6.4, 2.5 + 0.11 * len(shown)), 5.2), layout="constrained")
        axes = figure.subplots()
        _draw(axes, split, shown)
        axes.set_title(title, fontsize=10.0)
        return svg_text(figure)


def shown_cuts(split: Split, most: int) -> list[SplitCut]:
    """The fastest cuts, with both ends, in the order of the network."""
    last = len(split.cuts) - 1
    best = {0, last, split.fastest.number, split.thriftiest.number}
    order = sorted(split.cuts, key=lambda cut: (cut.number not in best, _total(cut)))
    return sorted(order[:most], key=lambda cut: cut.number)


def _total(cut: SplitCut) -> float:
    return float("inf") if cut.total_ms is None else cut.total_ms


def _draw(axes: Axes, split: Split, shown: Sequence[SplitCut]) -> None:
    places = range(len(shown))
    bottom = [0.0] * len(shown)
    parts = (
        ("head", _HEAD, [cut.head.latency_ms for cut in shown], [cut.head.is_lower_bound for cut in shown]),
        ("link", _LINK, [cut.link_ms for cut in shown], [False for _ in shown]),
        ("tail", _TAIL, [cut.tail.latency_ms for cut in shown], [cut.tail.is_lower_bound for cut in shown]),
    )
    for name, colour, values, bounds in parts:
        heights = [value or 0.0 for value in values]
        bars = axes.bar(places, heights, 0.9, bottom, color=colour, label=name, linewidth=0)
        for bar, is_bound in zip(bars, bounds, strict=True):
            bar.set_hatch("//" if is_bound else "")
            bar.set_edgecolor("white" if is_bound else colour)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    for place, cut in zip(places, shown, strict=True):
        if cut.lo_ms is not None and cut.hi_ms is not None:
            axes.plot([place, place], [cut.lo_ms, cut.hi_ms], color="black", linewidth=0.8)
        if cut.number == split.fastest.number:
            label = "fastest" if len(split.cuts) > 1 else None
            axes.plot([place], [bottom[place]], "v", color="black", markersize=7, label=label)
    every = -(-len(shown) // _LABELS_MAX)
    ticks = list(places)[::every]
    axes.set_xticks(ticks, [_label(shown[place]) for place in ticks], rotation=90, fontsize=7.0)
    axes.set_ylabel("latency, ms; lines: intervals")
    axes.set_xlabel("cut after")
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.42), ncols=4, frameon=False)


def _label(cut: SplitCut) -> str:
    text = f"{cut.number} {cut.point.after}"
    return text if len(text) <= _LABEL_LENGTH else f"{text[: _LABEL_LENGTH - 1]}…"
