"""The nodes of somebody's model that formats have rows for: read from an ONNX file, each cut out as an operator.

Shapes are those of the file. What is asked at another batch or with other channels is built anew (``operators.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from ...profiler.errors import ModelError, UsageError
from ...profiler.kernels.graph import Kernel, scalars_of
from ...profiler.kernels.nodes import node_names
from ...profiler.kernels.written import written_graph, written_workloads
from ...profiler.model_file import read_graph
from .operators import Convolution, Linear, NodeOperator, Shape

#: Of models that have a precision of their own already; the predictor's decides here.
_QUANTISED = frozenset("QuantizeLinear DequantizeLinear QLinearConv QLinearMatMul ConvInteger MatMulInteger".split())


@dataclass(frozen=True)
class Layer:
    """One node.

    Attributes:
        name: of the layer as PyTorch calls it, from its weight's name, else from the node's.
        kernel: the node with its shapes and attributes.
        operator: cut out; None where it cannot stand alone.
        scalars: the values of its operands that are one number, such as the bounds of a Clip.
    """

    name: str
    kernel: Kernel
    operator: NodeOperator | None
    scalars: tuple[float, ...] = ()

    @property
    def input(self) -> Shape:
        """Shape of the first activation."""
        return self.kernel.inputs[0] or () if self.kernel.inputs else ()

    @property
    def weight(self) -> Shape:
        """Shape of the filters; empty where there are none."""
        return self.kernel.weights[0] if self.kernel.weights else ()

    @property
    def has_bias(self) -> bool:
        return len(self.kernel.weights) > 1

    def numbers(self, attribute: str, default: int) -> Shape:
        """An attribute with a number for each axis of the filter (pads: two)."""
        text = self.kernel.attribute.get(attribute)
        if text is not None:
            return tuple(int(part) for part in text.split("x"))
        axes = len(self.input) - 2
        if attribute == "kernel_shape":
            return self.weight[2:]
        return (default,) * (2 * axes if attribute == "pads" else axes)

    @property
    def groups(self) -> int:
        return int(self.kernel.attribute.get("group", "1"))


@dataclass(frozen=True)
class ModelLayers:
    """A model as formats see it.

    Attributes:
        name: of its file, without the ending.
        layers: in the order of the graph; nodes that cost nothing are not among them.
    """

    name: str
    layers: tuple[Layer, ...]

    @property
    def weighted(self) -> tuple[Layer, ...]:
        """Convolutions and fully connected layers."""
        return tuple(layer for layer in self.layers if is_convolution(layer) or is_linear(layer))


def is_convolution(layer: Layer) -> bool:
    return layer.kernel.op == "Conv" and bool(layer.weight)


def is_linear(layer: Layer) -> bool:
    """Gemm, or a product with one matrix of weights."""
    return layer.kernel.op in ("Gemm", "MatMul") and len(layer.kernel.inputs) == 1 and len(layer.weight) == 2


def features(layer: Layer) -> tuple[int, int]:
    """Of a fully connected layer: in, out."""
    rows, columns = layer.weight
    return (columns, rows) if layer.kernel.attribute.get("transB", "0") == "1" else (rows, columns)


def at_batch(layer: Layer, batch: int, channels: tuple[int, int] | None = None) -> Convolution | Linear:
    """A convolution or fully connected layer of a model at another batch, and with other channels.

    Args:
        channels: in, out; None for the layer's own. A depthwise convolution has as many of both.
    """
    if is_linear(layer):
        inner, outer = channels or features(layer)
        rows = batch
        for extent in layer.input[1:-1]:
            rows *= extent
        return Linear(rows, inner, outer)
    require_plain(layer)
    inner, outer = channels or (layer.input[1], layer.weight[0])
    is_depthwise = layer.groups == layer.input[1] > 1
    return Convolution(
        batch=batch,
        in_channels=inner,
        size=layer.input[2:],
        out_channels=outer,
        kernel=layer.numbers("kernel_shape", 1),
        stride=layer.numbers("strides", 1),
        pads=layer.numbers("pads", 0),
        dilation=layer.numbers("dilations", 1),
        groups=inner if is_depthwise else layer.groups,
        bias=layer.has_bias,
    )


def require_plain(layer: Layer) -> None:
    """Refuse padding that depends on the input.

    Raises:
        UsageError: the model lets the runtime work out the padding.
    """
    if layer.kernel.attribute.get("auto_pad", "NOTSET") != "NOTSET":
        raise UsageError(
            f"the padding of {layer.name} is {layer.kernel.attribute['auto_pad']}, which the readers of tables do not"
            " know",
            remedy="export the model with explicit padding",
        )


def read_layers(path: Path, shapes: Mapping[str, Shape] | None = None) -> ModelLayers:
    """The layers of an ONNX file.

    Raises:
        ModelError: the file cannot be used; or a shape in it is not known, without which no row can be priced.
        UsageError: it is quantised; or as ``read_graph``.
    """
    workload = replace(read_graph(path, shapes), path=str(path))
    graph = onnx.load_model_from_string(workload.skeleton).graph
    if found := sorted({node.op_type for node in graph.node} & _QUANTISED):
        raise UsageError(
            f"{path} is quantised ({', '.join(found)}); the precision of a table is its predictor's",
            remedy="give the float32 model that it was made from, and a predictor for the precision",
        )
    weights = {weight.name for weight in workload.weights} | {tensor.name for tensor in graph.initializer}
    cut = {written_graph(alone).kernels[0].kernel_hash: alone for alone in written_workloads(workload)}
    names, scalars = node_names(workload), scalars_of(graph)
    layers = []
    for kernel in written_graph(workload).kernels:
        (position,) = kernel.nodes
        _require_shapes(path, names[position], kernel)
        alone = cut.get(kernel.kernel_hash)
        operator = None if alone is None else NodeOperator(_key(kernel), alone)
        read = [name for name in graph.node[position].input if name in weights]
        known = tuple(scalars[name] for name in graph.node[position].input if name in scalars)
        layers.append(Layer(_layer_name(read, names[position]), kernel, operator, known))
    return ModelLayers(path.stem, tuple(layers))


def _key(kernel: Kernel) -> str:
    return f"node {kernel.signature} {kernel.dtype}"


def _require_shapes(path: Path, name: str, kernel: Kernel) -> None:
    if None in (*kernel.inputs, *kernel.outputs):
        raise ModelError(
            f"{path}: the shapes at {name} are not known", remedy="give the model's inputs their shapes: --shape"
        )


def _layer_name(weights: list[str], node: str) -> str:
    """``features.0.weight`` is of ``features.0``; ``/layer1/layer1.0/conv1/Conv`` is ``layer1.0.conv1``."""
    if weights and weights[0].endswith(".weight"):
        return weights[0].removesuffix(".weight")
    parts = [part for part in node.split("/") if part]
    if len(parts) < 2:
        return node
    path: list[str] = []
    for part in parts[:-1]:
        if path and part.startswith(f"{path[-1]}."):
            path[-1] = part
        else:
            path.append(part)
    return ".".join(path)
