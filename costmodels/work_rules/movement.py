"""Operators that move data and compute nothing: their work is bytes.

A view (Reshape and its kin) copies only where the runtime cannot let the output share the input's memory, which a
kernel does not tell; its bytes are an upper bound. Prices take it for a call (``profiler.kernels.views``).
"""

from __future__ import annotations

from collections.abc import Mapping

from .operands import Operands, Rule, nothing, per_input, per_output

_VIEWS = "Reshape Squeeze Unsqueeze Flatten Identity Dropout BitCast ExpandDims"
_COPIES = (
    "Transpose Concat Pad Expand Tile DepthToSpace SpaceToDepth ReverseSequence Trilu ReorderInput ReorderOutput "
    "MemcpyFromHost MemcpyToHost TensorScatter FeatureVectorizer UnfoldTensor NGramRepeatBlock BitmaskDropout Crop"
)
#: They read only what they write. An embedding's table stays where it is.
_SELECTIONS = "Gather GatherElements GatherND Slice Split CenterCropPad DynamicSlice ArrayFeatureExtractor GatherPacked"
_FILLS = "ConstantOfShape EyeLike OneHot OneHotEncoder Constant"
_SHAPE_READERS = "Shape Size OptionalHasElement"


def _scatter(operands: Operands) -> float:
    """Nothing where updates replace; one operation for each of them where they are added, multiplied or compared."""
    if operands.attributes.get("reduction", "none") in ("none", ""):
        return 0.0
    updates = operands.inputs[-1] if operands.inputs else operands.first
    result = 1.0
    for extent in updates:
        result *= extent
    return result


MOVEMENT: Mapping[str, Rule] = {
    **{name: Rule(nothing, "upper_bound") for name in _VIEWS.split()},
    **{name: Rule(nothing) for name in (*_COPIES.split(), *_FILLS.split())},
    **{name: Rule(nothing, reads="output") for name in _SELECTIONS.split()},
    **{name: Rule(nothing, reads="none") for name in _SHAPE_READERS.split()},
    **{name: Rule(_scatter) for name in ("Scatter", "ScatterElements", "ScatterND")},
    # Packed numbers of 4 bits: a scale and a zero point for each element that is taken out.
    "GatherBlockQuantized": Rule(per_output(2), reads="output"),
    "Col2Im": Rule(per_input(1)),
    # How much they write depends on data: the most is the whole input.
    "Compress": Rule(nothing, "upper_bound"),
    "NonZero": Rule(per_input(1), "upper_bound"),
}
