"""Where a network can be cut in two: positions in the order of its nodes, and which tensors cross at each.

Only the main graph is cut: an If, Loop or Scan is one step. What does not depend on the inputs crosses nowhere: each
half has its own constants. Of the orders that a graph allows the one in its file counts; another one of the same graph
may have cuts between branches that this one has not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import onnx
from onnx import TensorProto, helper, inliner, numpy_helper

from ...profiler.graphs.graph_constants import Constants, infer_values
from ...profiler.graphs.graph_edit import unique_names
from ...profiler.kernels.origin import node_reads
from ...profiler.kernels.shapes import Shape, concrete_shape
from ...profiler.weights import Weight
from ...profiler.workload import Workload

#: They make another value in each run, though nothing is fed to them.
_RANDOM = frozenset("RandomNormal RandomNormalLike RandomUniform RandomUniformLike Bernoulli Multinomial".split())
#: Bits of the types whose elements share a byte.
_PACKED_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
#: What may be quantised before it crosses. Whole numbers are labels and places: of those a byte may be too small.
_QUANTISABLE = TensorProto.FLOAT


@dataclass(frozen=True)
class Crossing:
    """A tensor that crosses from head to tail. ``size_bytes`` is what crosses, by 8 bits where it is ``compressed``."""

    name: str
    dtype: str
    shape: Shape
    size_bytes: int
    compressed: bool = False


@dataclass(frozen=True)
class CutPoint:
    """One place to cut.

    Attributes:
        position: steps that the head does. 0: everything is done on the tail, and the inputs cross; all of them:
            everything is done on the head, and nothing crosses.
        after: for people: ``input``, ``output``, or the operator and value behind which the cut is.
    """

    position: int
    after: str
    crossing: tuple[Crossing, ...]

    @property
    def size_bytes(self) -> int:
        return sum(one.size_bytes for one in self.crossing)


@dataclass(frozen=True)
class CutPoints:
    """All of a network, in the order of its steps: at least everything on the tail, and everything on the head.

    Attributes:
        too_many: positions at which more tensors cross than were asked for.
        unknown: positions at which a tensor crosses whose size is not known.
    """

    points: tuple[CutPoint, ...]
    too_many: int
    unknown: int


class SplitGraph:
    """A network made ready for cutting.

    Attributes:
        workload: as it was given.
        model: the same with its local functions written out where they are called.
        weights: what the model lacks.
        types: of its values, as far as they are known.
        feeds: names of the inputs that are fed.
        folded: values that follow from shapes, and so are constants of both halves.
        fixed: nodes that do not depend on what is fed; both halves have those that they need.
        steps: the other nodes that an output needs, in order.
    """

    def __init__(self, workload: Workload) -> None:
        model = onnx.load_model_from_string(workload.skeleton)
        model = inliner.inline_local_functions(model) if model.functions else model
        unique_names(model.graph, {weight.name for weight in workload.weights})
        values = infer_values(model, workload.weights)
        self.workload = workload
        self.model = model
        self.weights: Mapping[str, Weight] = {weight.name: weight for weight in workload.weights}
        self.types = {name: value.type for name, value in values.items()}
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.sparse = {tensor.values.name: tensor for tensor in model.graph.sparse_initializer}
        given = self.weights.keys() | self.constants.keys() | self.sparse.keys()
        self.feeds = [value.name for value in model.graph.input if value.name not in given]
        self.reads = [tuple(dict.fromkeys(node_reads(node))) for node in model.graph.node]
        self.folded: dict[str, TensorProto] = {}
        self.fixed: list[int] = []
        moving = self._sort_nodes(given, Constants(model, values))
        self.steps = self._needed(moving)

    def _sort_nodes(self, given: set[str], constants: Constants) -> list[int]:
        """Fill ``fixed`` and ``folded``; the nodes that are neither."""
        known, moving = set(given), []
        for place, node in enumerate(self.model.graph.node):
            if node.op_type not in _RANDOM and all(name in known for name in self.reads[place]):
                self.fixed.append(place)
                known.update(filter(None, node.output))
                continue
            value = constants.find(node.output[0]) if len(node.output) == 1 else None
            if value is None:
                moving.append(place)
                continue
            known.add(node.output[0])
            self.folded[node.output[0]] = numpy_helper.from_array(value, node.output[0])
        return moving

    def _needed(self, moving: Sequence[int]) -> list[int]:
        """Those that an output needs."""
        wanted = {value.name for value in self.model.graph.output}
        found = []
        for place in reversed(moving):
            if wanted.intersection(self.model.graph.node[place].output):
                found.append(place)
                wanted.update(self.reads[place])
        return found[::-1]

    @cached_property
    def made_at(self) -> dict[str, int]:
        """Of each value that depends on what is fed: how many steps must be done until it is there."""
        found = dict.fromkeys(self.feeds, 0)
        for step, place in enumerate(self.steps):
            found.update(dict.fromkeys(filter(None, self.model.graph.node[place].output), step + 1))
        return found

    @cached_property
    def last_read_at(self) -> dict[str, int]:
        """Of each value that a step reads: the last step that does, counted from 0."""
        return {name: step for step, place in enumerate(self.steps) for name in self.reads[place]}

    def alive(self, position: int) -> list[str]:
        """What the steps from a position on read of what was there before it, in the order in which it was made."""
        return [
            name
            for name, made in self.made_at.items()
            if made <= position and self.last_read_at.get(name, -1) >= position
        ]

    def crossing(self, name: str, *, compress: bool) -> Crossing | None:
        """A value as it crosses; None where nobody knows how large it is."""
        kind = self.types.get(name)
        shape = concrete_shape(kind)
        bits = None if kind is None else _element_bits(kind.tensor_type.elem_type)
        if kind is None or shape is None or bits is None:
            return None
        compressed = compress and kind.tensor_type.elem_type == _QUANTISABLE
        size_bytes = -(-math.prod(shape) * (8 if compressed else bits) // 8)
        dtype = str(helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type))
        return Crossing(name, dtype, shape, size_bytes, compressed)


def cut_points(graph: SplitGraph, *, tensors_max: int, compress: bool = False) -> CutPoints:
    """Every position at which a few tensors cross, and both ends whatever crosses there.

    Args:
        tensors_max: how many tensors may cross at once.
        compress: floats of 32 bits cross as whole numbers of 8.
    """
    last = len(graph.steps)
    points, too_many, unknown = [], 0, 0
    for position in range(last + 1):
        names = [] if position == last else graph.alive(position)
        if len(names) > tensors_max and position:
            too_many += 1
            continue
        found = [graph.crossing(name, compress=compress) for name in names]
        crossing = tuple(one for one in found if one is not None)
        if len(crossing) < len(names):
            unknown += 1
            continue
        points.append(CutPoint(position, _label(graph, position), crossing))
    return CutPoints(tuple(points), too_many, unknown)


def _label(graph: SplitGraph, position: int) -> str:
    if position == len(graph.steps):
        return "output"
    if not position:
        return "input"
    node = graph.model.graph.node[graph.steps[position - 1]]
    return f"{node.op_type} {next(filter(None, node.output))}"


def _element_bits(elem_type: int) -> int | None:
    """Bits of an element; None of texts, whose length no type tells, and of what is no tensor."""
    if elem_type in (TensorProto.UNDEFINED, TensorProto.STRING):
        return None
    packed = _PACKED_BITS.get(TensorProto.DataType.Name(elem_type))
    return packed or 8 * int(helper.tensor_dtype_to_np_dtype(elem_type).itemsize)
