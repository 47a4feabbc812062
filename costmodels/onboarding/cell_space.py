"""NAS-Bench-201 (Dong & Yang, ICLR 2020): its cells, their order in the benchmark, and their CIFAR networks.

Of the 15,625 cells many hold operators that nothing of the input reaches or that reach no output. PyTorch executes
them as they stand; here a cell is built without them, as somebody would deploy it: it shares its network with a
canonical one.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ...profiler.errors import UsageError
from ..space_models.cell_graph import carrying
from ..space_models.encoding import Encoding, encode_cells
from .arch_space import Archs, arch_text, read_arch_text

if TYPE_CHECKING:
    from ...profiler.graphs.operators import GraphBuilder
    from ...profiler.workload import Workload

NAME = "nasbench201"
OP_NAMES = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
#: Edges of a cell, (from, to), in the order of the benchmark's strings.
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
#: The benchmark shuffled its cells with this seed once (``generate_meta_info`` of its code); an index is a place there.
_ORDER_SEED = 88
#: Channels of the three stages and cells in each (the paper's figure 1), input and classes of CIFAR-10.
_CHANNELS, _CELLS, _SIDE, _CLASSES = (16, 32, 64), 5, 32, 10
_NODE = re.compile(r"([a-z0-9_]+)~(\d)")


class NasBench201:
    """See ``ArchSpace``. A row holds the operator of each edge; its place in ``order`` is the benchmark's index."""

    name = NAME
    prefix = f"{NAME}-"
    op_names = OP_NAMES

    @cached_property
    def pool(self) -> Archs:
        """The canonical cells: all that are networks of their own."""
        cells = self.order
        itself = (self.canonical(cells) == cells).all(axis=1)
        kept: Archs = cells[itself & ~self.encode(cells).degenerate]
        return kept

    def canonical(self, archs: Archs) -> Archs:
        """Without the edges that carry nothing of the input to the output."""
        chosen = np.asarray(archs, dtype=np.int16)
        through = carrying(chosen != OP_NAMES.index("none"), EDGES)
        return np.where(through, chosen, OP_NAMES.index("none")).astype(np.int16)

    @cached_property
    def order(self) -> Archs:
        cells = list(product(range(len(OP_NAMES)), repeat=len(EDGES)))
        random.Random(_ORDER_SEED).shuffle(cells)
        return np.array(cells, dtype=np.int16)

    def encode(self, archs: Archs) -> Encoding:
        return encode_cells(archs, EDGES, op_names=OP_NAMES)

    def build(self, arch: Archs) -> Workload:
        from ...profiler.graphs.blocks import ConvBlock
        from ...profiler.graphs.cell_blocks import NasBenchReduction, NasBenchTail
        from ...profiler.graphs.operators import GraphBuilder
        from ...profiler.workload import workload_from_model

        if self.encode(arch.reshape(1, -1)).degenerate[0]:
            raise UsageError(
                f"cell {arch_text(arch)} hands nothing of its input on: there is no network to build",
                remedy="choose a cell with a way from its input to its output",
            )
        arch = self.canonical(arch.reshape(1, -1))[0]
        name = f"{self.prefix}{arch_text(arch)}"
        graph = GraphBuilder(name)
        x = ConvBlock(_CHANNELS[0], 3).build(graph, graph.input((1, 3, _SIDE, _SIDE)))
        cell = CellBlock(tuple(arch.tolist()))
        for stage, channels in enumerate(_CHANNELS):
            x = NasBenchReduction(channels).build(graph, x) if stage else x
            for _ in range(_CELLS):
                x = cell.build(graph, x)
        x = NasBenchTail(_CLASSES).build(graph, x)
        return workload_from_model(name, "network", graph.model(x), tuple(graph.weights))

    def parse(self, text: str) -> Archs:
        """``4.2.1.2.1.1``, the same without dots, an index, or the benchmark's string with its bars."""
        given = text.strip()
        row = _of_string(given) if "~" in given else _of_digits(given)
        if row is None and given.isascii() and given.isdigit() and int(given) < len(self.order):
            row = self.order[int(given)]
        if row is None or row.max() >= len(OP_NAMES) or row.min() < 0:
            raise UsageError(
                f"{text!r} is no cell of {NAME}",
                remedy=f"write six operators 0 to {len(OP_NAMES) - 1} like 4.2.1.2.1.1, an index 0 to"
                f" {len(self.order) - 1}, or |avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|…",
            )
        return row


@dataclass(frozen=True)
class CellBlock:
    """One canonical cell as a block."""

    ops: tuple[int, ...]

    def build(self, graph: GraphBuilder, x: str) -> str:
        nodes: dict[int, str] = {0: x}
        for (source, target), op in zip(EDGES, self.ops, strict=True):
            if op == OP_NAMES.index("none"):
                continue
            value = self._edge(graph, nodes[source], OP_NAMES[op])
            nodes[target] = graph.add(nodes[target], value) if target in nodes else value
        return nodes[3]

    @staticmethod
    def _edge(graph: GraphBuilder, x: str, op: str) -> str:
        from ...profiler.graphs.cell_blocks import ReluConv
        from ...profiler.graphs.vision_blocks import Pool

        if op == "skip_connect":
            return x
        if op == "avg_pool_3x3":
            return Pool("average", 3).build(graph, x)
        return ReluConv(graph.shapes[x][1], 1 if op == "nor_conv_1x1" else 3).build(graph, x)


def _of_digits(text: str) -> Archs | None:
    dotted = ".".join(text) if len(text) == len(EDGES) and text.isdigit() else text
    return read_arch_text(dotted, len(EDGES))


def _of_string(text: str) -> Archs | None:
    """``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``."""
    found = [
        [match for part in node.strip("|").split("|") if (match := _NODE.fullmatch(part))] for node in text.split("+")
    ]
    sources = [[int(match[2]) for match in node] for node in found]
    names = [match[1] for node in found for match in node]
    if sources != [[0], [0, 1], [0, 1, 2]] or not set(names) <= set(OP_NAMES):
        return None
    return np.array([OP_NAMES.index(name) for name in names], dtype=np.int16)
