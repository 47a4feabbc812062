"""Work of many kernels at once: ``kernel_work.work_of`` as arrays, for the operators that cells consist of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..kernel_work import BLOCK, WIDE_BLOCK
from ..work_rules.operands import Operands
from ..work_rules.table import is_convolution, plain_name, rule_of
from ..work_rules.widths import OWN, own_width_bytes, width_bytes, widths_of
from .rows import Extents, Ints, KernelRows

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

#: So many operations for each element of the first output.
_PER_OUTPUT = frozenset(
    "Add Sub Mul Div Relu Sigmoid HardSigmoid HardSwish Tanh Clip LeakyRelu Swish QuickGelu Gelu "
    "ReorderInput ReorderOutput Transpose Concat".split()
)
#: The same of the first operand.
_PER_INPUT = frozenset({"GlobalAveragePool", "GlobalMaxPool"})
#: Plain names of all operators that have an array version.
ARRAY_OPERATORS = _PER_OUTPUT | _PER_INPUT | {"Conv", "FusedConv"}
#: Attributes that say which axis is meant.
_STRUCTURAL = frozenset({"perm", "axis"})


@dataclass(frozen=True, eq=False)
class WorkRows:
    """As ``Work``, each of shape (rows,); megabytes are 10⁶."""

    mega_flops: Floats
    input_megabytes: Floats
    output_megabytes: Floats
    weight_megabytes: Floats


def has_arrays(rows: KernelRows) -> bool:
    """Whether ``work_of_rows`` and ``loops_of_rows`` know this structure; the scalar functions know all."""
    if plain_name(rows.op) not in ARRAY_OPERATORS or None in (*rows.inputs, *rows.outputs):
        return False
    if not (rows.count and rows.inputs and rows.outputs):
        return False
    # Along which axes data are moved is structure: all rows share it.
    if any(name in _STRUCTURAL and not isinstance(value, str) for name, value in rows.attributes):
        return False
    return not is_convolution(rows.op) or filter_of_rows(rows) is not None


def known_shapes(side: tuple[Extents | None, ...]) -> tuple[Extents, ...]:
    """The shapes of one side, all of which are known (``has_arrays``)."""
    return tuple(shape for shape in side if shape is not None)


def filter_of_rows(rows: KernelRows) -> Extents | None:
    """As ``kernel_work.filter_of``."""
    if not is_convolution(rows.op):
        return None
    constant = [shape for shape in rows.weights if len(shape) > 2]
    fed = [shape for shape in known_shapes(rows.inputs) if len(shape) > 2]
    if constant:
        return constant[0]
    return fed[1] if len(fed) > 1 else None


def shallow(rows: KernelRows, window: Extents) -> Flags:
    """As ``kernel_work.is_shallow``."""
    if not rows.op.startswith("nchwc."):
        return np.zeros(rows.count, bool)
    narrow = (window[1] % BLOCK > 0) | ((window[1] == BLOCK) & (window[0] % WIDE_BLOCK == 0))
    found: Flags = (window[1] < WIDE_BLOCK) & narrow
    return found


def work_of_rows(rows: KernelRows) -> WorkRows:
    """Operations, and bytes moved once; ``has_arrays`` says of which rows."""
    made = known_shapes(rows.outputs)
    window = filter_of_rows(rows)
    if window is not None:
        operations = 2.0 * _elements(made[0], rows) * _elements(window[1:], rows)
    else:
        first = (*known_shapes(rows.inputs), *rows.weights)[0]
        looked_at = first if plain_name(rows.op) in _PER_INPUT else made[0]
        operations = _for_each(rows) * _elements(looked_at, rows)
    into, out, held = _moved_bytes(rows)
    return WorkRows(operations / 1e6, into / 1e6, out / 1e6, held / 1e6)


def extent(shape: Extents, count: int) -> Ints:
    """Elements of a shape, shape (rows,)."""
    return math.prod(shape, start=np.ones(count, np.int64))


def _elements(shape: Extents, rows: KernelRows) -> Floats:
    """As numbers that operations are counted in."""
    return extent(shape, rows.count).astype(np.float64)


def _for_each(rows: KernelRows) -> float:
    """Operations of one element, from the operator's own rule."""
    one = Operands(inputs=((1,),) * len(rows.inputs), weights=(), outputs=((1,),), attributes={})
    return rule_of(rows.op).operations(one)


def _moved_bytes(rows: KernelRows) -> tuple[Floats, Floats, Floats]:
    """Bytes of activations, outputs and constants: all of each is read, which none of these operators selects from."""
    name = plain_name(rows.op)
    widths, own = widths_of(name, rows.dtype, {}), own_width_bytes(name, rows.dtype)
    read, written, kept = (np.zeros(rows.count) for _ in range(3))
    for place, shape in enumerate(known_shapes(rows.inputs)):
        width = widths.rest if place else widths.first
        read = read + extent(shape, rows.count) * (own if width == OWN else width)
    for place, shape in enumerate(known_shapes(rows.outputs)):
        width = widths.outputs[min(place, len(widths.outputs) - 1)]
        written = written + extent(shape, rows.count) * (own if width == OWN else width)
    wide = width_bytes(rows.dtype) if widths.weights == OWN else widths.weights
    # Constants without a second axis are biases, scales, axes and shapes: 4 bytes beside narrow data.
    small = wide if rows.dtype.startswith(("float", "bfloat")) and widths.weights == OWN else 4
    for shape in rows.weights:
        kept = kept + extent(shape, rows.count) * (wide if len(shape) > 1 else small)
    return read, written, kept
