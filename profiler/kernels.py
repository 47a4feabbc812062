"""The kernels a graph becomes: what the runtime executes after its own fusion and layout changes.

Nothing is guessed here: ONNX Runtime optimises the graph and writes what it would run; this file reads that back and
gives every kernel its shapes. Prices are made in ``costmodels``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, shape_inference

from .errors import BrokenModel, UnsupportedOperator, UsageError
from .records import Json, RuntimeProfile, Status, content_hash
from .runner import name_outcome
from .weights import complete
from .workload import Workload

Shape = tuple[int, ...]
_NCHWC = "com.microsoft.nchwc"
#: Operators that the layout pass lets stand between two blocked kernels, on values under new names.
_ELEMENTWISE = frozenset(
    {"Add", "Mul", "Sum", "Relu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Clip", "LeakyRelu"}
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
    """

    op: str
    inputs: tuple[Shape | None, ...]
    weights: tuple[Shape, ...]
    outputs: tuple[Shape | None, ...]
    attributes: tuple[tuple[str, str], ...] = field(default=())
    dtype: str = "float32"

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


def kernels(workload: Workload, profile: RuntimeProfile) -> tuple[Kernel, ...]:
    """The kernels of a workload in execution order.

    Raises:
        UnsupportedOperator: the runtime knows no kernel for an operator.
        BrokenModel: the runtime refuses the graph.
        UsageError: the runtime here lacks the profile's execution provider; another one has other kernels.
    """
    model = onnx.load_model_from_string(workload.skeleton)
    known = _inferred_shapes(model, workload)
    optimised = _optimise(complete(workload.skeleton, workload.weights), profile)
    return tuple(_read_kernels(optimised.graph, known))


def _optimise(model: bytes, profile: RuntimeProfile) -> onnx.ModelProto:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    if profile.provider not in onnxruntime.get_available_providers():
        raise UsageError(f"the ONNX Runtime of this interpreter has no {profile.provider}: its kernels are not known")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, profile.graph_level)
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    for key, value in profile.options:
        options.add_session_config_entry(key, value)
    with tempfile.TemporaryDirectory(prefix="edgecost-") as folder:
        target = Path(folder, "optimised.onnx")
        options.optimized_model_filepath = str(target)
        try:
            onnxruntime.InferenceSession(model, options, providers=[profile.provider])
        except (
            state.NotImplemented, state.InvalidGraph, state.Fail, state.InvalidArgument, state.InvalidProtobuf,
            state.RuntimeException,
        ) as error:  # fmt: skip
            if name_outcome(error) == Status.UNSUPPORTED_OPERATOR.value:
                raise UnsupportedOperator(f"{profile.label} has no kernel for this graph: {error}") from error
            raise BrokenModel(f"{profile.label} refuses this graph: {error}") from error
        return onnx.load(target)


def _inferred_shapes(model: onnx.ModelProto, workload: Workload) -> dict[str, Shape]:
    """Shapes of the values of the graph as written; most survive optimisation under their own names."""
    for weight in workload.weights:
        kind = helper.np_dtype_to_tensor_dtype(_dtype(weight.dtype))
        model.graph.input.append(helper.make_tensor_value_info(weight.name, kind, weight.shape))
    inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes: dict[str, Shape] = {}
    for value in [*inferred.input, *inferred.output, *inferred.value_info]:
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.dim_value > 0 for dim in dims):
            shapes[value.name] = tuple(dim.dim_value for dim in dims)
    return shapes


