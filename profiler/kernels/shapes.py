"""Shapes of the values of a graph, before and after the runtime's optimiser: inferred, worked out, or asked for.

ONNX's inference knows the graph as written; blocked layouts follow rules that stand here; what is left is asked of
ONNX Runtime, which infers the shapes of its own operators when it loads the optimised graph. Nothing is run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, shape_inference

from ..errors import ModelError
from ..model_file import with_weight_inputs
from ..records import RuntimeProfile
from ..weights import Weight
from .session import open_session

Shape = tuple[int, ...]
BLOCKED_DOMAIN = "com.microsoft.nchwc"
#: Operators that the layout pass lets stand between two blocked kernels, on values under new names.
ELEMENTWISE = frozenset(
    {"Add", "Mul", "Sum", "Relu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Clip", "LeakyRelu"}
)


def inferred_types(model: onnx.ModelProto, weights: Sequence[Weight]) -> dict[str, onnx.TypeProto]:
    """Types of the values of the graph as written, as far as ONNX knows them; of its weights, too.

    Most values survive optimisation under their own names. ``weights`` describes the initialisers that the model lacks.
    """
    inferred = shape_inference.infer_shapes(with_weight_inputs(model, weights), data_prop=True).graph
    return {value.name: value.type for value in [*inferred.input, *inferred.output, *inferred.value_info]}


def asked_types(optimised: onnx.ModelProto, profile: RuntimeProfile) -> dict[str, onnx.TypeProto]:
    """Types, with the shapes that the kernels really see, of all values of an optimised graph.

    Every value is made an output of the graph, and the runtime says what it infers for its outputs. Channels of blocked
    values count their padding. A dimension that depends on data has no size; scalars, which the runtime does not tell
    from values of unknown rank, have no shape. Empty when the runtime refuses its own graph with all values kept.
    """
    exposed = onnx.ModelProto()
    exposed.CopyFrom(optimised)
    known = {value.name for value in exposed.graph.output}
    names = [name for node in exposed.graph.node for name in node.output if name and name not in known]
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    try:
        # Only loading is wanted; the graph has been optimised.
        session = open_session(exposed.SerializeToString(), profile, graph_level="ORT_DISABLE_ALL")
    except ModelError:
        return {}
    found = {}
    for slot in [*session.get_inputs(), *session.get_outputs()]:
        kind = _element_type(slot.type)
        if kind is not None:
            dims = [dim if isinstance(dim, int) and dim > 0 else None for dim in slot.shape]
            found[slot.name] = helper.make_tensor_type_proto(kind, dims or None)
    return found


def _element_type(text: str) -> int | None:
    """``tensor(float)`` → 1; None for sequences, maps and optionals."""
    if not text.startswith("tensor("):
        return None
    name = text[len("tensor(") : -1].upper()
    kinds = dict(onnx.TensorProto.DataType.items())
    kind: int | None = kinds.get(name)
    return kind


def concrete_shapes(types: Mapping[str, onnx.TypeProto]) -> dict[str, Shape]:
    """The shapes of those values that have a concrete one."""
    return {name: shape for name, kind in types.items() if (shape := concrete_shape(kind)) is not None}


def concrete_shape(kind: onnx.TypeProto | None) -> Shape | None:
    """The shape of a tensor type; None where a dimension is open, or the type unknown."""
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    dims = [dim.dim_value for dim in kind.tensor_type.shape.dim]
    return tuple(dims) if all(dim > 0 for dim in dims) else None


def derived_shape(node: onnx.NodeProto, known: dict[str, Shape], constants: dict[str, Shape]) -> Shape | None:
    """Shape of the first output of a blocked or elementwise node, from its operands; None when that is not known."""
    reads = [name for name in node.input if name and name not in constants]
    if node.domain == BLOCKED_DOMAIN and node.input[0] in known:
        return _blocked_shape(node, known[node.input[0]], [constants[name] for name in node.input if name in constants])
    if node.output[0] not in known and node.op_type in ELEMENTWISE and all(name in known for name in reads):
        return tuple(np.broadcast_shapes(*(known[name] for name in reads)))
    return None


def _blocked_shape(node: onnx.NodeProto, source: Shape, weights: list[Shape]) -> Shape:
    """Output of a blocked-layout node: ONNX's shape inference does not know this domain. Channels may be padded."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    n, c, h, w = source
    # A transposition before or behind the blocked part is taken into the reorder.
    is_last = bool(attributes.get("channels_last", 0))
    if node.op_type == "ReorderInput":
        return (n, w, c, h) if is_last else (n, c, h, w)
    if node.op_type == "ReorderOutput":
        channels = int(attributes["channels"])
        return (n, h, w, channels) if is_last else (n, channels, h, w)
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
