"""Kernels → work: the kind of a kernel, its operations and the bytes it moves; or why there is no price for it.

Everything is computed from the kernel's signature; nothing here knows a device or a measurement. The rules by operator
stand in ``work_rules/``.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from ..profiler.kernels.graph import Kernel
from .work_rules.contractions import CONTRACTIONS
from .work_rules.elementwise import ELEMENTWISE
from .work_rules.movement import MOVEMENT
from .work_rules.operands import Basis, Operands, Rule, Shape, one_for_each, size
from .work_rules.reductions import REDUCTIONS
from .work_rules.table import is_convolution, plain_name, rule_of
from .work_rules.widths import OWN, own_width_bytes, width_bytes, widths_of
from .work_rules.windows import WINDOWS

#: What is done stands in a subgraph that the kernel does not show; one loop's price says nothing of another's.
_HIDDEN = frozenset(
    "If Loop Scan SequenceMap Gradient BeamSearch GreedySearch Sampling WhisperBeamSearch EPContext".split()
)
#: Their values are sequences, optionals or maps: no tensors, so they have no shape.
_NO_TENSORS = frozenset(
    "SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SplitToSequence "
    "ConcatFromSequence Optional OptionalGetElement CastMap DictVectorizer ZipMap".split()
)
#: Their work is in texts, whose length no shape tells; of an encoded image no shape tells the size either.
_NO_WIDTH = frozenset("StringConcat StringNormalizer StringSplit RegexFullMatch Tokenizer ImageDecoder".split())
#: Without what is fused into them.
_UNFUSED = {"microsoft.FusedConv": "Conv", "microsoft.FusedGemm": "Gemm"}
#: Exponents for which ONNX Runtime multiplies: 100,000 elements took 28 and 32 µs, and 302 µs with 1.7 or 0.5.
_POWERS = {"2": "square", "3": "cube"}
_TABLES = {
    "elementwise": ELEMENTWISE,
    "movement": MOVEMENT,
    "windows": WINDOWS,
    "contractions": CONTRACTIONS,
    "reductions": REDUCTIONS,
}
#: Channels of a blocked layout, on wide vectors and on others.
WIDE_BLOCK, BLOCK = 16, 8
#: Of what is only moved the bytes count, not what they mean.
_MOVED_ALIKE = frozenset({"int32", "uint32", "int64", "uint64", "float64"})
#: LabelEncoder and CategoryMapper read or write texts when they have one of these attributes.
_TEXT_ATTRIBUTES = frozenset({"keys_strings", "values_strings", "cats_strings", "classlabels_strings"})


@dataclass(frozen=True)
class Work:
    """What a kernel has to do, in millions of operations (a multiply-add is two) and megabytes (10⁶).

    Attributes:
        basis: how far the operations can be trusted (``work_rules.operands.Basis``): ``counted`` from the shapes; an
            ``upper_bound`` or ``lower_bound`` where data decide; ``assumed`` where no rule is known for the operator.
    """

    mega_flops: float
    input_megabytes: float
    output_megabytes: float
    weight_megabytes: float
    basis: Basis = "counted"

    def terms(self) -> list[float]:
        """In the order of ``features.WORK``; the leading 1 is the call itself."""
        return [1.0, self.mega_flops, self.input_megabytes, self.output_megabytes, self.weight_megabytes]


def no_price(kernel: Kernel) -> str | None:
    """Why no price can be given for a kernel, whatever was measured; None where one can be."""
    operator = plain_name(kernel.op)
    if operator in _HIDDEN:
        return "its work stands in a subgraph, and data decide how often it runs"
    if operator in _NO_TENSORS:
        return "its values are no tensors"
    if operator in _NO_WIDTH or any(name in _TEXT_ATTRIBUTES for name, _ in kernel.attributes):
        return "no shape tells the size of its values"
    if not kernel.outputs:
        return "it writes nothing"
    if None in kernel.inputs or None in kernel.outputs:
        return "a shape depends on data, or a value has no elements"
    return None


def kind_of(kernel: Kernel) -> str | None:
    """The family whose members share a roofline; None when no price can be given (``no_price`` says why).

    A function that the runtime has fused into a convolution or product is told by a column, and makes no kind.
    """
    return _kind(kernel, _UNFUSED.get(kernel.op, kernel.op))


def kind_among(kernel: Kernel, kinds: Collection[str]) -> str | None:
    """The kind by the names that a predictor knows, which may be older than ``kind_of``; None where it has no price.

    It was a kind of its own to have a function fused into a convolution, and none to read an image.
    """
    kind = kind_of(kernel)
    if kind is None or kind in kinds:
        return kind
    if any(one.startswith(tuple(_UNFUSED)) for one in kinds):
        kind = _kind(kernel, kernel.op) or kind
    window = filter_of(kernel)
    if window is None or not kind.endswith(".shallow"):
        return kind
    older = kind.removesuffix("shallow") + ("spatial" if math.prod(window[2:]) > 1 else "pointwise")
    return older if older in kinds else kind


def class_of(kernel: Kernel) -> str:
    """What sort of work it is: the form of a convolution, or the table that its operator's rule stands in."""
    kind, name = kind_of(kernel) or "", plain_name(kernel.op)
    if filter_of(kernel) is not None:
        return kind.rpartition(".")[2]
    return next((title for title, table in _TABLES.items() if name in table), "other")


