"""Operators that slide, sample or resize: pools, interpolation, regions of interest."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from .elementwise import DEQUANTISE, QUANTISE
from .operands import Operands, Rule, nothing, per_input, size

#: Bilinear: four weights (four products), four products, three sums, two fractions.
_BILINEAR = 13
#: Cubic: weights by Horner's rule in each axis, then 16 products and 15 sums.
_BICUBIC = 55


def _window(per_element: float) -> Callable[[Operands], float]:
    """Every output looks at a whole window; elements of the padding are counted as if they were looked at."""

    def operations(operands: Operands) -> float:
        return per_element * operands.elements * math.prod(operands.numbers("kernel_shape"))

    return operations


def _quantised_window(operands: Operands) -> float:
    return _window(1)(operands) + (DEQUANTISE + QUANTISE) * operands.elements


def _quantised_global(operands: Operands) -> float:
    return operands.read + (DEQUANTISE + QUANTISE) * operands.elements


def _resize(operands: Operands) -> float:
    """Nearest copies; linear and cubic combine 2 or 4 neighbours on each axis that changes its size."""
    mode = operands.attributes.get("mode", "nearest")
    if mode == "nearest":
        return 0.0
    source, target = operands.first, operands.outputs[0]
    axes = sum(before != after for before, after in zip(source, target, strict=False))
    return float(2 * (4 if mode == "cubic" else 2) ** axes * operands.elements)


def _grid_sample(operands: Operands) -> float:
    """4 operations turn a place of the grid into a place of the image; the channels share the weights' work here."""
    mode, axes = operands.attributes.get("mode", "linear"), len(operands.first) - 2
    places = operands.elements // max(operands.outputs[0][1], 1) if len(operands.outputs[0]) > 1 else 1
    grid = 2 * axes * places
    if mode == "nearest":
        return float(grid)
    per_element = (_BICUBIC if "cubic" in mode else _BILINEAR) * 2 ** max(axes - 2, 0)
    return float(grid + per_element * operands.elements)


def _affine_grid(operands: Operands) -> float:
    """Each coordinate is a row of the matrix times (place, 1)."""
    axes = operands.outputs[0][-1] if operands.outputs[0] else 1
    return float(2 * (axes + 1) * operands.elements)


def _roi_align(operands: Operands) -> float:
    """Each cell averages a grid of bilinear samples; with a ratio of 0 the region's size decides: at least one."""
    ratio = operands.number("sampling_ratio", 0) or 1
    return float((_BILINEAR + 1) * ratio**2 * operands.elements)


def _crop_and_resize(operands: Operands) -> float:
    return float(_BILINEAR * operands.elements)


def _roi_pool(operands: Operands) -> float:
    """Regions may lie anywhere and overlap: at most each looks at the whole map of each channel."""
    return float(operands.outputs[0][0] * size(operands.first[1:])) if operands.outputs[0] else float(operands.read)


WINDOWS: Mapping[str, Rule] = {
    **{name: Rule(_window(1)) for name in ("MaxPool", "AveragePool", "NhwcMaxPool", "MaxpoolWithMask")},
    "LpPool": Rule(_window(2)),
    "QLinearAveragePool": Rule(_quantised_window),
    "GlobalMaxPool": Rule(per_input(1)),
    "GlobalAveragePool": Rule(per_input(1)),
    "GlobalLpPool": Rule(per_input(2)),
    "QLinearGlobalAveragePool": Rule(_quantised_global),
    "MaxUnpool": Rule(nothing),
    "Resize": Rule(_resize),
    "Upsample": Rule(_resize),
    "GridSample": Rule(_grid_sample),
    "AffineGrid": Rule(_affine_grid),
    "RoiAlign": Rule(_roi_align, "lower_bound"),
    "MaxRoiPool": Rule(_roi_pool, "upper_bound"),
    "CropAndResize": Rule(_crop_and_resize),
}
