"""The same network in another precision: fp16 and int8 workloads made from a float32 one.

The numbers of the weights are not carried over: latency depends on the graph, so a converted workload is a skeleton
with weights generated on the device, also where the float32 one was read from a file. Conversion is ONNX Runtime's own
(``transformers.float16`` and, through ``quantise.py``, ``quantization``). Inputs and outputs of an fp16 workload are
float16; those of an int8 workload stay float32, with QuantizeLinear and DequantizeLinear at the borders.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import onnx
from onnx import TensorProto

from ..errors import UnsupportedPrecision, UsageError
from ..identity import hash_graph
from ..model_file import split_weights
from ..workload import Workload
from .float_model import position, prepare, tidy, variances
from .half import blocked, halve
from .macs import count_macs
from .quantise import QUANTISED_SUFFIX, Form, QuantiseOptions, kept_in_float, opset, quantise

if TYPE_CHECKING:
    from ..kernels.graph import Kernel

Precision = Literal["fp32", "fp16", "int8-qdq", "int8-qoperator"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

#: Protobuf refuses larger messages, and the converters work on the complete model in memory.
_MODEL_BYTES_MAX = 2**31 - 1
#: The oldest operator set with QuantizeLinear.
_QUANTISE_OPSET = 10
_QUANTISED = frozenset(
    "QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul ConvInteger MatMulInteger".split()
)


@dataclass(frozen=True)
class PrecisionReport:
    """What became of each node of the float32 graph, as it is written; what runs in the end, ``kernels`` tells.

    Attributes:
        converted: positions in the float32 skeleton of the nodes that compute in the new precision, or were folded.
        kept: positions of the nodes that compute in float32 between conversions.
        kept_operators: the operators of ``kept``, each once, sorted.
        kept_mac_share: their part of the multiply-accumulates of the graph; None where those cannot be counted.
    """

    precision: Precision
    converted: tuple[int, ...]
    kept: tuple[int, ...]
    kept_operators: tuple[str, ...]
    kept_mac_share: float | None


@dataclass(frozen=True)
class Conversion:
    """A workload in another precision, and what stayed behind."""

    workload: Workload
    report: PrecisionReport


def convert(workload: Workload, precision: str, *, seed: int = 0) -> Workload:
    """The workload in another precision; ``fp32`` gives it back as it is, also one that is quantised already.

    One seed gives the same bytes everywhere, with one version of ONNX Runtime.

    Raises:
        UnsupportedPrecision: nothing in the graph can be converted, it is quantised already, or the converter cannot
            deal with it.
        UsageError: there is no such precision.
    """
    if precision == "fp32":
        return workload
    return convert_and_report(workload, precision, seed=seed).workload


def convert_and_report(
    workload: Workload, precision: str, *, seed: int = 0, options: QuantiseOptions | None = None
) -> Conversion:
    """As ``convert``, with the list of what stayed in float32; ``options`` concern the int8 forms.

    The seed draws the scales. It does not enter the identity: ``graph_hash`` is the same for every seed.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"there is no precision {precision!r}", remedy=f"one of {', '.join(PRECISIONS)}")
    wanted: Precision = precision
    _refuse_too_large(workload)
    if wanted != "fp32":
        _refuse_quantised(workload)
    model = prepare(workload)
    count = len(onnx.load_model_from_string(workload.skeleton).graph.node)
    if wanted == "fp32":
        everything = frozenset(node.name for node in model.graph.node)
        return Conversion(workload, replace(_report(model, wanted, everything, count), converted=()))
    if wanted == "fp16":
        made, kept = _to_half(model)
    else:
        made, kept = _to_int8(model, wanted, options or QuantiseOptions(), seed)
    report = _report(model, wanted, kept, count)
    if not report.converted:
        names = ", ".join(report.kept_operators)
        raise UnsupportedPrecision(
            f"nothing of {workload.name} can be computed in {wanted}: "
            + (f"{names} stay in float32" if names else "it holds no float32 numbers")
        )
    return Conversion(_finish(workload, made, wanted), report)


