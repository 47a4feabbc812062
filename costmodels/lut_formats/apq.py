"""APQ's JSON table: three convolutions for each block, at each pair of bits, with latency and energy side by side.

A lookup table of ours has one precision. Every pair of bits gets its numbers: a runtime without kernels for fewer bits
runs them as these. The additions of shortcuts are in no row, as in the table that APQ's authors published.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from ..lut import Lut
from ..space import Space
from ..spaces.cell import Cell
from .additive import AdditiveFormat, Entry
from .card import FormatCard, Metric
from .rows import Rows

_BITS = (4, 6, 8)
#: Cells that the reader adds to every network, by the layers of the space.
_HEAD, _TAIL = ("stem", "first"), ("final", "classifier")
#: The reader refuses a depthwise convolution of this kernel on activations of these bits.
_REFUSED = (7, 4)
_OTHER: dict[Metric, Metric] = {"latency": "energy", "energy": "latency"}


class ApqFormat(AdditiveFormat):
    """mit-han-lab/apq."""

    name = "apq"
    card = FormatCard(
        title="APQ",
        reader="utils/latency_predictor.py LatencyPredictor",
        spaces=("apq",),
        offset_in="classifier",
        note="The reader accepts the platform BitFusion alone, and finds the file by that name in lut/. A table has "
        "one precision: each pair of bits gets its numbers. Shortcut additions are in no row. The metric that was not "
        "asked for stands beside it where the table knows it, else NaN.",
    )

    def filename(self, lut: Lut, space: Space) -> str:
        """The reader's only name, in the folder lut/ below where it runs."""
        return "BitFusion_new.b1.dict"

    def entries(self, space: Space) -> list[Entry]:
        """6,567 rows of convolutions, and the cells of head and tail, which the reader adds as two numbers."""
        if space.name not in self.card.spaces:
            raise self.refuse(space)
        fixed = {cell.layer: cell for cell in space.fixed}
        entries = [(f"head/{layer}", fixed[layer]) for layer in _HEAD]
        entries += [(f"tail/{layer}", fixed[layer]) for layer in _TAIL]
        for cell in space.measurable:
            if cell.layer.startswith("stage") and cell.spec.block in ("conv", "depthwise"):
                entries += [(f"{_convolution(cell)}-W{w}A{a}", cell) for w, a in _bits(cell)]
        return entries

    def render(self, values: dict[str, float], rows: Rows) -> str:
        """Text keys, both metrics in each value."""
        asked, other = rows.metric, _OTHER[rows.metric]
        beside = Rows.of(rows.lut, rows.space, other, self.card, self.name)
        cells = dict(self.entries(rows.space))
        table: dict[str, dict[str, float]] = {}
        for name, value in values.items():
            known = beside.value(cells[name]) if beside.knows(cells[name]) else math.nan
            row = table.setdefault(name.split("/")[0], {"energy": 0.0, "latency": 0.0})
            row[asked] += value
            row[other] += known
        return json.dumps(table, indent=1) + "\n"


def _convolution(cell: Cell) -> str:
    """Input and output channels, side, kernel, stride, padding, groups, as Python writes a tuple."""
    channels, kernel = cell.input_shape[1], cell.spec.kernel
    groups = channels if cell.spec.block == "depthwise" else 1
    return str((channels, cell.output_shape[1], cell.input_shape[2], kernel, cell.spec.stride, kernel // 2, groups))


def _bits(cell: Cell) -> Iterator[tuple[int, int]]:
    for weights in _BITS:
        for activations in _BITS:
            if cell.spec.block != "depthwise" or (cell.spec.kernel, activations) != _REFUSED:
                yield weights, activations