def _kind(kernel: Kernel, op: str) -> str | None:
    if no_price(kernel) is not None:
        return None
    kind = f"{op}.{kernel.dtype}"
    if kernel.dtype == "float32" or (kernel.dtype in _MOVED_ALIKE and plain_name(op) in MOVEMENT):
        kind = op
    if kernel.attribute.get("exponent") in _POWERS:
        return f"{kind}.{_POWERS[kernel.attribute['exponent']]}"
    window = filter_of(kernel)
    if window is None:
        return kind
    # TVM's blocked layouts split the channels over more axes: then only the group tells.
    if int(float(kernel.attribute.get("group", "1"))) > 1 or "CausalConvWithState" in kernel.op:
        return f"{kind}.depthwise" if window[1] == 1 else f"{kind}.grouped"
    # On a 1×1 map a convolution is a matrix times a vector: bound by its weights, not by its activations.
    if math.prod(window[2:]) == 1 == math.prod(_map(kernel)):
        return f"{kind}.vector"
    if is_shallow(kernel, window):
        return f"{kind}.shallow"
    return f"{kind}.spatial" if math.prod(window[2:]) > 1 else f"{kind}.pointwise"


def is_shallow(kernel: Kernel, window: Shape) -> bool:
    """Whether a convolution in a blocked layout reads fewer channels than a block: an image's three. It then walks
    through the plain layout channel by channel. Where it does not, its filter is padded to whole blocks.
    """
    if not kernel.op.startswith("nchwc.") or window[1] >= WIDE_BLOCK:
        return False
    # Eight channels are one narrow block or half a wide one; outputs that are no wide blocks tell of narrow ones.
    return window[1] % BLOCK > 0 or (window[1] == BLOCK and window[0] % WIDE_BLOCK == 0)


def work_of(kernel: Kernel) -> Work:
    """Operations, and bytes moved once; cache reuse is left to the model.

    Biases and what is fused behind a product are not counted. Of a kernel that has no price (``no_price``) it is a
    lower bound: shapes that are not known count as empty, and a subgraph is left out.
    """
    operands = _operands(kernel)
    rule = rule_of(kernel.op) if no_price(kernel) is None else Rule(one_for_each, "lower_bound")
    read, made, held = _moved_bytes(kernel, operands, rule.reads)
    return Work(rule.operations(operands) / 1e6, read / 1e6, made / 1e6, held / 1e6, rule.basis)


def filter_of(kernel: Kernel) -> Shape | None:
    """The filter of a convolution forwards, (outputs, inputs of a group, window …), constant or fed; None otherwise."""
    return _operands(kernel).filter() if is_convolution(kernel.op) else None


def _operands(kernel: Kernel) -> Operands:
    unknown = (0,)
    return Operands(
        inputs=tuple(unknown if shape is None else shape for shape in kernel.inputs),
        weights=kernel.weights,
        outputs=tuple(unknown if shape is None else shape for shape in kernel.outputs) or (unknown,),
        attributes=kernel.attribute,
    )


def _moved_bytes(kernel: Kernel, operands: Operands, reads: str) -> tuple[float, float, float]:
    """Bytes of activations, outputs and constants."""
    name = plain_name(kernel.op)
    widths = widths_of(name, kernel.dtype, operands.attributes)
    own = own_width_bytes(name, kernel.dtype)
    written = sum(map(size, operands.outputs)) if kernel.outputs else 0
    most = {"output": written, "none": 0}.get(reads, math.inf)
    # With a constant table the only activation is the places in it.
    is_table = reads == "output" and len(operands.inputs) == 1 and any(len(shape) > 1 for shape in operands.weights)
    read = 0.0
    for place, shape in enumerate(operands.inputs):
        width = widths.rest if place or (is_table and kernel.dtype != "int64") else widths.first
        read += min(size(shape), most) * (own if width == OWN else width)
    made = 0.0
    for place, shape in enumerate(operands.outputs if kernel.outputs else ()):
        width = widths.outputs[min(place, len(widths.outputs) - 1)]
        made += size(shape) * (own if width == OWN else width)
    kept = width_bytes(kernel.dtype) if widths.weights == OWN else widths.weights
    # Constants without a second axis are biases, scales, axes and shapes: 4 bytes beside narrow data.
    small = kept if kernel.dtype.startswith(("float", "bfloat")) and widths.weights == OWN else 4
    held = sum(min(size(shape), most) * (kept if len(shape) > 1 else small) for shape in operands.weights)
    return read, made, held


def _map(kernel: Kernel) -> Shape:
    """The spatial axes of the first output, in whichever layout the kernel works."""
    shape = kernel.outputs[0] or ()
    is_last = "nhwc" in kernel.op.lower() or kernel.attribute.get("channels_last", "0") == "1"
    return shape[1:-1] if is_last else shape[2:]
