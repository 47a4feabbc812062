"""The audit of a table as a picture: measured against priced, with the band of ±5 %, as SVG. Same input, same bytes."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from .lut_audit import LutAudit
from .pictures import drawing, set_ticks, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAND = 0.05
#: Letters that a line of the title has room for.
_TITLE = 70
#: Colour and marker both tell the roles apart: plain sums, networks of the fit, judged ones.
_SUM, _FIT, _JUDGE = "#999999", "#D55E00", "#0072B2"


def audit_svg(audit: LutAudit, title: str, unit: str = "ms") -> str:
    """Plain sums and corrected prices of every network against what was measured.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    with drawing():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 6.2), layout="constrained")
        axes = figure.subplots()
        _draw(axes, audit, unit)
        axes.set_title(textwrap.fill(title, _TITLE, break_on_hyphens=False), fontsize=10.0)
        return svg_text(figure)


def _draw(axes: Axes, audit: LutAudit, unit: str) -> None:
    measured = np.array([one.measured_ms for one in audit.networks])
    sums = np.array([one.sum_ms for one in audit.networks])
    priced = np.array([one.priced_ms for one in audit.networks])
    fits = np.array([one.role == "fit" for one in audit.networks])
    everything = np.concatenate([measured, sums, priced[priced > 0]])
    ends = np.array([everything.min() * 0.95, everything.max() * 1.05])
    axes.fill_between(ends, ends * (1 - _BAND), ends * (1 + _BAND), color="#dddddd", label="±5 %", linewidth=0)
    axes.plot(ends, ends, color="black", linewidth=0.8)
    axes.plot(measured, sums, "x", color=_SUM, markersize=4, label="sum of the table")
    if fits.any():
        axes.plot(measured[fits], priced[fits], "^", color=_FIT, markersize=5, label="corrected, of the fit")
    label = f"corrected, {audit.judged_by}"
    axes.plot(measured[~fits], priced[~fits], "o", color=_JUDGE, markersize=4, label=label)
    # First the scales, which bring formatters of their own.
    axes.set(xscale="log", yscale="log", xlim=tuple(ends), ylim=tuple(ends))
    for axis in (axes.xaxis, axes.yaxis):
        set_ticks(axis, float(ends[0]), float(ends[1]))
    axes.set_aspect("equal")
    axes.set_xlabel(f"measured, {unit}")
    axes.set_ylabel(f"priced, {unit}")
    axes.legend(loc="upper left", fontsize=8.0, frameon=False)
