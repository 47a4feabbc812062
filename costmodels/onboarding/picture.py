"""The sample-efficiency report as a picture: error against samples, as SVG. Same input, same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..pictures import drawing, svg_text
from .onboard import Onboarding

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Blue for the new device, grey for the known ones: the difference is told apart without colour too.
_NEW, _KNOWN = "#0072B2", "#999999"


def efficiency_svg(onboarding: Onboarding, title: str) -> str:
    """The leave-one-out error now, what more samples are expected to bring, and the curves that say so.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    with drawing():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.8, 4.4), layout="constrained")
        axes = figure.subplots()
        _draw(axes, onboarding)
        axes.set_title(title, fontsize=10.0)
        return svg_text(figure)


def _draw(axes: Axes, onboarding: Onboarding) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    report = onboarding.efficiency
    for place, curve in enumerate(onboarding.curves):
        label = "known devices, each as if it were new" if place == 0 else None
        axes.plot(curve.samples, curve.error_percent, color=_KNOWN, linewidth=0.8, label=label)
    samples = [report.samples, *(report.samples + gain.more for gain in report.gains)]
    errors = [report.error_percent, *(gain.error_percent for gain in report.gains)]
    axes.plot(samples, errors, color=_NEW, marker="o", label=f"this device, expected ({report.basis})")
    for gain in report.gains:
        if gain.lo_percent is not None and gain.hi_percent is not None:
            axes.plot([report.samples + gain.more] * 2, [gain.lo_percent, gain.hi_percent], color=_NEW, linewidth=3)
    axes.plot([report.samples], [report.error_percent], "D", color=_NEW, markersize=9, label="this device, now")
    axes.axhline(onboarding.spread_percent, color="black", linestyle=":", linewidth=1, label="one number for all")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("measured networks")
    axes.set_ylabel("mean error, %")
    ticks = sorted({*samples, *(size for curve in onboarding.curves for size in curve.samples)})
    axes.set_xticks(_apart(ticks))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    low, high = axes.get_ylim()
    axes.set_yticks([value for value in (0.5, 1, 2, 5, 10, 20, 50, 100) if low <= value <= high])
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8.0, frameon=False)


def _apart(ticks: list[int]) -> list[int]:
    """Those that are at least a fifth above the one before, so that the numbers do not overlap."""
    kept: list[int] = []
    for tick in ticks:
        if not kept or tick >= 1.2 * kept[-1]:
            kept.append(tick)
    return kept
