"""Static pictures: a comparison as SVG, and as one HTML page that needs nothing else. Same input, same bytes."""

from __future__ import annotations

import html
import io
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from .comparison import Comparison, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

#: Rows that a picture shows, largest difference first; more are not legible.
ROWS_MAX = 40
#: Of the table of a comparison.
HEADS = ("workload", "A, ms", "B, ms", "B / A", "95 % interval", "verdict", "latency", "interval of A", "of B")
#: Visits drawn per strip; of more, evenly spaced ranks stand for all.
_POINTS_MAX = 60
_LABEL_LENGTH = 44
#: Fine enough for print on half a page.
_PNG_DPI = 160
#: Blue and vermilion, told apart by every kind of colour vision (Okabe & Ito, Color Universal Design, 2008).
_COLOUR = {"A": "#0072B2", "B": "#D55E00"}
_MARKER = {"A": "o", "B": "^"}
_STYLE = """
body { font: 14px/1.4 sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; }
svg { height: auto; max-width: 100%; }
table { border-collapse: collapse; }
td, th { border-bottom: 1px solid #ccc; padding: 0.2em 0.7em; text-align: right; }
td:first-child, th:first-child { text-align: left; }
"""
#: No control character may stand in XML.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+")


def comparison_svg(comparison: Comparison) -> str:
    """As ``comparison_figure`` draws it.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    with drawing():
        return svg_text(comparison_figure(comparison))


def comparison_figure(comparison: Comparison) -> Figure:
    """Visit values of both sides on a logarithmic axis, and beside them the ratio of each workload with its interval.

    Within ``drawing``.
    """
    from matplotlib.figure import Figure

    shown = comparison.rows[:ROWS_MAX]
    figure = Figure(figsize=(11.0, 1.9 + 0.42 * len(shown)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    _draw_strips(left, shown)
    _draw_ratios(right, shown)
    left.set_ylim(len(shown) - 0.4, -0.6)
    left.set_yticks(range(len(shown)), [_label(row) for row in shown])
    figure.suptitle(_title(comparison), fontsize=10.0)
    hidden = len(comparison.rows) - len(shown)
    if hidden:
        figure.supxlabel(f"{hidden} more workloads, with smaller differences, are not shown", fontsize=9.0)
    return figure


@contextmanager
def drawing() -> Iterator[None]:
    """The settings under which all pictures are drawn; ends with the block.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    from matplotlib import rc_context

    settings = rc_context(
        {
            # Text stays text: it can be searched and read aloud. The salt makes the ids of the file repeat.
            "svg.fonttype": "none",
            "svg.hashsalt": "edgecost",
            "font.family": "sans-serif",
            "font.size": 9.0,
            # A workload may have a $ in its name.
            "text.parse_math": False,
        }
    )
    with settings, warnings.catch_warnings():
        # The viewer's own fonts draw the text; ours only estimate its width.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def svg_text(figure: Figure) -> str:
    """A figure as SVG, the same bytes each time; within ``drawing``."""
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return drawn.getvalue()


