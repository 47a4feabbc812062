"""DenseNAS (JaminFong/DenseNAS): one line with a Python list, a number for every operation of its super-network.

A block takes its input from any of up to four blocks before it, with an operation for each, and has layers of its own.
Which blocks and connections there are is worked out as the search does it, from the scales of its MobileNetV2 space.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...profiler.kernels.graph import Kernel
from ...profiler.records import Json
from ...profiler.workload import Workload
from ..lut_formats.card import FormatCard
from ..spaces.cell import BlockSpec, Cell, make_cell
from ..spaces.slots import Part
from ..spaces.wiring import build_workload
from .base import OpTableFormat, Priced, Row
from .request import Request

#: Of each block, the first of which is the stem's end: channels, side of its map, stage, layers behind its head.
_CHANNELS = (16, 24, 32, 40, 48, 56, 64, 72, 96, 112, 128, 160, 176, 192, 320, 352, 384)
_SIDES = (112, 56, 28, 28, 28, 14, 14, 14, 14, 14, 14, 7, 7, 7, 7, 7, 7)
_STAGES = (0, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6)
_LAYERS = (0, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 0, 0, 0)
#: Blocks that one block may hand on to, at most.
_CONNECTED = 4
#: Kernel and expansion of the operations, in their order; a layer behind a head may also be skipped.
_OPERATIONS = ((3, 3), (3, 6), (5, 3), (5, 6), (7, 3), (7, 6))
#: The super-network is searched on a hundred classes of ImageNet.
_LAST, _CLASSES = 1984, 100

Nested = list["float | Nested"]


@dataclass(frozen=True)
class CellOperator:
    """A block at one shape."""

    cell: Cell

    @property
    def key(self) -> str:
        return f"cell {self.cell.input_shape[0]} {self.cell.key}"

    def workload(self) -> Workload:
        """The block as a graph of its own."""
        shape = self.cell.input_shape
        return build_workload(self.cell.key, "block", [("", shape, "float32")], [Part(self.cell)])

    def is_helper(self, kernel: Kernel) -> bool:
        return False


class DenseNasFormat(OpTableFormat):
    """``[stem, [[heads, layers] of each block], [last convolution of each branch], classifier]``."""

    name = "densenas"
    card = FormatCard(
        title="DenseNAS, MobileNetV2 space",
        reader="run_apis/search.py, config.optim.sub_obj.latency_list_path",
        units=(("latency", "ms"), ("energy", "mJ")),
        note="Made from no model. The published list is of batch 32: --batches 32. A skip costs 0. Stem and classifier "
        "are in it; the global pooling is not.",
    )

    def rows(self, request: Request) -> list[Row]:
        """Every operation by its place: ``block.head.branch.operation`` or ``block.layer.number.operation``."""
        batch = request.grid.batches[0] if request.grid.batches else 1
        return [Row(name, CellOperator(cell)) for name, cell in _cells(batch)]

    def render(self, priced: Sequence[Priced], request: Request) -> dict[str, bytes]:
        """Numbers as Python writes them, which is how the reader evaluates them."""
        cost = {one.row.name: one.latency_ms for one in priced}
        blocks: Nested = []
        for block in range(1, len(_CHANNELS)):
            heads: Nested = [
                [cost[f"{block}.head.{branch}.{operation}"] for operation in range(len(_OPERATIONS))]
                for branch in range(len(_sources(block)))
            ]
            # A skipped layer executes nothing.
            layers: Nested = [
                [*(cost[f"{block}.layer.{operation}"] for operation in range(len(_OPERATIONS))), 0.0]
                for _ in range(_LAYERS[block])
            ]
            blocks.append([heads, layers])
        last: Nested = [cost[f"last.{branch}"] for branch in range(len(_sources(len(_CHANNELS))))]
        table: Nested = [cost["stem.0"] + cost["stem.1"], blocks, last, cost["classifier"]]
        return {f"lat_list_densenas_mbv2_{request.prices.about.slug}": f"{table!r}\n".encode()}

    def said(self, priced: Sequence[Priced], request: Request) -> dict[str, Json]:
        return {"batch": request.grid.batches[0] if request.grid.batches else 1, "classes": _CLASSES}


def _sources(block: int) -> list[int]:
    """The blocks that a block may read, the nearest first; the number behind the last block is the network's end."""
    return [source for source in range(block - 1, -1, -1) if block in _targets(source)]


def _targets(source: int) -> list[int]:
    """The blocks that may read a block: the next few, until one is two stages or more than one halving away."""
    sides, stages = (*_SIDES, _SIDES[-1]), (*_STAGES, _STAGES[-1] + 1)
    targets: list[int] = []
    for target in range(source + 1, min(source + _CONNECTED, len(_CHANNELS)) + 1):
        if stages[target] - stages[source] > 1 or sides[source] // sides[target] not in (1, 2):
            break
        targets.append(target)
    return targets


def _cells(batch: int) -> Iterator[tuple[str, Cell]]:
    yield "stem.0", _cell("stem", BlockSpec("conv", 16, 3, 2, "relu6"), (batch, 3, 224, 224))
    first = _operation(16, 16, 3, 1, 1)
    yield "stem.1", _cell("stem", first, (batch, 16, 112, 112))
    for block in range(1, len(_CHANNELS)):
        channels, side = _CHANNELS[block], _SIDES[block]
        for branch, source in enumerate(_sources(block)):
            shape = (batch, _CHANNELS[source], _SIDES[source], _SIDES[source])
            for number, (kernel, expand) in enumerate(_OPERATIONS):
                spec = _operation(_CHANNELS[source], channels, kernel, expand, _SIDES[source] // side)
                yield f"{block}.head.{branch}.{number}", _cell("head", spec, shape)
        if _LAYERS[block]:
            for number, (kernel, expand) in enumerate(_OPERATIONS):
                spec = _operation(channels, channels, kernel, expand, 1)
                yield f"{block}.layer.{number}", _cell("layer", spec, (batch, channels, side, side))
    for branch, source in enumerate(_sources(len(_CHANNELS))):
        shape = (batch, _CHANNELS[source], _SIDES[source], _SIDES[source])
        yield f"last.{branch}", _cell("last", BlockSpec("conv", _LAST, act="relu6"), shape)
    yield "classifier", _cell("classifier", BlockSpec("dense", _CLASSES), (batch, _LAST))


def _operation(channels: int, out: int, kernel: int, expand: int, stride: int) -> BlockSpec:
    return BlockSpec("inverted_residual", out, kernel, stride, "relu6", expand, channels * expand, expands=expand > 1)


def _cell(layer: str, spec: BlockSpec, shape: tuple[int, ...]) -> Cell:
    return make_cell(layer, "choice", spec, shape)
