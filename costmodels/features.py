"""Kernels → numbers: the kind of a kernel, its work (FLOPs, bytes) and its feature vector.

Everything is computed from the kernel's signature; nothing here knows a device or a measurement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..profiler.kernels.graph import Kernel

#: Bytes of one element; a type that is not listed is priced as 4 bytes wide.
_WIDTH = {"float64": 8, "int64": 8, "float16": 2, "bfloat16": 2, "int8": 1, "uint8": 1, "bool": 1}
_ACTIVATIONS = {"": 0, "Relu": 1, "Clip": 2, "HardSigmoid": 3, "HardSwish": 4, "Sigmoid": 5}

#: Work terms of the roofline, in this order (``Work``).
WORK = ("calls", "mega_flops", "input_megabytes", "output_megabytes", "weight_megabytes")
#: Columns of the feature matrix, in this order. Logarithms are natural, of 1 + x.
FEATURES = (
    "log_flops",
    "log_input_bytes",
    "log_output_bytes",
    "log_weight_bytes",
    "log_intensity",
    "input_channels",
    "output_channels",
    "input_width",
    "output_width",
    "kernel_size",
    "stride",
    "groups",
    "activation",
    "operands",
    "channel_remainder_8",
    "channel_remainder_16",
)


@dataclass(frozen=True)
class Work:
    """What a kernel has to do, in millions of floating-point operations and megabytes (10⁶)."""

    mega_flops: float
    input_megabytes: float
    output_megabytes: float
    weight_megabytes: float

    def terms(self) -> list[float]:
        """In the order of ``WORK``; the leading 1 is the call itself."""
        return [1.0, self.mega_flops, self.input_megabytes, self.output_megabytes, self.weight_megabytes]


def kind_of(kernel: Kernel) -> str | None:
    """The family whose members share a roofline; None when a shape is unknown, so that no price can be given."""
    if None in kernel.inputs or None in kernel.outputs or not kernel.outputs:
        return None
    kind = kernel.op if kernel.dtype == "float32" else f"{kernel.op}.{kernel.dtype}"
    if not _is_convolution(kernel):
        return kind
    groups = int(kernel.attribute.get("group", "1"))
    if groups > 1:
        return f"{kind}.depthwise" if kernel.weights[0][1] == 1 else f"{kind}.grouped"
    if math.prod(kernel.weights[0][2:]) > 1:
        return f"{kind}.spatial"
    # On a 1×1 map a convolution is a matrix times a vector: bound by its weights, not by its activations.
    return f"{kind}.pointwise" if math.prod(_shape(kernel.outputs[0])[2:]) > 1 else f"{kind}.vector"


def work_of(kernel: Kernel) -> Work:
    """FLOPs (a multiply-add is two) and bytes moved once; cache reuse is left to the model."""
    width = _WIDTH.get(kernel.dtype, 4)
    moved = [
        sum(_size(shape) for shape in shapes) * width / 1e6
        for shapes in (kernel.inputs, kernel.outputs, kernel.weights)
    ]
    return Work(_flops(kernel) / 1e6, moved[0], moved[1], moved[2])


def feature_matrix(kernels: Sequence[Kernel]) -> npt.NDArray[np.float64]:
    """Shape (kernels, len(FEATURES)), float64."""
    return np.array([_row(kernel) for kernel in kernels], dtype=np.float64).reshape(len(kernels), len(FEATURES))


def _row(kernel: Kernel) -> list[float]:
    work = work_of(kernel)
    source, target = _nchw(kernel.inputs[0] if kernel.inputs else ()), _nchw(kernel.outputs[0])
    moved = work.input_megabytes + work.output_megabytes + work.weight_megabytes
    return [
        math.log1p(work.mega_flops * 1e6),
        math.log1p(work.input_megabytes * 1e6),
        math.log1p(work.output_megabytes * 1e6),
        math.log1p(work.weight_megabytes * 1e6),
        math.log1p(work.mega_flops / moved) if moved else 0.0,
        source[1],
        target[1],
        source[3],
        target[3],
        kernel.weights[0][-1] if _is_convolution(kernel) else 0,
        source[3] / target[3] if target[3] else 0.0,
        float(kernel.attribute.get("group", "1")),
        _ACTIVATIONS.get(kernel.attribute.get("activation", ""), 6),
        len(kernel.inputs) + len(kernel.weights),
        target[1] % 8,
        target[1] % 16,
    ]


def _flops(kernel: Kernel) -> float:
    output = _size(kernel.outputs[0])
    if _is_convolution(kernel):
        return 2.0 * output * math.prod(kernel.weights[0][1:])
    if kernel.op.endswith(("Gemm", "MatMul", "FusedMatMul", "FusedGemm")):
        source = _shape(kernel.inputs[0]) if kernel.inputs else kernel.weights[0]
        return 2.0 * output * (source[-1] if source else 1)
    return float(max(output, *(_size(shape) for shape in kernel.inputs))) if kernel.inputs else float(output)


def _is_convolution(kernel: Kernel) -> bool:
    return kernel.op.endswith("Conv") and bool(kernel.weights) and len(kernel.weights[0]) > 2


def _shape(shape: tuple[int, ...] | None) -> tuple[int, ...]:
    return shape if shape is not None else ()


def _size(shape: tuple[int, ...] | None) -> int:
    return math.prod(_shape(shape))


def _nchw(shape: tuple[int, ...] | None) -> tuple[float, float, float, float]:
    """A shape as four numbers: vectors and matrices stand in the channel place, extra axes fold into the last."""
    dims = _shape(shape)
    if len(dims) >= 4:
        return (dims[0], dims[1], dims[2], math.prod(dims[3:]))
    if len(dims) == 3:
        return (dims[0], dims[2], 1, dims[1])
    if len(dims) == 2:
        return (dims[0], dims[1], 1, 1)
    return (1, dims[0] if dims else 1, 1, 1)
