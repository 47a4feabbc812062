"""Build operators as ONNX nodes: convolution, squeeze-and-excitation, pooling, linear, activations, shuffle.

Weights are declared by shape and filled in later from a seed (``weights.py``): nothing here holds a tensor of numbers,
so a graph of any size travels in a few kilobytes. Batch normalisation is folded into the convolution's bias, as every
runtime does before it runs. Blocks stand in ``blocks.py``; other operators are functions over the same ``GraphBuilder``
(``vision_operators.py``, ``tensor_operators.py``, ``sequence_operators.py``, ``recurrent_operators.py``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ..weights import Weight

Activation = Literal["", "relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid"]
Shape = tuple[int, ...]
#: What an attribute of a node may hold; a body of Scan, Loop or If is a graph.
Attribute = int | float | str | list[int] | list[float] | onnx.GraphProto | TensorProto

#: HardSwish entered ONNX with opset 14; opset 17 is the newest that ONNX Runtime 1.16 (JetPack 4/5 boards) implements
#: whole.
OPSET = 17
#: The oldest intermediate representation that carries opset 17.
IR_VERSION = 8


@dataclass
class GraphBuilder:
    """A graph under construction; every method appends nodes and returns the name of the new value.

    Activations are float32, NCHW in the methods of this class. ``shapes`` holds the shape of every value made so far,
    ``dtypes`` the type of those that are not float32. A builder made by ``body`` describes a subgraph: it shares
    shapes, weights and constants with the graph around it, and its names begin with ``prefix``.
    """

    name: str
    shapes: dict[str, Shape] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    dtypes: dict[str, str] = field(default_factory=dict)
    prefix: str = ""

    def input(self, shape: Shape, name: str = "input", *, dtype: str = "float32") -> str:
        """Declare an input of the graph, float32 unless said otherwise."""
        name = f"{self.prefix}{name}"
        self.inputs.append(name)
        self._note(name, shape, dtype)
        return name

    def body(self, name: str) -> GraphBuilder:
        """A builder for a subgraph of the next node; it may read every value made so far (see ``subgraph``)."""
        prefix = f"{self.prefix}{name}{len(self.nodes)}_"
        return GraphBuilder(
            name, self.shapes, weights=self.weights, constants=self.constants, dtypes=self.dtypes, prefix=prefix
        )

    def conv(
        self, x: str, channels: int, *, kernel: int = 1, stride: int = 1, groups: int = 1, activation: Activation = ""
    ) -> str:
        """Convolution with bias and "same" padding ``kernel // 2``; ``groups == channels`` makes it depthwise."""
        n, c, h, w = self.shapes[x]
        pad = kernel // 2
        weight = self.weight((channels, c // groups, kernel, kernel), fan_in=c // groups * kernel * kernel)
        y = self.node(
            "Conv",
            [x, weight, self.weight((channels,))],
            (n, channels, (h + 2 * pad - kernel) // stride + 1, (w + 2 * pad - kernel) // stride + 1),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
            group=groups,
        )
        return self.activate(y, activation)

    def depthwise(self, x: str, *, kernel: int, stride: int = 1, activation: Activation = "") -> str:
        """Depthwise convolution: one filter per channel."""
        channels = self.shapes[x][1]
        return self.conv(x, channels, kernel=kernel, stride=stride, groups=channels, activation=activation)

    def activate(self, x: str, activation: Activation) -> str:
        """Apply an activation; the empty name is the identity and adds no node."""
        if activation == "":
            return x
        shape = self.shapes[x]
        if activation == "relu6":
            return self.node("Clip", [x, self._scalar("zero", 0.0), self._scalar("six", 6.0)], shape)
        if activation == "hard_sigmoid":
            return self.node("HardSigmoid", [x], shape, alpha=1.0 / 6.0, beta=0.5)
        return self.node({"relu": "Relu", "hard_swish": "HardSwish", "sigmoid": "Sigmoid"}[activation], [x], shape)

    def squeeze_excite(self, x: str, squeezed: int) -> str:
        """Squeeze-and-excitation (Hu et al., CVPR 2018, §3) with MobileNetV3's hard sigmoid gate."""
        channels = self.shapes[x][1]
        gate = self.global_average_pool(x)
        gate = self.conv(gate, squeezed, activation="relu")
        gate = self.conv(gate, channels, activation="hard_sigmoid")
        return self.node("Mul", [x, gate], self.shapes[x])

    def global_average_pool(self, x: str) -> str:
        """Mean over the spatial axes, which stay with size 1."""
        n, c, _, _ = self.shapes[x]
        return self.node("GlobalAveragePool", [x], (n, c, 1, 1))

    def pool(self, x: str, *, kernel: int, stride: int, kind: Literal["max", "average"]) -> str:
        """Max or average pooling with "same" padding ``kernel // 2``; padding does not enter the average."""
        n, c, h, w = self.shapes[x]
        pad = kernel // 2
        shape = (n, c, (h + 2 * pad - kernel) // stride + 1, (w + 2 * pad - kernel) // stride + 1)
        op = "MaxPool" if kind == "max" else "AveragePool"
        return self.node(op, [x], shape, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)

    def add(self, x: str, y: str) -> str:
        """Residual addition of two values of one shape."""
        return self.node("Add", [x, y], self.shapes[x])

    def channel_shuffle(self, x: str, groups: int) -> str:
        """Interleave the channels of ``groups`` groups (Zhang et al., ShuffleNet, CVPR 2018, §3.1)."""
        n, c, h, w = self.shapes[x]
        split = (n, groups, c // groups, h, w)
        y = self.node("Reshape", [x, self._integers("split", split)], split)
        y = self.node("Transpose", [y], (n, c // groups, groups, h, w), perm=[0, 2, 1, 3, 4])
        return self.node("Reshape", [y, self._integers("merge", (n, c, h, w))], (n, c, h, w))

    def linear(self, x: str, features: int) -> str:
        """Fully connected layer on the flattened value."""
        shape = self.shapes[x]
        flat = (shape[0], math.prod(shape[1:]))
        if len(shape) != 2:
            x = self.node("Flatten", [x], flat, axis=1)
        weight = self.weight((features, flat[1]), fan_in=flat[1])
        return self.node("Gemm", [x, weight, self.weight((features,))], (flat[0], features), transB=1)

    def weight(self, shape: Shape, *, fan_in: int = 1, spread: float | None = None) -> str:
        """Declare a weight; its spread keeps the activations' scale (He et al., ICCV 2015, eq. 10) unless given."""
        name = f"w{len(self.weights)}"
        if spread is None:
            spread = math.sqrt(2.0 / fan_in) if fan_in > 1 else 0.1
        self.weights.append(Weight(name, shape, "float32", spread=spread))
        self.shapes[name] = shape
        return name

    def constant(self, values: NDArray[np.generic]) -> str:
        """Declare a constant of any type: a value that must be just so, where a weight may be any number."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        self._note(name, values.shape, values.dtype.name)
        return name

    def integers(self, *values: int) -> str:
        """A one-dimensional int64 constant: a shape, axes, pads."""
        return self.constant(np.array(values, dtype=np.int64))

    def scalar(self, value: float) -> str:
        """A float32 constant without dimensions."""
        return self.constant(np.array(value, dtype=np.float32))

    def node(self, op: str, inputs: list[str], shape: Shape, **attributes: Attribute) -> str:
        """Append one ONNX node and return the name of its only output, a float32."""
        return self._append(op, inputs, [f"{self.prefix}v{len(self.nodes)}"], [shape], attributes)[0]

    def multi_node(
        self, op: str, inputs: list[str], shapes: Sequence[Shape | None], **attributes: Attribute
    ) -> tuple[str, ...]:
        """Append one ONNX node with several outputs; an output whose shape is None is left out, and its name empty."""
        stem = f"{self.prefix}v{len(self.nodes)}"
        outputs = ["" if shape is None else f"{stem}_{place}" for place, shape in enumerate(shapes)]
        return self._append(op, inputs, outputs, shapes, attributes)

    def typed_node(self, op: str, inputs: list[str], shape: Shape, dtype: str, **attributes: Attribute) -> str:
        """Append one ONNX node whose only output has another type than float32."""
        output = self.node(op, inputs, shape, **attributes)
        self._note(output, shape, dtype)
        return output

    def dtype(self, value: str) -> str:
        """The type of a value: ``float32``, ``int64``, ``bool``, …"""
        return self.dtypes.get(value, "float32")

    def model(self, *outputs: str) -> onnx.ModelProto:
        """The finished model, without the numbers of its weights."""
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [self._describe(name) for name in self.inputs],
            [self._describe(name) for name in outputs],
            self.constants,
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="edgecost"
        )

    def subgraph(self, *outputs: str) -> onnx.GraphProto:
        """The finished body of a Scan, Loop or If node; weights and constants stay with the graph around it."""
        return helper.make_graph(
            self.nodes, self.name, [self._describe(name) for name in self.inputs], [self._describe(o) for o in outputs]
        )

    def _append(
        self,
        op: str,
        inputs: list[str],
        outputs: list[str],
        shapes: Sequence[Shape | None],
        attributes: dict[str, Attribute],
    ) -> tuple[str, ...]:
        node = helper.make_node(op, inputs, outputs)
        node.attribute.extend(helper.make_attribute(name, value) for name, value in sorted(attributes.items()))
        self.nodes.append(node)
        self.shapes.update({name: shape for name, shape in zip(outputs, shapes, strict=True) if shape is not None})
        return tuple(outputs)

    def _note(self, name: str, shape: Shape, dtype: str) -> None:
        self.shapes[name] = shape
        if dtype != "float32":
            self.dtypes[name] = dtype

    def _describe(self, name: str) -> onnx.ValueInfoProto:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype(name)))
        return helper.make_tensor_value_info(name, kind, self.shapes[name])

    def _scalar(self, name: str, value: float) -> str:
        if name not in {tensor.name for tensor in self.constants}:
            self.constants.append(helper.make_tensor(name, TensorProto.FLOAT, [], [value]))
        return name

    def _integers(self, stem: str, values: Shape) -> str:
        name = f"{self.prefix}{stem}{len(self.nodes)}"
        self.constants.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], list(values)))
        return name
