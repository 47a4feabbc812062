"""Convert a float32 model to float16 with ONNX Runtime's own converter; inputs and outputs become float16 too."""

from __future__ import annotations

import onnx


def halve(model: onnx.ModelProto) -> onnx.ModelProto:
    """The float16 form of a complete float32 model with named nodes and inferred shapes.

    Raises:
        ValueError, KeyError, AssertionError: the converter cannot deal with the graph.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    source = onnx.ModelProto()
    source.CopyFrom(model)
    made: onnx.ModelProto = convert_float_to_float16(source, keep_io_types=False, disable_shape_infer=True)
    return made


def blocked(model: onnx.ModelProto) -> frozenset[str]:
    """Names of the nodes that the converter leaves in float32 because few runtimes have them in float16."""
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST

    return frozenset(node.name for node in model.graph.node if node.op_type in DEFAULT_OP_BLOCK_LIST)