def emulated(found: Iterable[Kernel]) -> bool:
    """Whether the kernels of an fp16 workload (``kernels.py``) compute in float32 after all, wholly or in part.

    A runtime without a float16 kernel casts to float32 and back; ONNX Runtime does so for convolutions and matrix
    products on x86. Kernels that widen inside themselves, as its LayerNormalization does, cannot be told apart.
    """
    return any(kernel.op == "Cast" and kernel.attribute.get("to") == str(TensorProto.FLOAT) for kernel in found)


def _refuse_too_large(workload: Workload) -> None:
    sizes = (math.prod(weight.shape) * np.dtype(weight.dtype).itemsize for weight in workload.weights)
    if sum(sizes) > _MODEL_BYTES_MAX:
        raise UnsupportedPrecision(f"{workload.name} has more than 2 GiB of weights: too large for the converters")


def _refuse_quantised(workload: Workload) -> None:
    model = onnx.load_model_from_string(workload.skeleton)
    found = {node.op_type for node in model.graph.node}
    if found & _QUANTISED:
        raise UnsupportedPrecision(
            f"{workload.name} is quantised already and cannot be converted again",
            remedy="measure it as it is with --precision fp32, or give the float32 network that it was made from",
        )


def _to_half(model: onnx.ModelProto) -> tuple[onnx.ModelProto, frozenset[str]]:
    try:
        return halve(model), blocked(model)
    except (ValueError, KeyError, AssertionError) as error:
        raise UnsupportedPrecision(f"ONNX Runtime's float16 converter refuses the graph: {error}") from error


def _to_int8(
    model: onnx.ModelProto, form: Form, options: QuantiseOptions, seed: int
) -> tuple[onnx.ModelProto, frozenset[str]]:
    if opset(model) < _QUANTISE_OPSET:
        raise UnsupportedPrecision(
            f"operator set {opset(model)} has no QuantizeLinear", remedy="export the network with opset 13 or later"
        )
    try:
        made = quantise(model, form, options, seed)
    except (ValueError, KeyError, IndexError, RuntimeError) as error:
        raise UnsupportedPrecision(f"ONNX Runtime's quantiser refuses the graph: {error}") from error
    return made, kept_in_float(model, made, form)


def _report(model: onnx.ModelProto, precision: Precision, kept_names: frozenset[str], count: int) -> PrecisionReport:
    """``count`` is the number of nodes of the skeleton; those of them that left ``model`` were folded into others."""
    floats = _float_values(model)
    nodes = [node for node in model.graph.node if floats & {*node.input, *node.output}]
    kept = {position(node.name) for node in nodes if node.name in kept_names}
    folded = set(range(count)) - {position(node.name) for node in model.graph.node}
    converted = {position(node.name) for node in nodes} | folded
    macs = count_macs(model)
    known = [amount for amount in macs.values() if amount is not None]
    whole = sum(known) if len(known) == len(macs) else 0
    part = sum(macs[node.name] or 0 for node in nodes if node.name in kept_names)
    return PrecisionReport(
        precision=precision,
        converted=tuple(sorted(converted - kept)),
        kept=tuple(sorted(kept)),
        kept_operators=tuple(sorted({node.op_type for node in nodes if node.name in kept_names})),
        kept_mac_share=part / whole if whole else None,
    )


def _float_values(model: onnx.ModelProto) -> set[str]:
    """Names of the float32 values; those of unknown type are taken for such."""
    graph = model.graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in [*graph.input, *graph.output, *graph.value_info]}
    kinds |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    made = {name for node in graph.node for name in node.output if name}
    return {name for name in made | set(kinds) if kinds.get(name, TensorProto.FLOAT) == TensorProto.FLOAT}


def _finish(workload: Workload, made: onnx.ModelProto, precision: Precision) -> Workload:
    """The converted model as a skeleton with weights by description, hashed."""
    before = onnx.load_model_from_string(workload.skeleton)
    declared = {value.name for value in before.graph.value_info}
    declared |= {value.name for value in made.graph.value_info if value.name.endswith(QUANTISED_SUFFIX)}
    tidy(made, before, frozenset(declared))
    skeleton, weights = split_weights(made, keep=variances(made))
    return Workload(
        name=f"{workload.name}-{precision}",
        kind=workload.kind,
        graph_hash=hash_graph(skeleton, weights),
        skeleton=skeleton.SerializeToString(deterministic=True),
        weights=weights,
    )
