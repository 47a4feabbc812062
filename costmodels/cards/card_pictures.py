"""Model cards as pictures: predicted against measured, errors by size and kind, and what the intervals held.

As SVG, and as one HTML page that needs nothing else. Same card, same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..pictures import drawing, html_list, html_page, html_table, set_ticks, svg_text
from ..validation import Accuracy
from .card_file import card_document
from .model_card import GroupAccuracy, IntervalCoverage, ModelCard

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACCURACY_HEADS = ("", "graphs", "±2 %", "±5 %", "±10 %", "mean error", "ρ")
#: Kinds that have a bar: the commonest. More are not legible.
KINDS_MAX = 14
#: Kinds with a colour of their own; all others are grey.
_COLOURED = 4
#: Okabe & Ito, Color Universal Design, 2008; told apart by every kind of colour vision, and by the markers.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_MARKERS = ("o", "^", "s", "D")
_OTHERS, _OTHERS_MARKER = "#777777", "."
_BAND = 0.1
#: Factor beyond which a point is drawn at the border: one wild kind would leave the others a line.
_FACTOR_MAX = 3.0
_RATIOS = (0.5, 0.8, 1.0, 1.25, 2.0, 3.0)


def card_svg(card: ModelCard) -> str:
    """Four panels: predicted against measured, error against size, error by kind (or size), interval coverage.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    with drawing():
        figure = Figure(figsize=(11.0, 8.6), layout="constrained")
        (left, right), (below, beside) = figure.subplots(2, 2)
        groups = _groups(card)
        _draw_pairs(left, card, groups)
        _draw_residuals(right, card, groups)
        _draw_bars(below, card)
        _draw_coverage(beside, card)
        figure.suptitle(title(card), fontsize=10.0)
        return svg_text(figure)


def panels(card: ModelCard) -> list[tuple[str, str, Callable[[], Figure]]]:
    """The same panels, each a picture of its own: its name, what it shows, and how to draw it within ``drawing``."""

    def alone(draw: Callable[[Axes], None]) -> Callable[[], Figure]:
        def figure() -> Figure:
            from matplotlib.figure import Figure

            made = Figure(figsize=(6.6, 5.2), layout="constrained")
            draw(made.subplots())
            return made

        return figure

    groups = _groups(card)
    return [
        ("parity", "predicted against measured", alone(lambda axes: _draw_pairs(axes, card, groups))),
        ("residuals", "error by size", alone(lambda axes: _draw_residuals(axes, card, groups))),
        ("kinds", "share within ±10 % by kind", alone(lambda axes: _draw_bars(axes, card))),
        ("coverage", "what the intervals held", alone(lambda axes: _draw_coverage(axes, card))),
    ]


