"""TinyNAS (alibaba/lightweight-neural-architecture-search): a library of convolutions that its reader interpolates in.

The reader interpolates over output channels and size within each class, batch and ratio of channels, then over ratios
and batches. It knows square maps, and nothing but convolutions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ...profiler.errors import UsageError
from ...profiler.records import Json
from ..lut_formats.card import FormatCard
from .base import OpTableFormat, Priced, Row
from .operators import Convolution
from .request import Grid, Request

#: With batch 1 alone the reader could not ask for another batch: it draws a line through two or more.
_BATCHES = (1, 32)
_SIDES = (7, 14, 28, 56, 112, 224)
_CHANNELS = (16, 64, 192, 512)
_KERNELS = (1, 3, 5, 7)
_STRIDES = (1, 2)
#: Input channels over output channels. Networks have others; the reader draws a line between these.
_RATIOS = (Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(2), Fraction(4))
#: The reader puts all rows with an image's three channels into a class of their own.
_IMAGE = 3
#: Rows of this size the reader leaves out.
_IGNORED_SIDE = 4
#: Above this a grid's convolution is larger than any in a network for devices, and takes a second to prepare.
_MOST_WEIGHTS = 2**23
#: The reader's interpolation needs a triangulation, which three points on no line have; it asks for four.
_LEAST_POINTS = 4
_SUFFIXES = {"fp32": "", "fp16": ".fp16", "int8-qdq": ".int8", "int8-qoperator": ".int8"}


@dataclass(frozen=True)
class _Point:
    """One row, with what the reader makes of it."""

    kind: str
    fused: bool
    operator: Convolution

    @property
    def name(self) -> str:
        op = self.operator
        numbers = (op.batch, op.in_channels, *op.size, op.out_channels, op.kernel[0], op.stride[0], int(self.fused))
        return "{" + ",".join([self.kind, *map(str, numbers)]) + "}"

    @property
    def cell(self) -> tuple[str, ...]:
        """Where the reader puts it: class, batch and ratio."""
        op = self.operator
        ratio = 0.0 if op.in_channels == _IMAGE else int(op.in_channels / op.out_channels * 100) / 100
        key = (self.kind, op.stride[0], int(self.fused), op.kernel[0], op.batch)
        return (*map(str, key), f"{ratio:g}" if self.kind == "Regular" else "any")

    @property
    def place(self) -> tuple[int, int]:
        return self.operator.out_channels, self.operator.size[0]


class TinyNasFormat(OpTableFormat):
    """A line for each convolution, with the milliseconds of the whole batch."""

    name = "tinynas"
    card = FormatCard(
        title="TinyNAS, op profiler",
        reader="tinynas.latency.op_profiler.predictor.OpProfiler(device_name, data_type)",
        units=(("latency", "ms"), ("energy", "mJ")),
        note="Give the absolute path of the folder as device_name. It divides by the batch; convolutions alone count.",
    )

    def rows(self, request: Request) -> list[Row]:
        """The grid, each cell of which the reader can triangulate."""
        self._suffix(request)
        points = _grid(request.grid)
        _check_cells(points)
        return [Row(point.name, point.operator) for point in points]

    def render(self, priced: Sequence[Priced], request: Request) -> dict[str, bytes]:
        """No empty line: the reader fails at one."""
        # Fixed-point: the shortest text that reads back as the same number.
        lines = [f"{one.row.name} {np.format_float_positional(one.latency_ms, trim='0')}" for one in priced]
        return {f"conv_data.out{self._suffix(request)}": ("\n".join(lines) + "\n").encode()}

    def said(self, priced: Sequence[Priced], request: Request) -> dict[str, Json]:
        return {
            "batch": [*(request.grid.batches or _BATCHES)],
            "left_out": f"convolutions with more than {_MOST_WEIGHTS} weights",
        }

    def _suffix(self, request: Request) -> str:
        precision = request.prices.about.precision or "fp32"
        if precision not in _SUFFIXES:
            raise UsageError(f"the reader of '{self.name}' has no file for {precision}", remedy="fp32, fp16 or int8")
        return _SUFFIXES[precision]


def _grid(grid: Grid) -> list[_Point]:
    sides, channels = grid.sides or _SIDES, grid.channels or _CHANNELS
    if _IGNORED_SIDE in sides:
        raise UsageError("the reader leaves out rows of size 4", remedy="give other sizes: --resolutions 7,14,28")
    found = []
    for batch in grid.batches or _BATCHES:
        for kernel in grid.kernels or _KERNELS:
            for stride in _STRIDES:
                for side in sides:
                    found += _regular(batch, kernel, stride, side, channels)
                    found += _depthwise(batch, kernel, stride, side, channels)
    return found


def _regular(batch: int, kernel: int, stride: int, side: int, channels: Sequence[int]) -> list[_Point]:
    inner = [(int(out * ratio), out) for out in channels for ratio in _RATIOS if (out * ratio).denominator == 1]
    pairs = [pair for pair in inner if pair[0] != _IMAGE] + [(_IMAGE, out) for out in channels]
    return [
        _Point("Regular", fused, Convolution.square(batch, cin, side, out, kernel, stride, residual=fused))
        for cin, out in pairs
        for fused in (False, True)
        if cin * out * kernel * kernel <= _MOST_WEIGHTS
    ]


def _depthwise(batch: int, kernel: int, stride: int, side: int, channels: Sequence[int]) -> list[_Point]:
    if kernel == 1:
        return []
    return [
        _Point(
            "Depthwise", fused, Convolution.square(batch, out, side, out, kernel, stride, groups=out, residual=fused)
        )
        for out in channels
        for fused in (False, True)
    ]


def _check_cells(points: Sequence[_Point]) -> None:
    """Every cell needs four points that are not on a line: with fewer the reader fails when it loads.

    Raises:
        UsageError: one has not.
    """
    cells: dict[tuple[str, ...], set[tuple[int, int]]] = defaultdict(set)
    for point in points:
        cells[point.cell].add(point.place)
    for cell, places in cells.items():
        spread = np.array(sorted(places)) - min(places)
        if len(places) < _LEAST_POINTS or np.linalg.matrix_rank(spread) < 2:
            kind, stride, fused, kernel, batch, ratio = cell
            raise UsageError(
                f"{kind} convolutions with kernel {kernel}, stride {stride}, fused {fused}, batch {batch} and ratio"
                f" {ratio} would have {len(places)} points of output channels and size; the reader needs"
                f" {_LEAST_POINTS} that are not on a line",
                remedy="name at least two sizes and two channels: --resolutions 7,14,28 --channels 16,64,192",
            )
