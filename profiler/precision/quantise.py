"""Quantise a float32 model to 8 bits with ONNX Runtime's own quantiser, from fixed random ranges instead of data.

The latency of a quantised network depends on the graph and not on how well its scales fit any data, so no calibration
is run: every value gets a range drawn from a seed, within the bounds of the operator that makes it. Accuracy means
nothing here. What may be asked for, and the refusals, stand in ``convert.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Form = Literal["int8-qdq", "int8-qoperator"]

#: The operator set that brought ``axis`` to DequantizeLinear (ONNX operator changelog), which scales per channel need.
_PER_CHANNEL_OPSET = 13
#: Values of unknown bounds range over [-a, b] with a and b from this interval: wide enough that most of what standard
#: normal inputs and He-initialised weights give is not clipped. Latency does not depend on it.
_EXTENT = (2.0, 6.0)
_UNIT = frozenset({"Sigmoid", "HardSigmoid", "Softmax"})
_POSITIVE = frozenset({"Relu", "Abs", "Exp", "Sqrt"})
#: Suffix of ONNX Runtime's quantiser for the 8-bit form of a value.
QUANTISED_SUFFIX = "_quantized"
#: Operators between DequantizeLinear and QuantizeLinear that ONNX Runtime's CPU provider executes on 8-bit numbers; the
#: other ones that the quantiser knows (Pad, TopK, ConvTranspose, normalisations) run in float32. Found by running 1.32.
INTEGER_IN_QDQ = frozenset(
    {
        "Add", "ArgMax", "AveragePool", "Clip", "Concat", "Conv", "Flatten", "Gather", "GatherElements", "Gemm",
        "GlobalAveragePool", "LeakyRelu", "MatMul", "MaxPool", "Mul", "Relu", "Reshape", "Resize", "Sigmoid", "Slice",
        "Softmax", "Split", "Squeeze", "Transpose", "Unsqueeze", "Where",
    }
)  # fmt: skip


@dataclass(frozen=True)
class QuantiseOptions:
    """How to quantise.

    The defaults are what ONNX Runtime's documentation of ``quantize_static`` gives for x86 CPUs with VNNI, and accepts
    for ARM: uint8 activations around a zero point, symmetric int8 weights.

    Attributes:
        per_channel: a scale for every output channel of a weight: depthwise networks lose their accuracy without
            (Krishnamoorthi, arXiv:1806.08342), so it is what people deploy. Operator sets below 13 have none.
        activation: ``int8`` is quantised symmetrically, which some ARM kernels and TensorRT prefer.
        reduce_range: weights of 7 bits, against the saturation of x86 CPUs without VNNI.
    """

    per_channel: bool = True
    activation: Literal["uint8", "int8"] = "uint8"
    reduce_range: bool = False


def quantise(model: onnx.ModelProto, form: Form, options: QuantiseOptions, seed: int) -> onnx.ModelProto:
    """The quantised form of a complete float32 model whose nodes have names and whose shapes are inferred.

    Inputs and outputs stay float32: QuantizeLinear and DequantizeLinear stand wherever the precision changes.

    Raises:
        ValueError, KeyError, IndexError, RuntimeError: the quantiser cannot deal with the graph.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode, add_infer_metadata

    source = onnx.ModelProto()
    source.CopyFrom(model)
    # The shapes are there: tells the quantiser not to write the model to disk to infer them.
    add_infer_metadata(source)
    activation = QuantType.QUInt8 if options.activation == "uint8" else QuantType.QInt8
    operators = sorted(_operators())
    common = (QuantType.QInt8, activation, _ranges(source, seed), None, None, operators)
    extra: dict[str, object] = {"ActivationSymmetric": options.activation == "int8"}
    per_channel = options.per_channel and opset(source) >= _PER_CHANNEL_OPSET
    if form == "int8-qdq":
        # One scale for the gain of a normalisation: it has no axis of output channels, and the quantiser warns of that.
        extra["TensorQuantOverrides"] = {name: [{"quant_type": QuantType.QInt8}] for name in _gains(source)}
        quantizer = QDQQuantizer(source, per_channel, options.reduce_range, *common, extra)
    else:
        mode = QuantizationMode.QLinearOps
        quantizer = ONNXQuantizer(source, per_channel, options.reduce_range, mode, True, *common, extra)
    quantizer.quantize_model()
    made: onnx.ModelProto = quantizer.model.model
    _declare_quantised(model, made, TensorProto.UINT8 if options.activation == "uint8" else TensorProto.INT8)
    return made


def opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operator set that a model uses; 0 where it uses none."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def kept_in_float(original: onnx.ModelProto, quantised: onnx.ModelProto, form: Form) -> frozenset[str]:
    """Names of the nodes of ``original`` that compute in float32 in its quantised form.

    A node that left its name is quantised or absorbed (Relu and Clip by the range of their producer). One that kept its
    name is quantised if it reads 8-bit numbers: in the QDQ form, if it reads what DequantizeLinear gives out, and ONNX
    Runtime's CPU provider has a kernel for that.
    """
    dequantised = {name for node in quantised.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    left = {node.name: node for node in quantised.graph.node}
    kept = set()
    for node in original.graph.node:
        now = left.get(node.name)
        if now is None:
            continue
        if form == "int8-qdq":
            integer = now.op_type in INTEGER_IN_QDQ and any(name in dequantised for name in now.input)
        else:
            integer = any(name.endswith(QUANTISED_SUFFIX) for name in now.input)
        if not integer:
            kept.add(node.name)
    return frozenset(kept)


def _operators() -> frozenset[str]:
    """All that the quantiser knows, as ``quantize_static`` takes them."""
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    return frozenset(QDQRegistry) | frozenset(QLinearOpsRegistry)


def _gains(model: onnx.ModelProto) -> list[str]:
    """Names of the constant factors of normalisations, each once, in order."""
    constants = {tensor.name for tensor in model.graph.initializer}
    read = [node.input[1] for node in model.graph.node if node.op_type.endswith("Normalization") and not node.domain]
    return list(dict.fromkeys(name for name in read if name in constants))


def _ranges(model: onnx.ModelProto, seed: int) -> object:
    """ONNX Runtime's ``TensorsData``: a range for every value, drawn in the order in which the graph makes them."""
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData

    random = np.random.RandomState(seed)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    made_by = [(value.name, None) for value in model.graph.input]
    made_by += [(name, node) for node in model.graph.node for name in node.output if name]
    ranges = {}
    for name, node in made_by:
        low, high = random.uniform(*_EXTENT, size=2)
        bounds = _bounds(node, constants, -low, high) if node else (-low, high)
        ranges[name] = (np.float32(bounds[0]), np.float32(bounds[1]))
    return TensorsData(CalibrationMethod.MinMax, ranges)


def _bounds(node: onnx.NodeProto, constants: dict[str, TensorProto], low: float, high: float) -> tuple[float, float]:
    """The part of [low, high] that an operator can give out."""
    if node.op_type in _UNIT:
        return 0.0, 1.0
    if node.op_type == "Tanh":
        return -1.0, 1.0
    if node.op_type in _POSITIVE:
        return 0.0, high
    if node.op_type == "Clip":
        limits = {a.name: helper.get_attribute_value(a) for a in node.attribute}  # before operator set 11
        limits |= {
            limit: float(numpy_helper.to_array(constants[name]))
            for limit, name in zip(("min", "max"), node.input[1:], strict=False)
            if name in constants
        }
        return float(limits.get("min", low)), float(limits.get("max", high))
    return low, high


def _declare_quantised(original: onnx.ModelProto, made: onnx.ModelProto, kind: int) -> None:
    """Shapes of the 8-bit values: ONNX's inference cannot tell them, since it does not know QLinearAdd and its kin."""
    shapes = {value.name: value for value in [*original.graph.value_info, *original.graph.output]}
    for node in made.graph.node:
        for name in node.output:
            source = shapes.get(name.removesuffix(QUANTISED_SUFFIX))
            if name.endswith(QUANTISED_SUFFIX) and source is not None:
                value = made.graph.value_info.add(name=name)
                value.type.CopyFrom(source.type)
                value.type.tensor_type.elem_type = kind