def _read_kernels(graph: onnx.GraphProto, known: dict[str, Shape]) -> Iterable[Kernel]:
    constants = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    element = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].type == onnx.AttributeProto.TENSOR:
            constants[node.output[0]] = tuple(node.attribute[0].t.dims)
            element[node.output[0]] = node.attribute[0].t.data_type
            continue
        reads = [name for name in node.input if name and name not in constants]
        weights = [constants[name] for name in node.input if name in constants]
        if node.domain == _NCHWC and node.input[0] in known:
            known[node.output[0]] = _blocked_shape(node, known[node.input[0]], weights)
        elif node.output[0] not in known and node.op_type in _ELEMENTWISE and all(name in known for name in reads):
            known[node.output[0]] = tuple(np.broadcast_shapes(*(known[name] for name in reads)))
        kinds = {element[name] for name in node.input if name in constants and len(constants[name]) > 1}
        yield Kernel(
            op=f"{node.domain.rsplit('.', 1)[-1]}.{node.op_type}" if node.domain else node.op_type,
            inputs=tuple(known.get(name) for name in reads),
            weights=tuple(weights),
            outputs=tuple(known.get(name) for name in node.output if name),
            attributes=tuple(sorted((a.name, _value(a)) for a in node.attribute)),
            dtype=_type_name(min(kinds)) if kinds else "float32",
        )


def _blocked_shape(node: onnx.NodeProto, source: Shape, weights: list[Shape]) -> Shape:
    """Output of a blocked-layout node: ONNX's shape inference does not know this domain. Channels may be padded."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    n, c, h, w = source
    if node.op_type == "ReorderInput":
        return (n, c, h, w)
    if node.op_type == "ReorderOutput":
        return (n, int(attributes["channels"]), h, w)
    if node.op_type.startswith("Global"):
        return (n, c, 1, 1)
    if node.op_type == "Upsample":
        scales = [int(scale) for scale in attributes["scales"]]
        return (n, c * scales[1], h * scales[2], w * scales[3])
    # A convolution may leave its kernel's shape to its weight.
    kernel = [int(k) for k in attributes.get("kernel_shape", weights[0][2:] if weights else ())]
    strides = [int(s) for s in attributes.get("strides", [1, 1])]
    dilations = [int(d) for d in attributes.get("dilations", [1, 1])]
    pads = _pads(attributes, (h, w), kernel, strides, dilations)
    size = []
    for axis, extent in enumerate((h, w)):
        room = extent + pads[axis] + pads[axis + 2] - dilations[axis] * (kernel[axis] - 1) - 1
        steps = room // strides[axis]
        # With ceil_mode a last, incomplete window counts if it begins before the padding at the end (ONNX MaxPool).
        over = bool(attributes.get("ceil_mode", 0)) and room % strides[axis] > 0
        size.append(steps + 1 + (over and (steps + 1) * strides[axis] < extent + pads[axis]))
    return (n, weights[0][0] if node.op_type == "Conv" else c, size[0], size[1])


def _pads(
    attributes: dict[str, object], extent: tuple[int, int], kernel: list[int], strides: list[int], dilations: list[int]
) -> list[int]:
    """Pads (top, left, bottom, right), with ``auto_pad`` worked out as ONNX's Conv defines it."""
    mode = attributes.get("auto_pad", b"NOTSET")
    if mode == b"VALID":
        return [0, 0, 0, 0]
    if mode in (b"SAME_UPPER", b"SAME_LOWER"):
        need = [
            max(0, (-(-extent[i] // strides[i]) - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1 - extent[i])
            for i in range(2)
        ]
        return [need[0] // 2, need[1] // 2, need[0] - need[0] // 2, need[1] - need[1] // 2]
    pads = attributes.get("pads", [0, 0, 0, 0])
    return [int(pad) for pad in pads] if isinstance(pads, list | tuple) else list(pads)  # type: ignore[call-overload]


def _value(attribute: onnx.AttributeProto) -> str:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return "x".join(f"{item:g}" for item in value)
    if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.TENSOR):
        return attribute.name
    return f"{value:g}" if isinstance(value, float) else str(value)


def _dtype(name: str) -> np.dtype[np.generic]:
    return np.dtype(name)


def _type_name(kind: int) -> str:
    return str(helper.tensor_dtype_to_np_dtype(kind))


def _text(shape: Shape | None) -> str:
    return "x".join(map(str, shape)) if shape is not None else "?"
