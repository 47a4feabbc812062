"""The identity of a graph: one hash for every spelling of the same computation.

Names, documentation, producer, listing order, dead nodes and the values of weights do not enter; operators, attributes,
edges, shapes, types, opset and the values of structural constants (shapes, axes, clip limits, the factors of a Resize)
do. Of a scale of a quantised operator only the type, the shape and who shares it count, and of a zero point also
whether it is zero: a runtime chooses its kernels by that, and computes no faster for one scale than for another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from .precision.roles import Role, quantised_roles
from .shape_operands import decides_shapes, shape_operands
from .weights import Weight

#: Integer constants up to this many elements are shapes, axes and indices: they decide what is computed.
STRUCTURAL_INTEGERS_MAX = 4096
_INTEGERS = (TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL)


def is_structural(tensor: TensorProto, role: Role | None = None) -> bool:
    """Whether a constant's values travel with the graph rather than as a description of weights.

    ``role`` is what a quantised operator reads the constant for, if that is all it is read for.
    """
    size = 1
    for dim in tensor.dims:
        size *= dim
    if tensor.data_location == TensorProto.EXTERNAL:
        return False
    if size > 1 and role is not None:
        return role is not Role.DATA
    return size <= 1 or (tensor.data_type in _INTEGERS and size <= STRUCTURAL_INTEGERS_MAX)


def strip_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without documentation, producer and metadata; values and order stay as they are."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for field in ("producer_name", "producer_version", "doc_string", "domain", "model_version"):
        bare.ClearField(field)
    del bare.metadata_props[:]
    bare.graph.ClearField("doc_string")
    bare.graph.name = "graph"
    for node in bare.graph.node:
        node.ClearField("doc_string")
        node.ClearField("name")
        del node.metadata_props[:]
    return bare


def hash_graph(model: onnx.ModelProto, weights: tuple[Weight, ...] = ()) -> str:
    """sha256 (hexadecimal) of the canonical form of a graph; ``weights`` names the initialisers that were left out.

    It is the identity of the computation of the outputs. Nodes that no output needs do not enter: every optimiser
    removes them. Under ``ORT_DISABLE_ALL`` alone ONNX Runtime executes them, and there two graphs of one hash may
    differ in cost.

    Raises:
        ValueError: the graph has a cycle, or a node reads a value that nothing produces.
    """
    form = _CanonicalGraph(
        model.graph, {weight.name: ["weight", weight.dtype, list(weight.shape)] for weight in weights}
    )
    domains = {node.domain or "ai.onnx" for node in model.graph.node}
    opset = sorted((o.domain or "ai.onnx", o.version) for o in model.opset_import if (o.domain or "ai.onnx") in domains)
    document: list[object] = [opset, form.document()]
    if model.functions:
        document.append(sorted(map(_describe_function, model.functions)))
    text = json.dumps(document, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class _CanonicalGraph:
    """Numbers the values in the order in which the outputs, depth first, need them."""

    def __init__(
        self, graph: onnx.GraphProto, leaves: Mapping[str, list[object]], outer: Mapping[str, int] | None = None
    ) -> None:
        self.graph = graph
        self.leaves: dict[str, list[object]] = dict(leaves)
        self.ids: dict[str, int] = dict(outer or {})
        self.lines: list[object] = []
        self.producer = {name: node for node in graph.node for name in node.output if name}
        constants = {tensor.name: tensor for tensor in graph.initializer}
        for sparse in graph.sparse_initializer:
            kind = _type_name(sparse.values.data_type)
            self.leaves[sparse.values.name] = ["sparse weight", kind, list(sparse.dims), list(sparse.values.dims)]
        for node in graph.node:
            if node.op_type == "Constant" and not node.domain and node.attribute[0].type == AttributeProto.TENSOR:
                constants[node.output[0]] = node.attribute[0].t
        roles, operands = quantised_roles(graph.node), shape_operands(graph.node)
        for name, tensor in constants.items():
            by_value = decides_shapes(tensor, operands, name)
            self.leaves[name] = _describe_constant(tensor, roles.get(name), by_value=by_value)

    def document(self) -> list[object]:
        # Old exporters list constants among the inputs as well.
        fed = [value for value in self.graph.input if value.name not in self.leaves]
        for place, value in enumerate(fed):
            self._number(value.name, ["input", place, *_describe_type(value.type)])
        outputs = [self._visit(value.name) for value in self.graph.output]
        return [self.lines, outputs]

    def _number(self, name: str, line: list[object]) -> int:
        self.ids[name] = len(self.ids)
        self.lines.append(line)
        return self.ids[name]

    def _visit(self, wanted: str) -> int:
        stack = [wanted]
        open_nodes: set[int] = set()
        while stack:
            name = stack[-1]
            if name in self.ids:
                stack.pop()
                continue
            if name in self.leaves:
                self._number(name, self.leaves[name])
                continue
            node = self.producer.get(name)
            if node is None:
                raise ValueError(f"nothing produces the value {name!r}")
            pending = [needed for needed in _needs(node) if needed not in self.ids]
            if not pending:
                self._emit(node)
            elif id(node) in open_nodes:
                raise ValueError(f"the graph has a cycle through {node.op_type} {name!r}")
            else:
                open_nodes.add(id(node))
                stack.extend(reversed(pending))
        return self.ids[wanted]

    def _emit(self, node: onnx.NodeProto) -> None:
        attributes = sorted((a.name, self._attribute(a)) for a in node.attribute)
        inputs = [self.ids[name] if name else None for name in node.input]
        line: list[object] = [node.domain or "ai.onnx", node.op_type, attributes, inputs, len(node.output)]
        for place, name in enumerate(node.output):
            if name:
                self._number(name, [*line, place])

    def _attribute(self, attribute: AttributeProto) -> str:
        if attribute.ref_attr_name:
            return f"attribute {attribute.ref_attr_name} of the function"
        if attribute.type == AttributeProto.GRAPH:
            return json.dumps(_CanonicalGraph(attribute.g, {}, self.ids).document())
        if attribute.type == AttributeProto.TENSOR:
            return json.dumps(_describe_constant(attribute.t))
        value = helper.get_attribute_value(attribute)
        return repr(list(value) if attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS) else value)


def _needs(node: onnx.NodeProto) -> Iterator[str]:
    """The values a node reads, those that its subgraphs capture included."""
    for name in node.input:
        if name:
            yield name
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield from _captured(attribute.g)


def _captured(graph: onnx.GraphProto) -> Iterator[str]:
    local = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    local.update(name for node in graph.node for name in node.output)
    for node in graph.node:
        yield from (name for name in _needs(node) if name not in local)
    yield from (value.name for value in graph.output if value.name not in local)


def _describe_type(kind: onnx.TypeProto) -> list[object]:
    tensor = kind.tensor_type
    return [tensor.elem_type, [dim.dim_value or dim.dim_param or "?" for dim in tensor.shape.dim]]


def _describe_function(function: onnx.FunctionProto) -> str:
    """The body of a function that the model brings along, by the name that its nodes call it by."""
    graph = onnx.GraphProto(
        node=function.node,
        input=[onnx.ValueInfoProto(name=name) for name in function.input],
        output=[onnx.ValueInfoProto(name=name) for name in function.output],
    )
    return json.dumps([function.domain, function.name, _CanonicalGraph(graph, {}).document()])


def _describe_constant(tensor: TensorProto, role: Role | None = None, *, by_value: bool = False) -> list[object]:
    kind = _type_name(tensor.data_type)
    if role is Role.SCALE:
        return ["scale", kind, list(tensor.dims)]
    if role is Role.ZERO_POINT and tensor.data_location != TensorProto.EXTERNAL:
        return ["zero point", kind, list(tensor.dims), bool(numpy_helper.to_array(tensor).any())]
    by_value = by_value and tensor.data_location != TensorProto.EXTERNAL
    if not by_value and not is_structural(tensor, role):
        return ["weight", kind, list(tensor.dims)]
    return ["constant", kind, list(tensor.dims), repr(numpy_helper.to_array(tensor).tolist())]


def _type_name(number: int) -> str:
    name = TensorProto.DataType.Name(number).lower()
    names: dict[str, str] = {"float": "float32", "double": "float64"}
    return names.get(name, str(name))
