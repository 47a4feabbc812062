"""Draw the pictures of ``docs/explain`` from what was measured for them and is kept as JSON in ``docs/pictures``.

Run it:  PYTHONPATH=. .venv/bin/python docs/make_explain_pictures.py                 (draws all; measures nothing)
         PYTHONPATH=. .venv/bin/python docs/make_explain_pictures.py --measure NAME  (measures one anew before)
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import matplotlib
import numpy as np

from edgecost.costmodels.pictures import drawing, set_ticks, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURES = Path(__file__).parent / "pictures"
#: A file of measurements: what, where and when, and then what this picture needs.
Document: TypeAlias = dict  # its fields are those that measure_for_pictures.py writes
#: Okabe & Ito, Color Universal Design, 2008: told apart by every kind of colour vision; markers tell the same.
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#767676"
_GRAPHS = ((BLUE, "o"), (VERMILION, "^"), (GREEN, "s"))
_SHADE, _PALE_GREY, _PALE_BLUE = "#e6e6e6", "#a8a8a8", "#cfe3f1"
_BAND_PERCENT = 5
#: Where coordinates stand in SVG, and one of them.
_PLACES, _DIGITS = re.compile(r'\b(?:d|x|y)="[^"]*"'), re.compile(r"(\.\d\d)\d+")


def draw(name: str) -> str:
    """A picture as SVG text, from its file alone."""
    document = json.loads((PICTURES / f"explain-{name}.json").read_text(encoding="utf-8"))
    with drawing():
        drawn = svg_text(PICTURE[name](document))
    # A hundredth of a point is finer than any screen; what stands behind it would be most of the file.
    short = _PLACES.sub(lambda found: _DIGITS.sub(r"\1", found[0]), drawn)
    return f"{short}<!-- drawn by matplotlib {matplotlib.__version__} -->\n"


def visits(document: Document) -> Figure:
    """Median and mean of every visit in the order of time, and below them the canary."""
    figure = _figure(7.6, 5.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    for first, last, text in document["busy"]:
        for axes in (above, below):
            axes.axvspan(first - 0.5, last + 0.5, color=_SHADE, linewidth=0)
        _say(above, text, ((first + last) / 2, 1.0), y="axes fraction", ha="center")
    _latencies(above, document)
    _canaries(below, document)
    return figure


def _latencies(axes: Axes, document: Document) -> None:
    rows = document["visits"]
    axes.plot(
        _places(rows), [row[4] for row in rows], ".", color=_PALE_GREY, markersize=5, label="mean of all its runs"
    )
    for place, (graph, (colour, marker)) in enumerate(zip(document["graphs"], _GRAPHS, strict=True)):
        kept = [row for row in rows if row[2] == place and not row[6]]
        axes.plot(_places(kept), [row[3] for row in kept], marker, color=colour, markersize=3.5)
        axes.plot([0.5, rows[-1][0] + 0.5], [graph["median_us"]] * 2, color=colour, linewidth=0.8)
        half = (graph["hi_us"] - graph["lo_us"]) / 2 / graph["median_us"] * 100
        text = f"{graph['median_us']:.0f} µs ± {half:.1f} %"
        _say(axes, text, (rows[-1][0] + 1, graph["median_us"]), color=colour, va="center")
    out = [row for row in rows if row[6]]
    axes.plot(_places(out), [row[3] for row in out], "x", color="black", markersize=4)
    _logarithmic(axes)
    axes.set_ylabel("median of a visit, µs")
    axes.legend(loc="upper right", fontsize=8.0, frameon=False)


def _canaries(axes: Axes, document: Document) -> None:
    kept, out = ([row for row in document["visits"] if bool(row[6]) is is_out] for is_out in (False, True))
    level, times = document["canary_level_us"], document["canary_limit"]
    axes.plot(_places(kept), [row[5] for row in kept], ".", color=GREY, markersize=5, label=f"{len(kept)} valid visits")
    axes.plot(_places(out), [row[5] for row in out], "x", color="black", markersize=4, label=f"{len(out)} rejected")
    axes.axhline(level * times, color="black", linewidth=0.8, linestyle="--", label=f"limit: {times} × the quiet level")
    _logarithmic(axes)
    axes.set_ylabel("canary, µs\nthe slower of two")
    axes.set_xlabel("round; in each, one visit of each graph, in random order")
    axes.set_xlim(0.3, document["visits"][-1][0] + 7.5)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=8.0, frameon=False)


def _places(rows: Sequence[Sequence[float]]) -> list[float]:
    """Where visits stand: three in a round, one after the other."""
    return [row[0] + 0.28 * (row[1] - 1) for row in rows]


def sessions(document: Document) -> Figure:
    """Medians of several processes with their intervals, each against the median of all."""
    made = document["sessions"]
    figure = _figure(7.6, 4.8)
    axes = figure.subplots()
    drawn: dict[bool, list[tuple[float, float, float, float]]] = {True: [], False: []}
    for place, of_graph in enumerate(zip(*made, strict=True)):
        middle = float(np.median([one["median_us"] for one in of_graph]))
        for rank, one in enumerate(of_graph):
            low, value, high = (_percent(one[key], middle) for key in ("lo_us", "median_us", "hi_us"))
            drawn[low <= 0 <= high].append((low, value, high, place + (rank - (len(made) - 1) / 2) * 0.12))
    for holds, colour, marker in ((True, BLUE, "o"), (False, VERMILION, "^")):
        low, value, high, y = np.array(drawn[holds]).reshape(-1, 4).T
        axes.hlines(y, low, high, color=colour, linewidth=1.3)
        label = f"its interval {'holds' if holds else 'misses'} the median of all processes: {len(y)}"
        axes.plot(value, y, marker, color=colour, markersize=3.5, label=label)
    labels = [f"{_told(one['name'])}\n{one['median_us']:.0f} µs" for one in made[0]]
    axes.set_yticks(range(len(labels)), labels, fontsize=7.5)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(f"latency in each of {len(made)} processes, % from the median of all; bar: 95 % interval within it")
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2, fontsize=8.0, frameon=False)
    _grid(axes, "x")
    return figure


def energy(document: Document) -> Figure:
    """The power of a whole session, one of its windows enlarged, and what each window says."""
    figure = _figure(8.4, 6.0)
    grid = figure.add_gridspec(2, 2, height_ratios=(1, 1.25), width_ratios=(2.1, 1))
    whole, one, values = (figure.add_subplot(place) for place in (grid[0, :], grid[1, 0], grid[1, 1]))
    figure.suptitle("virtual-nano: a board that is played, with a virtual INA3221", fontsize=10.0)
    spans = document["spans_s"]
    for place, (begin, end) in enumerate(spans):
        whole.axvspan(begin, end, color=_PALE_BLUE if place % 3 == 1 else _SHADE, linewidth=0)
    _dots(whole, document["times_s"], _watts(document["powers_mw"]), 1.6)
    for key, colour, text in (("active_mw", BLUE, "while it runs"), ("idle_mw", VERMILION, "at rest")):
        level = document["energy"][key] / 1e3
        whole.axhline(level, color=colour, linewidth=1.0)
        _say(whole, f"{text}: {level:.2f} W", (0.2, level), color=colour, offset=3 if level > 2 else 11)
    whole.set_xlim(0, document["times_s"][-1])
    whole.set_ylabel("power, W")
    whole.set_xlabel("time, s; blue: windows, grey: halves of rests that belong to them")
    _window(one, document)
    _energies(values, document)
    for axes in (whole, one, values):
        _grid(axes, "y")
    return figure


def _window(axes: Axes, document: Document) -> None:
    """The second window with the rests around it: what is gross, and what net."""
    before, active, after = document["spans_s"][3:6]
    times, powers = np.array(document["times_s"]), np.array(_watts(document["powers_mw"]))
    idle, busy = (document["energy"][key] / 1e3 for key in ("idle_mw", "active_mw"))
    shown = (times >= before[0] - 0.1) & (times <= after[1] + 0.1)
    axes.fill_between(active, 0, idle, color=_SHADE, linewidth=0)
    axes.fill_between(active, idle, busy, color=_PALE_BLUE, linewidth=0)
    _dots(axes, times[shown], powers[shown], 2.5)
    for (begin, end), level, colour in ((before, idle, VERMILION), (active, busy, BLUE), (after, idle, VERMILION)):
        axes.plot([begin, end], [level, level], color=colour, linewidth=2.0)
    for edge in active:
        axes.axvline(edge, color=BLUE, linewidth=1.0, linestyle="--")
    middle, runs = sum(active) / 2, document["runs"][1]
    _say(axes, f"net: above rest ({runs} runs)", (middle, idle), ha="center", offset=6)
    _say(axes, "gross: all of it", (middle, idle / 2), ha="center", va="center")
    for (begin, end), text in (((before[0], before[1]), "rest"), ((after[0], after[1]), "rest")):
        _say(axes, text, ((begin + end) / 2, idle / 2), ha="center", va="center", color=VERMILION)
    for begin, end in ((before[1], active[0]), (active[1], after[0])):
        _say(axes, "lead", ((begin + end) / 2, idle / 2), ha="center", va="center", color=GREY)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("power, W")
    axes.set_xlabel("time, s: the second window; dashed: its edges, between two runs")


def _energies(axes: Axes, document: Document) -> None:
    """Energy of a run by each window, with the interval of the median; and the truth, which is known of a law."""
    found, places = document["energy"], range(1, len(document["gross_mj"]) + 1)
    for name, colour, marker in (("gross", BLUE, "o"), ("net", GREEN, "s")):
        middle, low, high = (found[f"{name}_{which}_mj"] for which in ("median", "lo", "hi"))
        axes.axhspan(low, high, color=colour, alpha=0.2, linewidth=0)
        axes.axhline(document[f"true_{name}_mj"], color="black", linewidth=0.8, linestyle=":")
        axes.plot(places, document[f"{name}_mj"], marker, color=colour, markersize=4)
        half = (high - low) / 2 / middle * 100
        text = f"{name}: {middle:.0f} mJ ± {half:.1f} %"
        _say(axes, text, (sum(places) / len(places), high), color=colour, ha="center", offset=6)
    axes.set_ylim(0, found["gross_hi_mj"] * 1.2)
    axes.set_xticks(list(places))
    axes.set_ylabel("energy of a run, mJ")
    axes.set_xlabel("window; dotted: the truth")


def transfer(document: Document) -> Figure:
    """Error on other networks by the number of samples, with and without what another device taught."""
    figure = _figure(7.0, 4.2)
    axes = figure.subplots()
    labels = {"alone": "from these samples alone", "with the other": "with what one thread taught"}
    for (which, label), (colour, marker) in zip(labels.items(), ((VERMILION, "^"), (BLUE, "o")), strict=True):
        low, middle, high = np.quantile(np.array(document["error_percent"][which]), (0.25, 0.5, 0.75), axis=1)
        axes.fill_between(document["samples"], low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(document["samples"], middle, color=colour, marker=marker, markersize=5, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(document["samples"][0] / 1.05, document["samples"][-1] * 1.05)
    set_ticks(axes.yaxis, *axes.get_ylim())
    axes.minorticks_off()
    axes.set_xticks(document["samples"], [str(size) for size in document["samples"]])
    axes.set_xlabel("networks measured with two threads")
    axes.set_ylabel(f"mean error on {document['judged']} others, %")
    axes.legend(loc="upper right", fontsize=8.5, frameon=False)
    _grid(axes)
    return figure


def additivity(document: Document) -> Figure:
    """What the sums of a table are off by on whole networks, before and after the factor, with the band of ±5 %."""
    figure = _figure(7.4, 4.2)
    axes = figure.subplots()
    axes.axhspan(-_BAND_PERCENT, _BAND_PERCENT, color=_SHADE, linewidth=0, label=f"±{_BAND_PERCENT} %")
    axes.axhline(0, color="black", linewidth=0.8)
    rows = document["networks"]
    measured = [row[3] for row in rows]
    axes.plot(measured, [_percent(row[1], row[3]) for row in rows], "x", color=GREY, markersize=6, label="sum of cells")
    for role, label, colour, marker in (
        ("fit", "times the factor, which these fitted", VERMILION, "^"),
        ("judge", "times the factor, which did not see these", BLUE, "o"),
    ):
        chosen = [row for row in rows if row[0] == role]
        errors = [_percent(row[2], row[3]) for row in chosen]
        axes.plot([row[3] for row in chosen], errors, marker, color=colour, markersize=5, label=label)
    axes.set_xlabel("measured latency of the whole network, ms")
    axes.set_ylabel("said minus measured, % of measured")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8.5, frameon=False)
    _grid(axes)
    return figure


#: How each picture is drawn, by the name that it is measured under.
PICTURE: Mapping[str, Callable[[Document], Figure]] = {
    "protocol-visits": visits,
    "protocol-sessions": sessions,
    "energy": energy,
    "transfer": transfer,
    "additivity": additivity,
}


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _grid(axes: Axes, axis: str = "both") -> None:
    axes.grid(axis=axis, color="#dddddd", linewidth=0.6)  # type: ignore[arg-type]  # matplotlib's own literals
    axes.set_axisbelow(True)


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    set_ticks(axes.yaxis, *axes.get_ylim())
    _grid(axes)


def _say(
    axes: Axes,
    text: str,
    place: tuple[float, float],
    *,
    y: str = "data",
    color: str = "black",
    ha: str = "left",
    va: str = "bottom",
    offset: float = 0,
) -> None:
    axes.annotate(
        text, place, xycoords=("data", y), xytext=(0, offset), textcoords="offset points", color=color, ha=ha, va=va,
        fontsize=8.0,
    )  # fmt: skip


def _dots(axes: Axes, x: Sequence[float], y: Sequence[float], size: float) -> None:
    """Many points as one path of very short lines: a tenth of the bytes of so many markers."""
    across = np.column_stack([x, np.add(x, 1e-3), np.full(len(x), np.nan)]).ravel()
    axes.plot(across, np.repeat(y, 3), color=GREY, linewidth=size, solid_capstyle="round")


def _told(name: str) -> str:
    """A cell by its shapes, kernel and stride, as far as it has them."""
    block, given, made, *rest = name.replace("x", "×").split("-")
    sizes = [part for part in rest if part[0] in "ks" and part[1:].isdigit()]
    pool = "pool " if block.endswith("pool") else ""
    return " ".join([f"{pool}{given} → {made}", *sizes])


def _percent(said: float, measured: float) -> float:
    return (said / measured - 1) * 100


def _watts(powers_mw: Sequence[float]) -> list[float]:
    return [power / 1e3 for power in powers_mw]


def _written(document: Document) -> str:
    """JSON with a line for each field, so that a new measurement can be read as a change."""
    lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in document.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    """Measure what was asked for, then draw all and write what stands below them."""
    from picture_captions import captioned, page_of  # beside this file, as is what measures

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--measure", choices=sorted(PICTURE), help="measure this one anew on this machine")
    asked = parser.parse_args().measure
    if asked:
        from measure_for_pictures import measured  # what draws needs nothing of what measures

        (PICTURES / f"explain-{asked}.json").write_text(_written(measured(asked)), encoding="utf-8")
    for name in PICTURE:
        (PICTURES / f"explain-{name}.svg").write_text(draw(name), encoding="utf-8")
        page_of(name).write_text(captioned(name), encoding="utf-8")


if __name__ == "__main__":
    main()
