"""Build operators as ONNX nodes: convolution, squeeze-and-excitation, pooling, linear, activations, shuffle.

Weights are declared by shape and filled in later from a seed (``weights.py``): nothing here holds a tensor of numbers,
so a graph of any size travels in a few kilobytes. Batch normalisation is folded into the convolution's bias, as every
runtime does before it runs. Blocks stand in ``blocks.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import onnx
from onnx import TensorProto, helper

from .weights import Weight

Activation = Literal["", "relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid"]
Shape = tuple[int, ...]

#: HardSwish entered ONNX with opset 14; opset 17 is the newest that ONNX Runtime 1.16 (JetPack 4/5 boards) implements
#: whole.
OPSET = 17
#: The oldest intermediate representation that carries opset 17.
IR_VERSION = 8


@dataclass
class GraphBuilder:
    """A graph under construction; every method appends nodes and returns the name of the new value.

    Activations are NCHW float32. ``shapes`` holds the shape of every value made so far.
    """

    name: str
    shapes: dict[str, Shape] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)

    def input(self, shape: Shape, name: str = "input") -> str:
        """Declare a float32 input of the graph."""
        self.inputs.append(name)
        self.shapes[name] = shape
        return name

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

    def weight(self, shape: Shape, *, fan_in: int = 1) -> str:
        """Declare a weight; its spread keeps the activations' scale (He et al., ICCV 2015, eq. 10)."""
        name = f"w{len(self.weights)}"
        self.weights.append(Weight(name, shape, "float32", spread=math.sqrt(2.0 / fan_in) if fan_in > 1 else 0.1))
        return name

    def node(self, op: str, inputs: list[str], shape: Shape, **attributes: int | float | list[int]) -> str:
        """Append one ONNX node and return the name of its only output."""
        output = f"v{len(self.nodes)}"
        node = helper.make_node(op, inputs, [output])
        node.attribute.extend(helper.make_attribute(name, value) for name, value in sorted(attributes.items()))
        self.nodes.append(node)
        self.shapes[output] = shape
        return output

    def model(self, *outputs: str) -> onnx.ModelProto:
        """The finished model, without the numbers of its weights."""
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shapes[name]) for name in self.inputs],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shapes[name]) for name in outputs],
            self.constants,
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="edgecost"
        )

    def _scalar(self, name: str, value: float) -> str:
        if name not in {tensor.name for tensor in self.constants}:
            self.constants.append(helper.make_tensor(name, TensorProto.FLOAT, [], [value]))
        return name

    def _integers(self, stem: str, values: Shape) -> str:
        name = f"{stem}{len(self.nodes)}"
        self.constants.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], list(values)))
        return name
