"""Which architecture of a space an ONNX file is: its weighted nodes in order, parsed as the cells of the space.

A file that was exported from somebody's training code has other names, batch normalisations folded or not, and
activations spelled out. What it shares with the space's own graph are the convolutions and matrix products: their
weights' shapes, strides and groups, in the order of execution. Those are compared, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
from onnx import helper

from ..profiler.errors import UsageError
from ..profiler.workload import Workload
from .space import Space
from .spaces.cell import Cell
from .spaces.coding import Numeric, Position
from .spaces.slots import Slot


@dataclass(frozen=True)
class WeightedNode:
    """A convolution or matrix product by what any exporter keeps of it.

    Attributes:
        weight: output channels, input channels of a group, kernel height, kernel width; a matrix has a kernel of 1×1.
    """

    weight: tuple[int, ...]
    strides: tuple[int, ...] = (1, 1)
    groups: int = 1

    def __str__(self) -> str:
        out, inside, *kernel = self.weight
        text = f"{'×'.join(map(str, kernel))} {inside * self.groups}→{out}"
        text += f", stride {self.strides[0]}" if max(self.strides) > 1 else ""
        return text + (f", {self.groups} groups" if self.groups > 1 else "")


def weighted_nodes(workload: Workload) -> tuple[WeightedNode, ...]:
    """The convolutions and the matrix products with a weight, in the order of the file."""
    graph = onnx.ModelProto.FromString(workload.skeleton).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    shapes |= {weight.name: tuple(weight.shape) for weight in workload.weights}
    return tuple(_weighted(graph.node, shapes))


def _weighted(nodes: list[onnx.NodeProto], shapes: dict[str, tuple[int, ...]]) -> Iterator[WeightedNode]:
    for node in nodes:
        if node.op_type not in ("Conv", "Gemm", "MatMul") or node.input[1] not in shapes:
            continue
        weight = shapes[node.input[1]]
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        if node.op_type == "Conv":
            strides = tuple(attributes.get("strides", [1] * (len(weight) - 2)))
            yield WeightedNode(weight, strides, int(attributes.get("group", 1)))
        elif len(weight) == 2:
            out, inside = weight if attributes.get("transB") else weight[::-1]
            yield WeightedNode((out, inside, 1, 1))


def recognise(workload: Workload, space: Space) -> Numeric:
    """The architecture whose cells have the same weighted nodes in the same order, int16 (positions,).

    Raises:
        UsageError: there is none; the message says at which node of the file the space has no more way to go on.
    """
    space.require_chain("recognition of a model file")
    parser = _Parser(space, weighted_nodes(workload))
    arch = parser.parse(0, 0, ())
    if arch is None:
        raise UsageError(
            f"{workload.name} is no architecture of {space.name} at resolution {space.resolution}, width"
            f" {space.width:g}: {parser.where()}",
            remedy="Name the space, resolution and width that the model was drawn from, or give --arch.",
        )
    return np.array(arch, dtype=np.int16)


class _Parser:
    """Depth first through the steps of a space; what failed once at a place is not tried there again."""

    def __init__(self, space: Space, nodes: tuple[WeightedNode, ...]) -> None:
        self.space, self.nodes, self.furthest = space, nodes, 0
        self._failed: set[tuple[int, int, int]] = set()
        self._of_cell = cache(self._nodes_of)
        places = [(stage, place) for stage in space.stages for place in range(stage.start, stage.stop)]
        self._stage_of = {place: stage for stage, place in places}

    def where(self) -> str:
        """The node that no cell goes on with."""
        if not self.nodes:
            return "it has no convolution and no matrix product"
        if self.furthest >= len(self.nodes):
            return f"after its {len(self.nodes)} weighted nodes the space goes on"
        return f"nothing in the space goes on with its weighted node {self.furthest + 1}, {self.nodes[self.furthest]}"

    def parse(self, step: int, offset: int, chosen: tuple[int, ...]) -> tuple[int, ...] | None:
        """The indices from ``step`` on, behind those ``chosen`` so far, where ``offset`` nodes are used."""
        self.furthest = max(self.furthest, offset)
        if step == len(self.space.sequence):
            return chosen if offset == len(self.nodes) else None
        # The last choice says whether the stage was ended: behind it nothing of the stage may be active.
        state = (step, offset, chosen[-1] if chosen and chosen[-1] < 0 else 0)
        if state in self._failed:
            return None
        here = self.space.sequence[step]
        assert not isinstance(here, Slot), "the space is a chain"
        for index, after in self._ways(here, offset, chosen):
            found = self.parse(step + 1, after, chosen if index is None else (*chosen, index))
            if found is not None:
                return found
        self._failed.add(state)
        return None

    def _ways(self, step: Cell | Position, offset: int, chosen: tuple[int, ...]) -> Iterator[tuple[int | None, int]]:
        if isinstance(step, Cell):
            if (after := self._after(step, offset)) is not None:
                yield None, after
            return
        stage = self._stage_of[len(chosen)]
        place = len(chosen) - stage.start
        ended = place > 0 and chosen[-1] < 0
        if not ended:
            for index, cell in enumerate(step.cells):
                if (after := self._after(cell, offset)) is not None:
                    yield index, after
        if ended or place in stage.depths:
            yield -1, offset

    def _after(self, cell: Cell, offset: int) -> int | None:
        """The number of used nodes behind a cell; None where the file goes on with something else."""
        nodes = self._of_cell(cell)
        end = offset + len(nodes)
        return end if self.nodes[offset:end] == nodes else None

    def _nodes_of(self, cell: Cell) -> tuple[WeightedNode, ...]:
        workload = self.space.workload(cell)
        return () if workload is None else weighted_nodes(workload)