def png_bytes(figure: Figure) -> bytes:
    """A figure as PNG for where SVG is not read, the same bytes each time on one machine; within ``drawing``."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=_PNG_DPI, metadata={"Software": None})
    return drawn.getvalue()


def html_page(title: str, lead: str, svg: str, rest: str) -> str:
    """One page that needs nothing else: no script, nothing fetched.

    Args:
        title, lead: text, in front of the picture.
        rest: HTML, behind it.
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{html_text(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{html_text(title)}</h1>
<p>{html_text(lead)}</p>
{svg[svg.index("<svg") :]}
{rest}
</body>
</html>
"""


def html_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts."""
    body = "\n".join(f"<tr>{''.join(f'<td>{html_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"""<table>
<thead><tr>{"".join(f"<th>{html_text(head)}</th>" for head in heads)}</tr></thead>
<tbody>
{body}
</tbody>
</table>"""


def html_list(lines: Iterable[str]) -> str:
    """A list of texts."""
    items = "\n".join(f"<li>{html_text(line)}</li>" for line in lines)
    return f"""<ul>
{items}
</ul>"""


def comparison_html(comparison: Comparison) -> str:
    """One page with the picture, all rows as a table, and the notes; no script, nothing fetched.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    svg = comparison_svg(comparison)
    table = html_table(HEADS, (cells(row) for row in comparison.rows))
    notes = html_list((*counts(comparison), *comparison.notes))
    title = f"A: {comparison.a.text}, B: {comparison.b.text}"
    return html_page(title, summary(comparison), svg, f"{table}\n{notes}")


def summary(comparison: Comparison) -> str:
    """The result in one sentence."""
    verdicts = ", ".join(f"{n} {verdict}" for verdict, n in sorted(comparison.verdicts.items()))
    bounds = "no interval"
    if comparison.mean_lo is not None and comparison.mean_hi is not None:
        bounds = f"95 %: {comparison.mean_lo:.3f} … {comparison.mean_hi:.3f}"
    return (
        f"B / A of {len(comparison.rows)} common workloads: geometric mean {comparison.geometric_mean:.3f} ({bounds});"
        f" {verdicts}; together {comparison.total_a_ms:.3f} ms on A, {comparison.total_b_ms:.3f} ms on B."
    )


def counts(comparison: Comparison) -> list[str]:
    """What is not compared, a line for each reason."""
    counts = [f"{n} only on {side}: {reason}" for side in "AB" for reason, n in comparison.only_on(side).items()]
    for side, failures in (("A", comparison.failures_a), ("B", comparison.failures_b)):
        counts += [f"{n} without latency on {side}: {status}" for status, n in failures.items()]
    return counts


def _title(comparison: Comparison) -> str:
    return plain_text(f"A: {comparison.a.text};  B: {comparison.b.text}") + (
        f"\ngeometric mean of B / A: {comparison.geometric_mean:.3f}"
        f" over {len(comparison.rows)} workload{'s' * (len(comparison.rows) != 1)}"
    )


def _draw_strips(axes: Axes, rows: Sequence[Row]) -> None:
    for side, shift in (("A", -0.19), ("B", 0.19)):
        points = [_thinned(row.a.sessions_ms if side == "A" else row.b.sessions_ms) for row in rows]
        x = [value for values in points for value in values]
        y = [place + shift + jitter for place, values in enumerate(points) for jitter in _jitter(len(values))]
        label = f"{side}, a visit each"
        axes.scatter(x, y, s=9, marker=_MARKER[side], color=_COLOUR[side], alpha=0.55, linewidths=0, label=label)
        medians = [(row.a if side == "A" else row.b).latency_ms for row in rows]
        places = [place + shift for place in range(len(rows))]
        axes.scatter(medians, places, s=70, marker="|", color="black", linewidths=1.3, zorder=3)
    axes.set_xscale("log")
    kinds = sorted({row.basis for row in rows})
    axes.set_xlabel(f"{' or '.join(kinds)} latency of a visit, ms\nlogarithmic; bar: median over sessions")
    set_ticks(axes.xaxis, *axes.get_xlim())
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, markerscale=2)


def _draw_ratios(axes: Axes, rows: Sequence[Row]) -> None:
    axes.axvline(1.0, color="black", linewidth=0.9)
    for place, row in enumerate(rows):
        winner = row.winner
        colour = _COLOUR[winner] if winner else "#555555"
        if row.lo is not None and row.hi is not None:
            axes.plot([row.lo, row.hi], [place, place], color=colour, linewidth=1.6)
        face = colour if winner else "white"
        marker = _MARKER[winner] if winner else "D"
        axes.plot([row.ratio], [place], marker, color=colour, markerfacecolor=face, markersize=5)
    axes.set_xscale("log")
    # One and some room, also where all ratios are alike.
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.97), max(high, 1.03))
    axes.set_xlabel("B / A with 95 % interval\nbelow 1: B is faster; hollow: no difference shown")
    set_ticks(axes.xaxis, *axes.get_xlim())
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def set_ticks(axis: Axis, low: float, high: float) -> None:
    """Plain numbers: round ones within a decade, else 1, 2 and 5 of each decade, or its first only over many."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    decades = math.log10(high / low)
    if decades < 1:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    else:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 3 else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
    axis.set_minor_locator(NullLocator())


def _thinned(sessions_ms: Sequence[Sequence[float]]) -> list[float]:
    values = sorted(value for values in sessions_ms for value in values)
    if len(values) <= _POINTS_MAX:
        return values
    return [values[round(rank)] for rank in np.linspace(0, len(values) - 1, _POINTS_MAX)]


def _jitter(n: int) -> list[float]:
    """Heights that keep neighbours apart: the fractional parts of multiples of the golden ratio, within ±0.13."""
    return [(rank * 0.6180339887 % 1.0 - 0.5) * 0.26 for rank in range(n)]


def _label(row: Row) -> str:
    text = plain_text(f"{row.name} ({row.detail})" if row.detail else row.name)
    if len(text) <= _LABEL_LENGTH:
        return text
    # The end tells apart what the beginning does not: sizes stand there.
    return f"{text[: _LABEL_LENGTH // 2]}…{text[-_LABEL_LENGTH // 2 + 1 :]}"


def cells(row: Row) -> tuple[str, ...]:
    """One line of the table of a comparison, under ``HEADS``."""
    bounds = "–" if row.lo is None or row.hi is None else f"{row.lo:.3f} … {row.hi:.3f}"
    spreads = (row.spread_a or "–", row.spread_b or "–")
    name = f"{row.name} ({row.detail})" if row.detail else row.name
    numbers = (f"{row.a.latency_ms:.4g}", f"{row.b.latency_ms:.4g}", f"{row.ratio:.3f}")
    return (name, *numbers, bounds, row.verdict, row.basis, *spreads)


def plain_text(text: str) -> str:
    """Without the characters that no XML and no HTML may hold."""
    return _CONTROL.sub(" ", text)


def html_text(text: str) -> str:
    """Text as it may stand in HTML."""
    return html.escape(plain_text(text))
