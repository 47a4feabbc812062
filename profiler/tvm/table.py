"""The kernels that a graph becomes in TVM: what the virtual machine will call, in order of execution.

Read from ``main`` after fusion and after reshapes have become views, and before the function is lowered to bytecode.
Nothing is timed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import onnx
import tvm
from onnx import AttributeProto, helper
from tvm import relax

from .origin import Origin, callee, flat_bindings

#: Type and dimensions of one value; a dimension that only the run decides is None.
Slot = tuple[str, tuple[int | None, ...]]
#: Operators that only give memory another shape, or compute with shapes: nothing of the data is touched.
_VIEWS = frozenset(
    {"relax.reshape", "relax.memory_view", "relax.shape_of", "relax.tensor_to_shape", "relax.shape_to_tensor",
     "relax.null_value", "vm.builtin.reshape"}
)  # fmt: skip


@dataclass(frozen=True)
class TvmKernel:
    """One call that the virtual machine makes.

    Attributes:
        name: the function in the compiled library.
        op: operators fused into it, ``conv2d+add+relu``, as TVM names them.
        inputs, weights, outputs: type and shape of activations read, of constants, and of what it writes.
        arguments: the same in the order in which the function takes them; outputs come last.
        attributes: of its ONNX nodes; where two nodes have one of the same name, that of the first.
        nodes: positions of the ONNX nodes that it came from, as ``origin.py`` finds them.
        tuned: whether its schedule came out of the tuning database.
    """

    name: str
    op: str
    inputs: tuple[Slot, ...]
    weights: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    arguments: tuple[Slot, ...]
    attributes: dict[str, str]
    nodes: tuple[int, ...]
    tuned: bool

    def document(self) -> dict[str, object]:
        """What goes over the wire: plain lists, strings and numbers."""
        return asdict(self)


@dataclass(frozen=True)
class KernelTable:
    """The kernels of a graph in order of execution, and the ONNX nodes that cost nothing when it runs."""

    kernels: tuple[TvmKernel, ...]
    folded: tuple[int, ...]


def read_kernels(
    module: tvm.IRModule, origins: Sequence[Origin], model: onnx.ModelProto, tuned: frozenset[str]
) -> KernelTable:
    """The kernels of a module after fusion; ``tuned`` holds the names of functions scheduled from a database.

    Raises:
        RuntimeError: the passes after fusion added or removed calls, so that their origins are not known.
    """
    calls = [(b.var, b.value) for b in flat_bindings(module["main"]) if isinstance(b.value, relax.Call)]
    if len(calls) != len(origins):
        raise RuntimeError(f"{len(origins)} calls after fusion became {len(calls)}: their ONNX nodes are not known")
    kernels = tuple(
        _kernel(call, origin, model.graph.node, callee(call) in tuned)
        for (_, call), origin in zip(calls, origins, strict=True)
        if not _is_view(call)
    )
    executed = {node for kernel in kernels for node in kernel.nodes}
    return KernelTable(kernels, tuple(sorted(set(range(len(model.graph.node))) - executed)))


def _is_view(call: relax.Call) -> bool:
    return callee(call) in _VIEWS


def _kernel(call: relax.Call, origin: Origin, nodes: Sequence[onnx.NodeProto], tuned: bool) -> TvmKernel:
    operands = [
        (slot, isinstance(leaf, tvm.ir.GenericConst)) for leaf in _leaves(call.args) for slot in _slots(leaf.ty)
    ]
    outputs = tuple(_slots(call.ty))
    return TvmKernel(
        name=callee(call),
        op="+".join(_readable(step) for step in origin.steps),
        inputs=tuple(slot for slot, constant in operands if not constant),
        weights=tuple(slot for slot, constant in operands if constant),
        outputs=outputs,
        arguments=(*(slot for slot, _ in operands), *outputs),
        attributes=_attributes(nodes[index] for index in sorted(origin.nodes)),
        nodes=tuple(sorted(origin.nodes)),
        tuned=tuned,
    )


def _leaves(arguments: Iterable[relax.Expr]) -> Iterable[relax.Expr]:
    """The tensors among the arguments; tuples are opened."""
    for argument in arguments:
        if isinstance(argument, relax.Tuple):
            yield from _leaves(argument.fields)
        elif isinstance(argument, relax.Var | tvm.ir.GenericConst) and not isinstance(argument, tvm.ir.GlobalVar):
            yield argument


def _slots(kind: tvm.ir.Type) -> list[Slot]:
    """Tensors of a type, one after the other: a function may return several."""
    if isinstance(kind, relax.TupleType):
        return [slot for field in kind.fields for slot in _slots(field)]
    if not isinstance(kind, relax.TensorType):
        return []
    dims = kind.shape.values if isinstance(kind.shape, relax.ShapeExpr) else ()
    return [(str(kind.dtype), tuple(_extent(dim) for dim in dims))]


def _extent(dim: object) -> int | None:
    value = getattr(dim, "value", None)  # an expression where the size is not known before the run
    return int(value) if value is not None else None


def _readable(step: str) -> str:
    """``tir_clip1`` → ``clip``: TVM numbers functions of one operator on different shapes."""
    return re.sub(r"^(tir|topi|te)_", "", re.sub(r"\d+$", "", step.removeprefix("fused_"))) or step


def _attributes(nodes: Iterable[onnx.NodeProto]) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in nodes:
        for attribute in node.attribute:
            text = _text(attribute)
            if text is not None:
                found.setdefault(attribute.name, text)
    return dict(sorted(found.items()))


def _text(attribute: AttributeProto) -> str | None:
    """A number, a string, or numbers joined by ×'s plain letter; tensors and graphs are no attributes of the work."""
    value = helper.get_attribute_value(attribute)
    if attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS):
        return "x".join(f"{item:g}" for item in value)
    if attribute.type in (AttributeProto.INT, AttributeProto.FLOAT):
        return f"{value:g}"
    return value.decode(errors="replace") if attribute.type == AttributeProto.STRING else None
