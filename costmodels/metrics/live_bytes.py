"""The least memory that a graph can run in: its weights, and the activations that are alive at the worst moment.

Read from the graph that the runtime executes, in its order: fused values take nothing, a view takes nothing of its own,
and an elementwise kernel may write where it read. What an allocator rounds up, keeps or copies on top of that is not
here; ``peak_memory.py`` learns it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from ...profiler.kernels.graph import Kernel, Optimised
from ...profiler.kernels.shapes import ELEMENTWISE
from ...profiler.kernels.views import VIEWS
from ...profiler.workload import Workload
from ..kernel_work import work_of

#: Kernels that a runtime lets write over an input of the same size that nobody reads after them.
_IN_PLACE = ELEMENTWISE | {"Gelu", "Erf", "Sub", "Div", "Sqrt", "Exp", "Neg", "Softmax", "Elu", "Selu", "Softplus"}


@dataclass(frozen=True)
class LiveBytes:
    """Where the bytes of a graph are, when it needs most.

    Attributes:
        weight_bytes: of all constants.
        largest_weight_bytes: of the largest one.
        activation_bytes: of the values that are alive at the worst moment, inputs and outputs of the graph included.
        written_bytes: of all that is written in a run, as if nothing were ever freed.
        is_complete: whether every shape is known; else the activations are a lower bound of the lower bound.
    """

    weight_bytes: int
    largest_weight_bytes: int
    activation_bytes: int
    written_bytes: int
    is_complete: bool

    @property
    def total_bytes(self) -> int:
        return self.weight_bytes + self.activation_bytes


def live_bytes(optimised: Optimised) -> LiveBytes:
    """The estimate of an optimised graph."""
    graph = optimised.model.graph
    weights = [tensor_bytes(tensor) for tensor in graph.initializer]
    given = {value.name: _declared_bytes(value) for value in graph.input}
    given = {name: size for name, size in given.items() if name not in {tensor.name for tensor in graph.initializer}}
    sizes, complete = _value_bytes(optimised)
    return LiveBytes(
        weight_bytes=sum(weights),
        largest_weight_bytes=max(weights, default=0),
        activation_bytes=_most_alive(optimised.nodes, sizes, {one.name for one in graph.output}) + sum(given.values()),
        written_bytes=sum(sizes.values()),
        is_complete=complete,
    )


def _most_alive(nodes: Sequence[onnx.NodeProto], sizes: dict[str, int], kept: Iterable[str]) -> int:
    """Most bytes that are alive at once; ``kept`` stay to the end.

    A buffer is named after the value that it was made for; ``place`` says which buffer a value lives in.
    """
    last = {name: step for step, node in enumerate(nodes) for name in node.input}
    last.update(dict.fromkeys(kept, len(nodes)))
    place: dict[str, str] = {}
    until: dict[str, int] = {}
    alive = most = 0
    for step, node in enumerate(nodes):
        for name in filter(None, node.output):
            buffer = _reused(node, name, place, until, sizes, step)
            place[name] = buffer
            if buffer == name:
                alive += sizes.get(name, 0)
            until[buffer] = max(until.get(buffer, 0), last.get(name, step))
        most = max(most, alive)
        for buffer in {place[name] for name in (*node.input, *node.output) if name in place}:
            if until[buffer] == step:
                alive -= sizes.get(buffer, 0)
    return most


def _reused(
    node: onnx.NodeProto, name: str, place: dict[str, str], until: dict[str, int], sizes: dict[str, int], step: int
) -> str:
    """The buffer that an output goes to: an input's where the kernel allows it, else one of its own."""
    read = [place[one] for one in node.input if one in place]
    if node.op_type in VIEWS and read:
        return read[0]
    if node.op_type in _IN_PLACE:
        for buffer in read:
            if until[buffer] == step and sizes.get(buffer) == sizes.get(name):
                return buffer
    return name


def _value_bytes(optimised: Optimised) -> tuple[dict[str, int], bool]:
    """Bytes of every value that a kernel writes, and whether all shapes are known."""
    sizes, complete = {}, True
    for node, kernel in zip(optimised.nodes, optimised.graph.kernels, strict=True):
        names = [name for name in node.output if name]
        width = _width(kernel)
        for name, shape in zip(names, kernel.outputs, strict=True):
            complete &= shape is not None
            sizes[name] = 0 if shape is None else int(math.prod(shape) * width)
    return sizes, complete


def _width(kernel: Kernel) -> float:
    """Mean bytes of an element that the kernel writes."""
    count = sum(math.prod(shape) for shape in kernel.outputs if shape is not None)
    return work_of(kernel).output_megabytes * 1e6 / count if count else 0.0


def tensor_bytes(tensor: onnx.TensorProto) -> int:
    """Bytes of a constant as the runtime holds it."""
    return int(math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _declared_bytes(value: onnx.ValueInfoProto) -> int:
    kind = value.type.tensor_type
    if not kind.elem_type:
        return 0
    width = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
    return int(math.prod(max(1, dim.dim_value) for dim in kind.shape.dim) * width)


def constant_bytes(workload: Workload) -> int:
    """Of the constants of a graph as it is written, before the runtime folds or copies any."""
    graph = onnx.load_model_from_string(workload.skeleton).graph
    described = sum(math.prod(weight.shape) * np.dtype(weight.dtype).itemsize for weight in workload.weights)
    return described + sum(map(tensor_bytes, graph.initializer))