def card_html(card: ModelCard) -> str:
    """One page with the picture and the card's tables; no script, nothing fetched.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    rows = [accuracy_cells(name, one) for name, one in judged(card)]
    rows += [accuracy_cells(group.name, group.accuracy) for group in (*card.by_size, *card.by_kind)]
    document = card_document(card)
    about = [(name, str(value)) for name, value in document.items() if name in ("versions", "profile", "environment")]
    about += [(f"data: {name}", str(value)) for name, value in (document["data"] or {}).items()]  # type: ignore[union-attr]
    rest = "\n".join(
        (
            html_table(ACCURACY_HEADS, rows),
            "<h2>What it cannot do</h2>",
            html_list(card.limits),
            "<h2>What it was made of</h2>",
            html_table(("", ""), about),
        )
    )
    return html_page(f"Model card: {device_of(card)}", title(card).partition("\n")[2], card_svg(card), rest)


def judged(card: ModelCard) -> tuple[tuple[str, Accuracy | None], ...]:
    """What the model was judged by, in words."""
    return (
        ("measured again in another process (the floor)", card.floor),
        ("predicted, held out", card.held_out),
        ("whole networks, each left out", card.networks),
        ("FLOPs only, held out", card.flops_only),
    )


def title(card: ModelCard) -> str:
    """Two lines: device and profile; when, and of what."""
    what = "predictor" if card.model == "predictor" else "model of a space"
    made = f"{what} of {card.metric}, {card.made_at[:10]}, from {card.data.graphs} graphs"
    return f"{device_of(card)}; {card.profile_label}\n{made}"


def device_of(card: ModelCard) -> str:
    """The device in words."""
    return card.device.get("description") or card.device.get("name") or "a device that is not named"


def _groups(card: ModelCard) -> list[tuple[str, list[int]]]:
    """The pairs by kind: the commonest kinds each, then all others."""
    kinds = card.pairs.kind
    counts = {kind: kinds.count(kind) for kind in set(kinds)}
    named = sorted(counts, key=lambda kind: (-counts[kind], kind))[:_COLOURED]
    groups = [(kind, [place for place, one in enumerate(kinds) if one == kind]) for kind in named]
    others = [place for place, one in enumerate(kinds) if one not in named]
    return [*groups, *([(f"{len(counts) - len(named)} other kinds", others)] if others else [])]


def _scatter(axes: Axes, groups: Sequence[tuple[str, list[int]]], x: Sequence[float], y: Sequence[float]) -> None:
    for rank, (kind, places) in reversed(list(enumerate(groups))):
        is_named = rank < _COLOURED
        axes.scatter(
            [x[place] for place in places],
            [y[place] for place in places],
            s=10,
            marker=_MARKERS[rank] if is_named else _OTHERS_MARKER,
            color=_COLOURS[rank] if is_named else _OTHERS,
            alpha=0.55,
            linewidths=0,
            label=f"{kind} ({len(places)})",
        )


def _draw_pairs(axes: Axes, card: ModelCard, groups: Sequence[tuple[str, list[int]]]) -> None:
    measured, predicted = card.pairs.measured, card.pairs.predicted
    axes.set_title("Predicted by a model that had not seen it", fontsize=9.5)
    if not measured:
        _say(axes, "no held-out predictions")
        return
    low, high = min(*measured, *predicted) / 1.3, max(*measured, *predicted) * 1.3
    ends = np.array([low, high])
    axes.fill_between(ends, ends * (1 - _BAND), ends * (1 + _BAND), color="#bbbbbb", alpha=0.6, linewidth=0)
    axes.plot(ends, ends, color="black", linewidth=0.7)
    _scatter(axes, groups, measured, predicted)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    set_ticks(axes.xaxis, low, high)
    set_ticks(axes.yaxis, low, high)
    axes.set_xlabel(f"measured, {card.unit}; grey: within ±{_BAND:.0%}".replace("%", " %"))
    axes.set_ylabel(f"predicted, {card.unit}")
    # Drawn from the rarest on, so that no kind hides beneath the others; read from the commonest on.
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="upper left", frameon=False, fontsize=8.0, markerscale=1.6)
    _grid(axes, "both")


def _draw_residuals(axes: Axes, card: ModelCard, groups: Sequence[tuple[str, list[int]]]) -> None:
    axes.set_title("Error by size", fontsize=9.5)
    if not card.pairs.measured:
        _say(axes, "no held-out predictions")
        return
    ratios = np.array(card.pairs.predicted) / np.array(card.pairs.measured)
    beyond = int(((ratios > _FACTOR_MAX) | (ratios < 1 / _FACTOR_MAX)).sum())
    axes.axhspan(1 - _BAND, 1 + _BAND, color="#bbbbbb", alpha=0.6, linewidth=0)
    axes.axhline(1.0, color="black", linewidth=0.7)
    _scatter(axes, groups, card.pairs.measured, np.clip(ratios, 1 / _FACTOR_MAX, _FACTOR_MAX).tolist())
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(1 / _FACTOR_MAX / 1.05, _FACTOR_MAX * 1.05)
    low, high = axes.get_xlim()
    set_ticks(axes.xaxis, low, high)
    axes.set_yticks(_RATIOS, [f"{ratio:g}" for ratio in _RATIOS])
    axes.minorticks_off()
    note = f"; {beyond} beyond a factor of {_FACTOR_MAX:g} are at the border" if beyond else ""
    axes.set_xlabel(f"measured, {card.unit}{note}")
    axes.set_ylabel("predicted / measured")
    _grid(axes, "both")


def _draw_bars(axes: Axes, card: ModelCard) -> None:
    """Share of the graphs of each kind within ±10 %."""
    groups: Sequence[GroupAccuracy] = card.by_kind[:KINDS_MAX] or card.by_size
    hidden = len(card.by_kind) - KINDS_MAX
    more = f"; {hidden} rarer kinds are not shown" if hidden > 0 else ""
    axes.set_title(
        "Within ±10 %, by what takes most of a graph" if card.by_kind else "Within ±10 %, by size", fontsize=9.5
    )
    if not groups:
        _say(axes, "nothing was held out")
        return
    shares = [100 * group.accuracy.within_10 for group in groups]
    axes.barh(range(len(groups)), shares, color=_COLOURS[0], height=0.7)
    for place, (group, share) in enumerate(zip(groups, shares, strict=True)):
        text = f"{share:.0f} % of {group.accuracy.n}"
        # A bar that leaves no room beside it has its text inside.
        inside = share > 75
        axes.text(
            share - 1 if inside else share + 1,
            place,
            text,
            va="center",
            ha="right" if inside else "left",
            fontsize=7.5,
            color="white" if inside else "black",
        )
    axes.set_yticks(range(len(groups)), [group.name for group in groups], fontsize=8.0)
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel(f"% of held-out graphs{more}")
    _grid(axes, "x")


def _draw_coverage(axes: Axes, card: ModelCard) -> None:
    """What the intervals held beside what they promise."""
    axes.set_title("What the intervals held of what was held out", fontsize=9.5)
    axes.plot([70, 100], [70, 100], color="black", linewidth=0.7)
    shown = 0
    for name, found, place in (("graphs", card.coverage, 0), ("whole networks", card.network_coverage, 1)):
        known = [(100 * one.nominal, 100 * one.held) for one in found if one.held is not None]
        if known:
            shown += 1
            x, y = zip(*known, strict=True)
            label = f"{name} ({_most(found)})"
            axes.plot(x, y, _MARKERS[place], color=_COLOURS[place], label=label, markersize=6)
            for nominal, held in known:
                offset = (7, -4) if place == 0 else (-7, 4)
                side = "left" if place == 0 else "right"
                axes.annotate(
                    f"{held:.1f}", (nominal, held), xytext=offset, textcoords="offset points", ha=side, fontsize=8
                )
    if not shown:
        _say(axes, "there are no intervals")
        return
    axes.set_xlabel("promised, %; on the line both agree")
    axes.set_ylabel("held, %")
    low = min(70.0, axes.get_ylim()[0])
    axes.set_xlim(70, 100)
    axes.set_ylim(low, 100.5)
    axes.legend(loc="upper left", frameon=False, fontsize=8.0)
    _grid(axes, "both")


def _most(found: Sequence[IntervalCoverage]) -> int:
    return max(one.n for one in found)


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
    axes.set_xticks([])
    axes.set_yticks([])


def _grid(axes: Axes, axis: str) -> None:
    axes.grid(axis="x" if axis == "x" else "both", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def accuracy_cells(name: str, one: Accuracy | None) -> tuple[str, ...]:
    """A line of a table under ``ACCURACY_HEADS``."""
    if one is None:
        return (name, *["–"] * 6)
    bands = [f"{100 * share:.1f} %" for share in (one.within_2, one.within_5, one.within_10)]
    rho = "–" if one.spearman is None else f"{one.spearman:.4f}"
    return (name, str(one.n), *bands, f"{one.mape_percent:.2f} %", rho)
