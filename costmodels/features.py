"""Kernels → numbers: the feature vector of a kernel. Its kind and its work come from ``kernel_work``.

Everything is computed from the kernel's signature; nothing here knows a device or a measurement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..profiler.kernels.graph import Kernel
from .kernel_work import filter_of, work_of

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


def feature_matrix(kernels: Sequence[Kernel]) -> npt.NDArray[np.float64]:
    """Shape (kernels, len(FEATURES)), float64."""
    return np.array([_row(kernel) for kernel in kernels], dtype=np.float64).reshape(len(kernels), len(FEATURES))


def _row(kernel: Kernel) -> list[float]:
    work = work_of(kernel)
    source, target = _nchw(kernel.inputs[0] if kernel.inputs else ()), _nchw(kernel.outputs[0])
    window = filter_of(kernel)
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
        window[-1] if window else 0,
        source[3] / target[3] if target[3] else 0.0,
        float(kernel.attribute.get("group", "1")),
        _ACTIVATIONS.get(kernel.attribute.get("activation", ""), 6),
        len(kernel.inputs) + len(kernel.weights),
        target[1] % 8,
        target[1] % 16,
    ]


def _shape(shape: tuple[int, ...] | None) -> tuple[int, ...]:
    return shape if shape is not None else ()


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
