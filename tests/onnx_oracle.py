"""What the gate's rules say of a model that the onnx package has parsed: an independent reading, slow and recursive."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import onnx
from google.protobuf.message import Message
from onnx import TensorProto, helper

from edgecost.profiler.onnx_gate import REFUSED_OPERATORS, GateLimits

Key = tuple[str, str]
MESSAGES = ("GraphProto", "TypeProto")


@dataclass
class Reading:
    """The rules that a model breaks, and what it holds."""

    broken: set[str] = field(default_factory=set)
    nodes: int = 0
    tensor_bytes: int = 0
    model_bytes: int = 0
    depth: int = 0


def inside(message: Message, depth: int = 0) -> Iterator[tuple[Message, int]]:
    """A message and all that stand in it, with how many graphs or types they are nested in."""
    yield message, depth
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        for part in value if descriptor.is_repeated else [value]:
            nested = part.DESCRIPTOR.name in MESSAGES and message.DESCRIPTOR.name in (
                "AttributeProto", "Sequence", "Map", "Optional",
            )  # fmt: skip
            yield from inside(part, depth + nested)


def unsafe(model: onnx.ModelProto) -> set[str]:
    """What no limit can allow: data in other files, foreign domains, operators that load code, negative dimensions."""
    broken = set()
    for message, _ in inside(model):
        match message:
            case onnx.TensorProto():
                if message.data_location == TensorProto.EXTERNAL or message.external_data:
                    broken.add("external")
                if any(dim < 0 for dim in message.dims):
                    broken.add("negative")
                if message.data_type not in TensorProto.DataType.values() or not message.data_type:
                    broken.add("type")
            case onnx.SparseTensorProto() if any(dim < 0 for dim in message.dims):
                broken.add("negative")
            case onnx.TensorShapeProto() if any(dim.dim_value < 0 for dim in message.dim):
                broken.add("negative")
            case onnx.NodeProto():
                if message.domain not in GateLimits().domains:
                    broken.add("domain")
                if text(message.op_type).startswith(tuple(REFUSED_OPERATORS)):
                    broken.add("operator")
            case onnx.FunctionProto() | onnx.TypeProto.Opaque() if message.domain not in GateLimits().domains:
                broken.add("domain")
    return broken


def text(name: str | bytes) -> str:
    """A name; the onnx package gives one that is no UTF-8 as bytes."""
    return name if isinstance(name, str) else name.decode("utf-8", "backslashreplace")


def element_bytes(data_type: int) -> float:
    if data_type == TensorProto.STRING or data_type not in TensorProto.DataType.values() or not data_type:
        return 32
    name = TensorProto.DataType.Name(data_type)
    narrow = {"UINT4": 0.5, "INT4": 0.5, "FLOAT4E2M1": 0.5, "UINT2": 0.25, "INT2": 0.25}
    return narrow.get(name) or helper.tensor_dtype_to_np_dtype(data_type).itemsize


def size(dims: list[int], data_type: int) -> int:
    return math.ceil(math.prod(dims) * element_bytes(data_type))


def held(message: Message) -> int:
    """The memory that one message declares."""
    match message:
        case onnx.TensorProto():
            return size(list(message.dims), message.data_type)
        case onnx.SparseTensorProto():
            return size(list(message.dims), message.values.data_type)
        case onnx.TypeProto.Tensor() | onnx.TypeProto.SparseTensor() if message.HasField("shape"):
            dims = [dim.dim_value if dim.HasField("dim_value") else 1 for dim in message.shape.dim]
            return size(dims, message.elem_type)
    return 0


def key(message: onnx.NodeProto | onnx.FunctionProto) -> Key:
    name = message.op_type if isinstance(message, onnx.NodeProto) else message.name
    return ("" if message.domain == "ai.onnx" else message.domain, name)


def read(model: onnx.ModelProto, limits: GateLimits) -> Reading:
    """Every rule that the model breaks, and, where it breaks none, its sizes with the functions written out."""
    reading = Reading(unsafe(model))
    if reading.broken:
        return reading
    if any(overflows(message) for message, _ in inside(model)):
        return Reading({"overflow"})
    if len(model.functions) > limits.nodes:
        return Reading({"functions"})
    functions: dict[Key, list[onnx.FunctionProto]] = {}
    for function in model.functions:
        functions.setdefault(key(function), []).append(function)
    if recursive(functions):
        return Reading({"recursion"})
    main = onnx.ModelProto()
    main.CopyFrom(model)
    del main.functions[:]
    # Functions of one name count as one, called or not: which of them a runtime takes hangs on its age.
    for bodies in [*functions.values(), [main]]:
        sizes = Reading(model_bytes=sum((model if body is main else body).ByteSize() for body in bodies))
        for body in bodies:
            write_out(body, functions, sizes, 0)
        for name in ("nodes", "tensor_bytes", "model_bytes", "depth"):
            if getattr(sizes, name) > getattr(limits, name):
                reading.broken.add(name)
    sizes.broken = reading.broken
    return sizes


def overflows(message: Message) -> bool:
    match message:
        case onnx.TensorProto() | onnx.SparseTensorProto():
            dims = list(message.dims)
        case onnx.TypeProto.Tensor() | onnx.TypeProto.SparseTensor():
            dims = [dim.dim_value for dim in message.shape.dim]
        case _:
            return False
    return math.prod(dim or 1 for dim in dims) >= 1 << 63


def recursive(functions: dict[Key, list[onnx.FunctionProto]]) -> bool:
    def visit(name: Key, path: tuple[Key, ...]) -> bool:
        if name in path:
            return True
        nodes = [m for f in functions[name] for m, _ in inside(f) if isinstance(m, onnx.NodeProto)]
        return any(visit(called, (*path, name)) for called in {key(node) for node in nodes} & set(functions))

    return any(visit(name, ()) for name in functions)


def write_out(body: Message, functions: dict[Key, list[onnx.FunctionProto]], sizes: Reading, depth: int) -> None:
    for message, nested in inside(body):
        sizes.tensor_bytes += held(message)
        sizes.depth = max(sizes.depth, depth + nested)
        if isinstance(message, onnx.NodeProto):
            sizes.nodes += 1
            for function in functions.get(key(message), ()):
                sizes.model_bytes += function.ByteSize()
                write_out(function, functions, sizes, depth + nested + 1)
