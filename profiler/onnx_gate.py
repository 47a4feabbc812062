"""The gate before a runtime: whether the bytes of an ONNX model, from wherever they came, may be handed to one.

A model is data, and a runtime reads files, loads compiled code and allocates memory because of it. ``check_onnx`` lets
through a skeleton or a whole file that does none of this beyond its limits. It needs the standard library alone, so
that a board which has nothing but a runtime can ask it.

It does not say that the model is valid, or that the runtime has its operators: the runtime does. It does not bound what
is computed, or memory whose size is an operand (ConstantOfShape, Expand): the runner's own process, its limits and its
timeout do. Dimensions that are not fixed are ``DynamicShape``'s, and count as one. Weights that travel as descriptions
are not in a skeleton: whoever makes them adds them to ``GateReport.tensor_bytes``.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import UnsafeModel
from .onnx_functions import Body, Cost, Operator, expand, shown
from .onnx_wire import Message, Walk

#: ONNX's own domains, ONNX Runtime's contributed operators, and the blocked layout in which it optimises graphs for a
#: CPU: kernels that were cut out of optimised graphs use it.
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"})
#: First letters of operators that are more than arithmetic, in any domain, since TVM's importer looks at names alone.
#: From ONNX Runtime's contrib_defs.cc, collective_defs.cc and training_op_defs.cc.
REFUSED_OPERATORS = {
    "EPContext": "it carries what another compiler made, or the path to it",
    "Snpe": "it carries a compiled binary for a DSP",
    "PyOp": "it runs Python",
    "PythonOp": "it runs Python",
    "ATen": "it calls into another framework by name",
    "Triton": "it compiles and loads code",
    "Ext": "it calls what stands outside the model",
    "AllReduce": "it talks to other machines",
    "AllGather": "it talks to other machines",
    "AllToAll": "it talks to other machines",
    "Adasum": "it talks to other machines",
    "Distributed": "it talks to other machines",
    "Nccl": "it talks to other machines",
    "Sharded": "it talks to other machines",
    "Send": "it talks to other machines",
    "Recv": "it talks to other machines",
    "RecordEvent": "it waits for other threads",
    "WaitEvent": "it waits for other threads",
    "YieldOp": "it waits for other threads",
}
_REFUSED = tuple(prefix.encode() for prefix in REFUSED_OPERATORS)
#: ONNX Runtime takes bytes with this mark for its own format, whatever else they are, and would read another model
#: than the one that was checked.
_ORT_FORMAT, _ORT_FORMAT_AT = b"ORTM", slice(4, 8)
#: Bits of one element, by TensorProto.DataType: floats and integers, a string object of C++, two floats of a complex
#: number. Types of 6 bits are counted as bytes.
_ELEMENT_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 8: 256, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128,
    16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2, 27: 8, 28: 8,
}  # fmt: skip
_WIDEST_BITS = max(_ELEMENT_BITS.values())
_INT64_MAX = (1 << 63) - 1
_INSIDE = "Save it with its weights inside: onnx.save(onnx.load(path), copy, save_as_external_data=False)."
_OWN_OPERATORS = "Replace it by operators of ONNX, or run the model yourself where you trust it."


@dataclass(frozen=True)
class GateLimits:
    """What a model may be at most.

    Attributes:
        model_bytes: its size, and its size with every local function written out where it is called.
        tensor_bytes: what its initialisers, constants and declared values take in memory, functions written out.
        nodes: nodes, functions written out; and local functions.
        depth: how deep graphs, types and calls of functions are nested.
        fields: fields of protobuf, a run of numbers as one; an empty message has two bytes, and a hundred times as many
            once it is parsed.
        domains: of operators and functions.
    """

    model_bytes: int = 256 << 20
    tensor_bytes: int = 2 << 30
    nodes: int = 100_000
    depth: int = 16
    fields: int = 5_000_000
    domains: frozenset[str] = DOMAINS


DEFAULT_LIMITS = GateLimits()


@dataclass(frozen=True)
class GateReport:
    """What a model that was let through holds; the counts are those of ``GateLimits``.

    Attributes:
        domains: of its nodes; ``ai.onnx`` is the empty one.
        unknown_bytes: how much of it stands in fields that this version of ONNX does not define, and was skipped.
    """

    model_bytes: int
    tensor_bytes: int
    nodes: int
    depth: int
    fields: int
    domains: tuple[str, ...]
    unknown_bytes: int


def check_onnx(model: bytes, limits: GateLimits = DEFAULT_LIMITS) -> GateReport:
    """Let a serialised ModelProto through, or refuse it.

    Takes time in proportion to the number of fields; the numbers of weights are passed over.

    Raises:
        UnsafeModel: it is damaged, points to other files, names operators of other domains or ones that load code, has
            functions that call themselves, or is beyond the limits. The message says which, and the remedy.
    """
    if len(model) > limits.model_bytes:
        raise UnsafeModel(
            f"the model has {len(model):,} bytes, more than {limits.model_bytes:,}",
            remedy="Send it without its weights, or raise the limit `model_bytes`.",
        )
    if model[_ORT_FORMAT_AT] == _ORT_FORMAT:
        raise UnsafeModel(
            "the model is marked as ONNX Runtime's own format (ORTM at byte 4)",
            remedy="Send the .onnx file that it was made from. One that is named so by chance: change producer_name.",
        )
    return _Gate(model, limits).report()


class _Gate:
    """Collects what the rules ask for while the model is walked through; refuses at the first that is broken."""

    def __init__(self, model: bytes, limits: GateLimits) -> None:
        self.model = model
        self.limits = limits
        self.bodies: dict[int, Body] = {}
        self.functions: dict[Operator, list[Body]] = {}
        self.function_count = 0
        self.domains: set[str] = set()
        closed = {
            "FunctionProto": self._function, "NodeProto": self._node, "TensorProto": self._tensor,
            "SparseTensorProto": self._sparse, "Tensor": self._value, "SparseTensor": self._value,
            "Dimension": self._dimension, "Opaque": self._opaque,
        }  # fmt: skip
        self.walk = Walk(model, closed, limits.fields, limits.depth)

    def report(self) -> GateReport:
        main = self._finished(self.walk.run())
        whole = expand(main, self.functions, self._within_limits)
        return GateReport(
            model_bytes=whole.model_bytes,
            tensor_bytes=whole.tensor_bytes,
            nodes=whole.nodes,
            depth=whole.depth,
            fields=self.walk.fields,
            domains=tuple(sorted(self.domains)),
            unknown_bytes=self.walk.unknown_bytes,
        )

    def _within_limits(self, cost: Cost) -> None:
        limits = self.limits
        for name, value, limit, what in (
            ("nodes", cost.nodes, limits.nodes, "nodes"),
            ("tensor_bytes", cost.tensor_bytes, limits.tensor_bytes, "bytes of tensors"),
            ("model_bytes", cost.model_bytes, limits.model_bytes, "bytes with its functions written out"),
            ("depth", cost.depth, limits.depth, "levels of graphs and functions"),
        ):
            if value > limit:
                raise UnsafeModel(
                    f"the model has {value:,} {what}, more than {limit:,}",
                    remedy=f"Take a smaller model, or raise the limit `{name}` where the device has room for it.",
                )

    def _body(self, message: Message) -> Body:
        """The body that a message stands in."""
        body = self.bodies.get(message.root)
        if body is None:
            body = self.bodies[message.root] = Body()
        return body

    def _finished(self, root: Message) -> Body:
        body = self._body(root)
        del self.bodies[root.root]
        body.model_bytes = root.end - root.start
        body.depth = self.walk.deepest.get(root.root, 0)
        return body

    def _name(self, message: Message, number: int) -> bytes:
        start, end = message.spans.get(number, (0, 0))
        return bytes(self.model[start:end])

    def _domain(self, name: bytes, what: str) -> str:
        """A domain that is allowed, ONNX's own as the empty one."""
        domain = name.decode("utf-8", "backslashreplace")
        if domain not in self.limits.domains:
            raise UnsafeModel(f"{what} is of the domain {shown(name)}, which is not allowed", remedy=_OWN_OPERATORS)
        return "" if domain == "ai.onnx" else domain

    def _function(self, message: Message) -> None:
        name = self._name(message, 1)
        domain = self._domain(self._name(message, 10), f"the local function {shown(name)}")
        self.functions.setdefault((domain.encode(), name), []).append(self._finished(message))
        self.function_count += 1
        if self.function_count > self.limits.nodes:
            raise UnsafeModel(
                f"the model has more than {self.limits.nodes:,} local functions",
                remedy="Leave out those that nothing calls, or raise the limit `nodes`.",
            )

    def _node(self, message: Message) -> None:
        op_type = self._name(message, 4)
        domain = self._domain(self._name(message, 7), f"the operator {shown(op_type)}")
        self.domains.add(domain)
        if op_type.startswith(_REFUSED):
            reason = next(why for prefix, why in REFUSED_OPERATORS.items() if op_type.startswith(prefix.encode()))
            raise UnsafeModel(f"the operator {shown(op_type)} is not allowed: {reason}", remedy=_OWN_OPERATORS)
        self._body(message).call((domain.encode(), op_type), message.depth)

    def _tensor(self, message: Message) -> None:
        what = f"the tensor {shown(self._name(message, 8))}"
        if message.numbers.get(14) or message.seen >> 13 & 1:
            raise UnsafeModel(f"{what} keeps its data in another file", remedy=_INSIDE)
        element = message.numbers.get(2, 0)
        if element not in _ELEMENT_BITS:
            raise UnsafeModel(
                f"{what} has elements of the type {element}, whose size is not known",
                remedy="Types up to 28 of TensorProto.DataType are; export it for ONNX 1.23 or older.",
            )
        self._add(message, message.dims, _ELEMENT_BITS[element], what)

    def _sparse(self, message: Message) -> None:
        # Runtimes write it out as a dense tensor.
        values = message.parts.get(1)
        element = values.numbers.get(2, 0) if values else 0
        self._add(message, message.dims, _ELEMENT_BITS.get(element, _WIDEST_BITS), "a sparse tensor")

    def _value(self, message: Message) -> None:
        shape = message.parts.get(2)
        if shape is not None:
            bits = _ELEMENT_BITS.get(message.numbers.get(1, 0), _WIDEST_BITS)
            self._add(message, shape.dims, bits, "the type of a value")

    def _dimension(self, message: Message) -> None:
        if message.parent is not None:
            message.parent.dims.append(message.numbers.get(1, 1))

    def _opaque(self, message: Message) -> None:
        self._domain(self._name(message, 1), "an opaque type")

    def _add(self, message: Message, dims: list[int], element_bits: int, what: str) -> None:
        """Count a tensor's memory."""
        elements = 1  # without the zeros: a product that overflows before it meets one has overflown
        for dim in dims:
            if dim < 0:
                raise UnsafeModel(f"{what} has the dimension {dim}", remedy="Give it its shape, and export it again.")
            elements *= dim or 1
            if elements > _INT64_MAX:
                raise UnsafeModel(
                    f"{what} has more elements than 64 bits can count", remedy="Give it its shape, and export it again."
                )
        if 0 not in dims:
            self._body(message).tensor_bytes += -(-elements * element_bits // 8)
