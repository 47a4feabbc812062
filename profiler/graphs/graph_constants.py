"""Work out the values of an ONNX graph that do not depend on its inputs: conditions and trip counts that are constants.

Exporters write many of those: "is this axis of size 1?" becomes Shape, Gather, Equal and an If. Only small arithmetic
on constants and shapes is worked out; whatever else a value comes from, it counts as not constant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from ..weights import Weight
from .graph_edit import subgraphs

Value = NDArray[np.generic]

#: What conditions and counts are made of. All of it is cheap, and none of it depends on chance or state.
_FOLDED = frozenset(
    "Add And Cast Concat ConstantOfShape Div Equal Gather Greater GreaterOrEqual Identity Less LessOrEqual Max Min "
    "Mod Mul Not Or ReduceMax ReduceMin ReduceProd ReduceSum Reshape Slice Squeeze Sub Transpose Unsqueeze Where "
    "Xor".split()
)
#: Elements beyond which a constant is data, not part of a condition.
_ELEMENTS_MAX = 4096


def infer_values(model: onnx.ModelProto, weights: Sequence[Weight]) -> dict[str, onnx.ValueInfoProto]:
    """Types and shapes of the values of the main graph.

    ONNX's own inference does not see through the arithmetic with which exporters compute pads and shapes; so what is
    constant is put in as a constant, and the inference is run again, until it finds nothing more. Names must be unique.
    """
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    for weight in weights:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(weight.dtype))
        whole.graph.input.append(helper.make_tensor_value_info(weight.name, kind, weight.shape))
    while True:
        graph = shape_inference.infer_shapes(whole, data_prop=True).graph
        values = {value.name: value for value in [*graph.input, *graph.output, *graph.value_info]}
        if not _fold(whole, Constants(whole, values)):
            return values


def _fold(model: onnx.ModelProto, constants: Constants) -> bool:
    """Replace the nodes of the main graph whose values are constant; whether there were any."""
    left = []
    for node in model.graph.node:
        foldable = node.op_type in _FOLDED or node.op_type in ("Shape", "Size")
        value = constants.find(node.output[0]) if foldable else None
        if value is None:
            left.append(node)
        else:
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), node.output[0]))
    if len(left) == len(model.graph.node):
        return False
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in left]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return True


class Constants:
    """Constant values within one state of a model, in which no name stands for two values."""

    def __init__(self, model: onnx.ModelProto, values: Mapping[str, onnx.ValueInfoProto]) -> None:
        self.opsets = list(model.opset_import)
        self.values = values
        self.known: dict[str, Value | None] = {}
        self.producers: dict[str, onnx.NodeProto] = {}
        graphs = [model.graph]
        while graphs:
            graph = graphs.pop()
            self.known.update((tensor.name, _array(tensor)) for tensor in graph.initializer)
            self.producers.update((name, node) for node in graph.node for name in node.output if name)
            graphs += [body for node in graph.node for _, body in subgraphs(node)]

    def find(self, name: str) -> Value | None:
        """The value of ``name``, or None where it is not constant."""
        if name not in self.known:
            node = self.producers.get(name)
            self.known[name] = None if node is None else self._compute(node, name)
        return self.known[name]

    def _compute(self, node: onnx.NodeProto, name: str) -> Value | None:
        if node.domain not in ("", "ai.onnx"):
            return None
        if node.op_type == "Constant":
            return _constant(node.attribute[0])
        if node.op_type in ("Shape", "Size"):
            return self._shape(node)
        if node.op_type not in _FOLDED:
            return None
        feeds = {}
        for source in filter(None, node.input):
            value = self.find(source)
            if value is None:
                return None
            feeds[source] = value
        inputs = [
            helper.make_tensor_value_info(source, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for source, value in feeds.items()
        ]
        graph = helper.make_graph([node], "constant", inputs, [onnx.ValueInfoProto(name=name)])
        try:
            (result,) = ReferenceEvaluator(helper.make_model(graph, opset_imports=self.opsets)).run([name], feeds)
        except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError):
            return None  # not a valid graph, or more than the reference can do: the runtime will tell
        value = np.asarray(result)
        return value if value.size <= _ELEMENTS_MAX else None

    def _shape(self, node: onnx.NodeProto) -> Value | None:
        source = self.find(node.input[0])
        dims = _dims(self.values.get(node.input[0])) if source is None else list(source.shape)
        if dims is None:
            return None
        if node.op_type == "Size":
            return np.array(np.prod(dims, dtype=np.int64))
        bounds = {attribute.name: attribute.i for attribute in node.attribute}
        return np.array(dims[bounds.get("start", 0) : bounds.get("end", len(dims))], dtype=np.int64)


def _dims(value: onnx.ValueInfoProto | None) -> list[int] | None:
    """The dimensions of a value, if all of them are known."""
    if value is None or not value.type.tensor_type.HasField("shape"):
        return None
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value for dim in dims] if all(dim.HasField("dim_value") for dim in dims) else None


def _constant(attribute: AttributeProto) -> Value | None:
    if attribute.type == AttributeProto.TENSOR:
        return _array(attribute.t)
    value = helper.get_attribute_value(attribute)
    if attribute.type in (AttributeProto.INT, AttributeProto.INTS):
        return np.array(value, dtype=np.int64)
    if attribute.type in (AttributeProto.FLOAT, AttributeProto.FLOATS):
        return np.array(value, dtype=np.float32)
    return None


def _array(tensor: TensorProto) -> Value | None:
    if tensor.data_location == TensorProto.EXTERNAL or int(np.prod(tensor.dims, dtype=np.int64)) > _ELEMENTS_MAX:
        return None
    return numpy_helper.to_array(tensor)
