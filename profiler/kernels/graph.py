"""The kernels a graph becomes: what the runtime executes after its own fusion and layout changes.

Nothing is guessed here: ONNX Runtime optimises the graph and writes what it would run; this file reads that back and
gives every kernel its shapes (``shapes.py``) and its nodes (``nodes.py``). Prices are made in
``costmodels``.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx
from onnx import helper, numpy_helper

from ..records import Json, RuntimeProfile, content_hash
from ..weights import complete
from ..workload import Workload
from .nodes import node_names
from .origin import NodeMap, map_nodes, mark_nodes, marks, unmark
from .session import open_session
from .shapes import Shape, asked_types, concrete_shapes, derived_shape, inferred_types

#: Types whose numbers have a fraction.
_FLOATS = frozenset(
    {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
)


@dataclass(frozen=True)
class Kernel:
    """One executed kernel.

    Attributes:
        op: operator as the runtime names it, ``nchwc.Conv`` for a blocked-layout convolution.
        inputs: shapes of the activations it reads; None where the runtime does not tell.
        weights: shapes of its constant operands.
        outputs: shapes of what it writes; None where unknown.
        attributes: those that shape the work (kernel, strides, group, fused activation).
        dtype: of its constant operands with more than one axis; where it has none, of the activations.
        nodes: positions, in the workload's skeleton, of the ONNX nodes it came from; not part of its identity.
        name: for people, made from the names of its nodes as the runtime makes it where that repeats; not part of its
            identity either.
    """

    op: str
    inputs: tuple[Shape | None, ...]
    weights: tuple[Shape, ...]
    outputs: tuple[Shape | None, ...]
    attributes: tuple[tuple[str, str], ...] = field(default=())
    dtype: str = "float32"
    nodes: tuple[int, ...] = field(default=(), compare=False)
    name: str = field(default="", compare=False)

    @property
    def signature(self) -> str:
        """For people: ``nchwc.Conv 1x16x112x112 · 96x16x1x1 → 1x96x112x112 group=1 …``."""
        shapes = " ".join(_text(shape) for shape in self.inputs)
        weights = " ".join(_text(shape) for shape in self.weights)
        outputs = " ".join(_text(shape) for shape in self.outputs)
        notes = " ".join(f"{name}={value}" for name, value in self.attributes)
        return " ".join(
            part for part in (self.op, shapes, f"· {weights}" if weights else "", f"→ {outputs}", notes) if part
        )

    @property
    def kernel_hash(self) -> str:
        document: dict[str, Json] = {"signature": self.signature, "dtype": self.dtype}
        return content_hash(document)

    @property
    def attribute(self) -> dict[str, str]:
        return dict(self.attributes)


@dataclass(frozen=True)
class KernelGraph:
    """What a workload becomes.

    Every node of the workload's skeleton is in at least one kernel or among the folded; every kernel has a node.

    Attributes:
        kernels: in order of execution.
        folded: positions of the nodes that cost nothing at run time: constants, shapes, identities, and of dead code
            what the runtime removes. It executes the rest of it, so that a kernel may have no reader.
    """

    kernels: tuple[Kernel, ...]
    folded: tuple[int, ...]


@dataclass(frozen=True)
class Optimised:
    """A workload's graph after the runtime's optimiser, with the kernels that stand in it.

    Attributes:
        model: the optimised graph with its weights; it runs only on machines like this one.
        nodes: the node of each kernel.
        shapes: of its values, by name, where they are known; as kernels state them, without the padding of channels
            that the runtime does when it reorders an input.
        graph: the kernels.
    """

    model: onnx.ModelProto
    nodes: tuple[onnx.NodeProto, ...]
    shapes: dict[str, Shape]
    graph: KernelGraph


def kernels(workload: Workload, profile: RuntimeProfile) -> tuple[Kernel, ...]:
    """The kernels of a workload in execution order; raises what ``kernel_graph`` raises."""
    return kernel_graph(workload, profile).kernels


def kernel_graph(workload: Workload, profile: RuntimeProfile) -> KernelGraph:
    """The kernels of a workload in execution order, and the nodes that become none.

    Raises:
        UnsupportedOperator: the runtime knows no kernel for an operator.
        BrokenModel: the runtime refuses the graph.
        UsageError: the runtime here lacks the profile's execution provider; another one has other kernels.
    """
    return optimise(workload, profile).graph


def optimise(workload: Workload, profile: RuntimeProfile) -> Optimised:
    """The optimised graph of a workload; raises what ``kernel_graph`` raises."""
    marked = onnx.load_model_from_string(workload.skeleton)
    mark_nodes(marked.graph)
    optimised = _optimise(complete(marked.SerializeToString(), workload.weights), profile)
    constants = constants_of(optimised.graph)
    # Constant nodes are executed by no runtime.
    nodes = tuple(node for node in optimised.graph.node if not is_constant(node))
    types = inferred_types(marked, workload.weights)
    known = concrete_shapes(types)
    scalars = scalars_of(optimised.graph)
    found = list(read_kernels(nodes, constants, known, types, scalars))
    if any(None in (*kernel.inputs, *kernel.outputs) for kernel in found):
        asked = asked_types(optimised, profile)
        for name, shape in concrete_shapes(asked).items():
            known.setdefault(name, shape)
        found = list(read_kernels(nodes, constants, known, {**asked, **types}, scalars))
    fixed = {tensor.name for tensor in marked.graph.initializer} | {weight.name for weight in workload.weights}
    fixed |= {sparse.values.name for sparse in marked.graph.sparse_initializer}
    origin = map_nodes(marked.graph, frozenset(fixed), nodes)
    kept = _name_kernels(found, nodes, origin, node_names(workload))
    return Optimised(optimised, nodes, known, KernelGraph(tuple(kept), origin.folded))


def _optimise(model: bytes, profile: RuntimeProfile) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory(prefix="edgecost-") as folder:
        target = Path(folder, "optimised.onnx")
        open_session(model, profile, graph_level=profile.graph_level, target=target)
        return onnx.load(target)


def is_constant(node: onnx.NodeProto) -> bool:
    return node.op_type == "Constant" and node.attribute[0].type == onnx.AttributeProto.TENSOR


def constants_of(graph: onnx.GraphProto) -> dict[str, tuple[Shape, int]]:
    """Shape and element type of every constant of a graph, by name."""
    tensors = [(tensor.name, tensor) for tensor in graph.initializer]
    tensors += [(node.output[0], node.attribute[0].t) for node in graph.node if is_constant(node)]
    return {name: (tuple(tensor.dims), tensor.data_type) for name, tensor in tensors}


def scalars_of(graph: onnx.GraphProto) -> dict[str, float]:
    """The values of the constants that are one float, by name."""
    tensors = [(tensor.name, tensor) for tensor in graph.initializer]
    tensors += [(node.output[0], node.attribute[0].t) for node in graph.node if is_constant(node)]
    return {
        name: float(numpy_helper.to_array(tensor).reshape(-1)[0])
        for name, tensor in tensors
        if tensor.data_type in _FLOATS and math.prod(tensor.dims) == 1 and not tensor.external_data
    }


def read_kernels(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, tuple[Shape, int]],
    known: dict[str, Shape],
    types: Mapping[str, onnx.TypeProto],
    scalars: Mapping[str, float],
) -> Iterator[Kernel]:
    """The kernels of an optimised graph; shapes that follow from ``known`` ones are added to it.

    An exponent decides what Pow does, and is told like an attribute, as far as ``scalars`` knows it. Values that
    ``types`` does not know are the runtime's own: blocked layouts, and casts to float32.
    """
    shapes = {name: shape for name, (shape, _) in constants.items()}
    for node in nodes:
        derived = derived_shape(node, known, shapes)
        if derived is not None:
            known[node.output[0]] = derived
        weights = [name for name in node.input if name in constants]
        kinds = {constants[name][1] for name in weights if len(shapes[name]) > 1}
        if not kinds:
            kinds = _activation_types([*node.input, *node.output], constants, types)
        attributes = [(a.name, _value(a)) for a in node.attribute]
        if node.op_type == "Pow" and node.input[1] in scalars:
            attributes.append(("exponent", f"{scalars[node.input[1]]:g}"))
        yield Kernel(
            op=f"{node.domain.rsplit('.', 1)[-1]}.{node.op_type}" if node.domain else node.op_type,
            inputs=tuple(known.get(name) for name in node.input if name and name not in constants),
            weights=tuple(shapes[name] for name in weights),
            outputs=tuple(known.get(name) for name in node.output if name),
            attributes=tuple(sorted(attributes)),
            dtype=_type_name(min(kinds)) if kinds else "float32",
        )


def _activation_types(names: Iterable[str], constants: Container[str], types: Mapping[str, onnx.TypeProto]) -> set[int]:
    """The type of what a kernel without weights works on: that of its first float, else of its first number, else bool.

    Places, conditions and shapes stand beside the data, and are whole numbers or bool.
    """
    found = []
    for name in names:
        if name and name not in constants:
            kind = types.get(name)
            found.append(kind.tensor_type.elem_type if kind is not None else onnx.TensorProto.FLOAT)
    found = [kind for kind in found if kind != onnx.TensorProto.UNDEFINED]
    for choice in (_FLOATS, set(found) - {onnx.TensorProto.BOOL}, set(found)):
        chosen = [kind for kind in found if kind in choice]
        if chosen:
            return {chosen[0]}
    return set()


def _name_kernels(
    found: Sequence[Kernel], nodes: Sequence[onnx.NodeProto], origin: NodeMap, names: Sequence[str]
) -> Iterable[Kernel]:
    for kernel, node, positions in zip(found, nodes, origin.kernels, strict=True):
        name = unmark(node.name, names)
        # The runtime numbers nodes of its own in an order that changes from session to session.
        if not name or ("_token_" in name and not marks(node.name)):
            name = f"{node.op_type}_{positions[0]}"
        yield replace(kernel, nodes=positions, name=name)


def _value(attribute: onnx.AttributeProto) -> str:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return "x".join(f"{item:g}" for item in value)
    if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.TENSOR):
        return attribute.name
    return f"{value:g}" if isinstance(value, float) else str(value)


def _type_name(kind: int) -> str:
    return str(helper.tensor_dtype_to_np_dtype(kind))


def _text(shape: Shape | None) -> str:
    return "x".join(map(str, shape)) if shape is not None else "?"
